"""What is measured side by side: their names, and the two that retrieve, an encoder and BM25."""

from collections.abc import Sequence
from pathlib import Path

import bm25s
import faiss
import numpy as np
import Stemmer
from torch import nn

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.words import word_codes
from rrra_training.corpora.store import StateStore
from rrra_training.data import Passage, Query
from rrra_training.evaluation.rerankers.from_codes import CodeReranker
from rrra_training.evaluation.rerankers.from_states import MaxSimReranker, StateReranker
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form, Reranker


class EncoderStage:
    """
    An encoder's retrieval over a whole corpus, and what reranks it from token states.

    :param name: What the encoder alone is called.
    :param encoder: The encoder.
    :param forms: Models over this encoder.
    :param passages: The corpus.
    :param queries: The queries.
    :param scratch: A folder for what is too large for memory.
    :param top_k: How many passages are retrieved at most.
    :param max_sim: Whether MaxSim over the encoder's own token states reranks too.
    :param kept: The corpus as the encoder sees it, if it was encoded before.
    :param show_progress: Show progress and the time left.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        forms: Sequence[Form],
        passages: Sequence[Passage],
        queries: Sequence[Query],
        scratch: Path,
        *,
        top_k: int,
        max_sim: bool = False,
        kept: StateStore | None = None,
        show_progress: bool = False,
    ) -> None:
        self.name = name
        self._top_k = top_k
        self.dimension = encoder.dimension
        count = len(passages)
        texts = [passage.title_and_text for passage in passages]
        words = [word_codes(text) for text in texts] if forms else []
        own: list[CodeReranker | StateReranker | MaxSimReranker] = [
            StateReranker(form, words, scratch) if form.kind == "float32" else CodeReranker(form, words)
            for form in forms
        ]
        if max_sim:
            own.append(MaxSimReranker(encoder, count, scratch))
        self.rerankers: list[Reranker] = list(own)
        pooled = np.empty((count, encoder.dimension), dtype=np.float32)
        batches = (
            encoder.encode(texts, task="document", tokens_per_batch=4096, show_progress_bar=show_progress)
            if kept is None
            else kept.batches(show_progress=show_progress)
        )
        for batch in batches:
            indices = batch.indices.numpy()
            pooled[indices] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
            for reranker in own:
                reranker.add(indices, batch.pooled, batch.states, batch.lengths)
        for reranker in own:
            reranker.close()
        self.sizes = {reranker.name: reranker.bytes_per_document for reranker in own}
        self._index = faiss.IndexFlatIP(encoder.dimension)
        self._index.add(pooled)
        self.queries = _encode_queries(encoder, queries, show_progress=show_progress)

    def retrieve(self, query: EncodedQuery) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages, each of shape ``[n]``."""
        unit = nn.functional.normalize(query.pooled, dim=-1).numpy()[None]
        scores, rows = self._index.search(unit, min(self._top_k, self._index.ntotal))
        return scores[0], rows[0]


def _encode_queries(encoder: Encoder, queries: Sequence[Query], *, show_progress: bool) -> list[EncodedQuery]:
    encoded: list[EncodedQuery | None] = [None] * len(queries)
    texts = [query.text for query in queries]
    for batch in encoder.encode(texts, task="query", show_progress_bar=show_progress):
        hidden = batch.states.float().cpu().split(batch.lengths.tolist())
        for index, pooled, states in zip(batch.indices.tolist(), batch.pooled.cpu(), hidden, strict=True):
            encoded[index] = EncodedQuery(queries[index], pooled, states)
    return [one for one in encoded if one is not None]


class Bm25Stage:
    """
    BM25 (k1 0.9, b 0.4, the parameters of Anserini) over stemmed English words without stop words.

    :param passages: The corpus.
    :param top_k: How many passages are retrieved at most.
    """

    name = "bm25"

    def __init__(self, passages: Sequence[Passage], top_k: int) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        words = bm25s.tokenize(
            [passage.title_and_text for passage in passages], stemmer=self._stemmer, show_progress=False
        )
        self._index = bm25s.BM25(k1=0.9, b=0.4)
        self._index.index(words, show_progress=False)
        self._top_k = min(top_k, len(passages))

    def retrieve(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages that share a word with the query, each of shape ``[n]``."""
        words = bm25s.tokenize([text], stemmer=self._stemmer, return_ids=False, show_progress=False)
        rows, scores = self._index.retrieve(words, k=self._top_k, show_progress=False)
        found = scores[0] > 0
        return scores[0][found], rows[0][found]
