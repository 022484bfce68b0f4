"""What a model and BM25 say of an encoder's candidates, kept apart, so that weights can be chosen afterwards."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import word_codes
from rrra_training.corpora.building import encoded_passages
from rrra_training.data import BeirDataset
from rrra_training.data.checks import Labelled
from rrra_training.data.rows import drawn
from rrra_training.evaluation.rerankers.from_codes import CodeReranker
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form
from rrra_training.evaluation.stages import Bm25Stage, EncoderStage, encode_queries, read_corpus
from rrra_training.measures.ranking import ideal_gains, ndcg

# Denser about the weights of the bundled adapter than those that a model is fitted with (judging.fitting): heads
# average over neighbours. 0 is not among the fusion weights, of which heads take the logarithm.
FUSION_WEIGHTS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 5.0)
LEXICAL_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2)
# All pairs, in the order of the columns of a grid.
PAIRS = tuple(product(FUSION_WEIGHTS, LEXICAL_WEIGHTS))
# What can be known of a list without labels; of each, the same over every encoder.
FEATURES = (
    "words asked", "mean share of words found", "largest share of words found", "tokens a word", "words a candidate",
    "spread of lengths", "best encoder score", "mean encoder score", "best lexical score", "encoder's lead",
    "adapter's lead", "words' lead", "encoder and adapter agree", "encoder and words agree", "adapter and words agree",
)  # fmt: skip
_CANDIDATES = 100
_CUT = 10
_LITTLE = 1e-6


@dataclass(frozen=True)
class JudgedLists:
    """
    The lists of Q queries of one collection, k candidates each, in the order of the encoder.

    :param base: Encoder scores, shape ``[Q, k]``.
    :param adapter: Adapter scores without words, shape ``[Q, k]``.
    :param lexical: Lexical scores, shape ``[Q, k]``.
    :param bm25: BM25 over the whole corpus, shape ``[Q, k]``.
    :param grades: Grades of the candidates, shape ``[Q, k]``; 0 where nobody judged.
    :param ideal: Discounted gain of the best order of all passages, shape ``[Q]``.
    :param features: What of each list is known without labels, shape ``[Q, len(FEATURES)]``.
    """

    base: np.ndarray
    adapter: np.ndarray
    lexical: np.ndarray
    bm25: np.ndarray
    grades: np.ndarray
    ideal: np.ndarray
    features: np.ndarray

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query if scores of shape ``[Q, k]`` order the candidates, shape ``[Q]``."""
        return ndcg(self.grades, self.ideal, scores)

    def reranked(self, fusion_weight: np.ndarray | float, lexical_weight: np.ndarray | float) -> np.ndarray:
        """nDCG@10 of each query with weights for all, or one a query, ``[Q]``."""
        fusion, lexical = np.reshape(fusion_weight, (-1, 1)), np.reshape(lexical_weight, (-1, 1))
        return self.ndcg(self.base + fusion * (self.adapter + lexical * self.lexical))

    @cached_property
    def grid(self) -> np.ndarray:
        """nDCG@10 of each query with each of :data:`PAIRS`, shape ``[Q, len(PAIRS)]``."""
        return np.stack([self.reranked(*pair) for pair in PAIRS], axis=1)

    def floor(self) -> np.ndarray:
        """nDCG@10 of each query, in the order of the encoder or of BM25, whichever is the better in the mean."""
        return max(self.ndcg(-np.arange(self.base.shape[1])[None]), self.ndcg(self.bm25), key=np.mean)


def draw_parts(
    dataset: BeirDataset, parts: Mapping[str, Sequence[str]], limits: Mapping[str, int | None], seed: int
) -> dict[str, Labelled]:
    """
    Draw the queries of each part; a split may be in two parts, a query is in one.

    :param dataset: The collection.
    :param parts: Name of a part -> its splits.
    :param limits: Name of a part -> draw this many of the queries that no part before it has; all if `None`.
    :param seed: Seed of the draws.
    :raises ValueError: If a part has no query of its own.
    """
    found: dict[str, Labelled] = {}
    taken: set[str] = set()
    for part, splits in parts.items():
        labels = {query: own for split in splits for query, own in dataset.qrels(split).items()}
        own = {one.id: one for split in splits for one in dataset.queries(split) if one.id not in taken}
        if not own:
            msg = (
                f"{dataset.folder} has no query in {' and '.join(splits)} that is left to {part}: let the part before "
                "it take fewer (--limit), or name another split."
            )
            raise ValueError(msg)
        found[part] = Labelled(f"{dataset.name} {part}", drawn([*own.values()], limits[part], seed), labels)
        taken |= {one.id for one in found[part].queries}
    return found


