"""The two that retrieve: an encoder and BM25."""

from collections.abc import Iterable, Sequence
from functools import partial

import bm25s
import faiss
import numpy as np
import Stemmer
from torch import nn

from rrra_haystack.model.encoder import EncodedBatch, Encoder
from rrra_training.data import Query
from rrra_training.evaluation.rerankers.interface import EncodedQuery, TokenReranker

# Words of one letter or digit, which bm25s passes over by itself, tell "vitamin K" and "type 1" from others.
_WORD = r"(?u)\b\w+\b"


class EncoderStage:
    """
    An encoder's exact retrieval over a whole corpus.

    :param pooled: Embeddings of the corpus, of length 1, shape ``[n, d]``.
    :param queries: The queries as the encoder sees them.
    :param top_k: How many passages are retrieved at most.
    """

    def __init__(self, pooled: np.ndarray, queries: Sequence[EncodedQuery], top_k: int) -> None:
        self.queries = queries
        self.known = {query.query.id: query for query in queries}
        self._index = faiss.IndexFlatIP(pooled.shape[1])
        self._index.add(pooled)
        self._top_k = min(top_k, len(pooled))

    def retrieve(self, query: EncodedQuery) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages, each of shape ``[n]``."""
        unit = nn.functional.normalize(query.pooled, dim=-1).numpy()[None]
        scores, rows = self._index.search(unit, self._top_k)
        return scores[0], rows[0]


class BorrowedStage:
    """
    The retrieval of another encoder or of BM25, for a late-interaction model, which has no embedding to retrieve by.

    :param lender: What retrieves.
    :param queries: The queries as the late-interaction model sees them.
    """

    def __init__(self, lender: "EncoderStage | Bm25Stage", queries: Sequence[EncodedQuery]) -> None:
        self.queries = queries
        self._lender = lender

    def retrieve(self, query: EncodedQuery) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages, each of shape ``[n]``."""
        if isinstance(self._lender, Bm25Stage):
            return self._lender.retrieve(query.query.text)
        return self._lender.retrieve(self._lender.known[query.query.id])


Stage = EncoderStage | BorrowedStage


def read_corpus(
    batches: Iterable[EncodedBatch], count: int, dimension: int, rerankers: Sequence[TokenReranker]
) -> np.ndarray:
    """
    Let rerankers see an encoded corpus, one batch at a time.

    :param batches: What the encoder says of the passages.
    :param count: How many passages there are.
    :param dimension: Of an embedding.
    :param rerankers: What is shown the token states; they are closed in the end.
    :returns: The embeddings, of length 1, shape ``[n, d]``.
    """
    pooled = np.empty((count, dimension), dtype=np.float32)
    for batch in batches:
        indices = batch.indices.numpy()
        pooled[indices] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
        for reranker in rerankers:
            reranker.add(indices, batch.pooled, batch.states, batch.lengths)
    for reranker in rerankers:
        reranker.close()
    return pooled


def encode_queries(encoder: Encoder, queries: Sequence[Query], *, show_progress: bool) -> list[EncodedQuery]:
    """Queries as an encoder sees them, in their order."""
    encoded: list[EncodedQuery | None] = [None] * len(queries)
    texts = [query.text for query in queries]
    for batch in encoder.encode(texts, task="query", show_progress_bar=show_progress):
        hidden = batch.states.float().cpu().split(batch.lengths.tolist())
        for index, pooled, states in zip(batch.indices.tolist(), batch.pooled.cpu(), hidden, strict=True):
            encoded[index] = EncodedQuery(queries[index], pooled, states)
    return [one for one in encoded if one is not None]


class Bm25Stage:
    """
    BM25 (k1 0.9, b 0.4, the parameters of Anserini and of BEIR, tuned to no collection) over stemmed English words
    without stop words.

    :param texts: The corpus.
    :param top_k: How many passages are retrieved at most.
    """

    def __init__(self, texts: Sequence[str], top_k: int) -> None:
        self._tokenize = partial(
            bm25s.tokenize, token_pattern=_WORD, stemmer=Stemmer.Stemmer("english"), show_progress=False
        )
        words = self._tokenize(list(texts))
        self._index = bm25s.BM25(k1=0.9, b=0.4)
        # A corpus without a word has nothing to index, and finds nothing.
        self._top_k = min(top_k, len(texts)) if words.vocab else 0
        if self._top_k:
            self._index.index(words, show_progress=False)

    def retrieve(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages that share a word with the query, each of shape ``[n]``."""
        if not self._top_k:
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
        words = self._tokenize([text], return_ids=False)
        rows, scores = self._index.retrieve(words, k=self._top_k, show_progress=False)
        found = scores[0] > 0
        return scores[0][found], rows[0][found]

    def score(self, text: str, rows: np.ndarray) -> np.ndarray:
        """BM25 of some passages, wherever they would be found, shape ``[n]``."""
        words = self._tokenize([text], return_ids=False)[0]
        if not (self._top_k and words):
            return np.zeros(len(rows), dtype=np.float32)
        scores: np.ndarray = self._index.get_scores(list(words))
        return scores[rows]