def judge_lists(
    dataset: BeirDataset, parts: Mapping[str, Labelled], models: Mapping[str, RRRAModel], *, cache: Path
) -> dict[tuple[str, str], JudgedLists]:
    """
    Judge the encoder's candidates of a collection's queries.

    :param dataset: The collection.
    :param parts: Name of a part -> its queries.
    :param models: Models over one encoder, by name; their lexical weights are not looked at.
    :param cache: Where encoded corpora are kept.
    :returns: Part and name of a model -> its lists.
    """
    passages = list(dataset.passages())
    texts = [passage.title_and_text for passage in passages]
    words = [word_codes(text) for text in texts]
    encoder = next(iter(models.values())).encoder
    store = encoded_passages(dataset.name, passages, encoder, cache, total=len(passages), show_progress=True)
    rerankers = [CodeReranker(_without_words(name, model), words) for name, model in models.items()]
    pooled = read_corpus(store.batches(), len(passages), encoder.dimension, rerankers)
    bm25 = Bm25Stage(texts, _CANDIDATES)
    ids = np.asarray([passage.id for passage in passages])
    found = {}
    for part, labelled in parts.items():
        encoded = encode_queries(encoder, labelled.queries, show_progress=False)
        stage = EncoderStage(pooled, encoded, _CANDIDATES)
        lists = [(query, labelled.qrels[query.query.id], stage.retrieve(query)[1]) for query in encoded]
        common = {
            "bm25": np.stack([bm25.score(query.query.text, rows) for query, _, rows in lists]),
            "grades": np.stack([_grades(judged, ids[rows]) for _, judged, rows in lists]),
            "ideal": ideal_gains(judged.values() for _, judged, _ in lists),
        }
        for reranker in rerankers:
            said = [_parts(reranker, query, rows) for query, _, rows in tqdm(lists, desc=labelled.name)]
            base, adapter, lexical, features = (np.stack(column) for column in zip(*said, strict=True))
            own = JudgedLists(base=base, adapter=adapter, lexical=lexical, features=features, **common)
            found[part, reranker.name] = own
    return found


def _without_words(name: str, model: RRRAModel) -> Form:
    bare = copy(model)
    bare.config = model.config.model_copy(update={"lexical_weight": 0.0})
    return Form(name, bare, model.config.code)


def _grades(judged: Mapping[str, int], passages: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.asarray([max(judged.get(passage, 0), 0) for passage in passages], dtype=np.float64)


def _parts(
    reranker: CodeReranker, query: EncodedQuery, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Encoder, adapter and lexical scores of a list, each of shape ``[k]``, and its features."""
    model = reranker.form.model
    prepared = reranker.prepare(query)
    batch = model.read_codes([reranker.codes[row] for row in rows])
    scores = model.score(prepared, batch)
    lexical = model.lexical_scores(prepared.words, batch.words, batch.word_counts)
    return scores.base, scores.adapter, lexical, _features(prepared, batch, scores.base, scores.adapter, lexical)


def _features(
    query: QueryEncoding, batch: CodeBatch, base: np.ndarray, adapter: np.ndarray, lexical: np.ndarray
) -> np.ndarray:
    """What :data:`FEATURES` names, of one list."""
    asked = np.unique(query.words)
    owner = np.repeat(np.arange(len(batch)), batch.word_counts)
    has = np.zeros((len(batch), 1 << 16), dtype=bool)
    has[owner, batch.words] = True
    share = has[:, asked].mean(axis=1) if len(asked) else np.zeros(len(batch))
    lengths = np.log1p(batch.word_counts)
    leads = [(own.max() - np.sort(own)[-_CUT:].mean()) / (own.std() + _LITTLE) for own in (base, adapter, lexical)]
    pairs = ((base, adapter), (base, lexical), (adapter, lexical))
    counts = np.log1p(batch.lengths.sum()) - np.log1p(batch.word_counts.sum())
    return np.asarray(
        [np.log1p(len(asked)), share.mean(), share.max(), counts, lengths.mean(), lengths.std(), base.max(),
         base.mean(), lexical.max(), *leads, *(_correlation(*pair) for pair in pairs)],
    )  # fmt: skip


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    spread = one.std() * other.std()
    return float(((one - one.mean()) * (other - other.mean())).mean() / (spread + _LITTLE))
