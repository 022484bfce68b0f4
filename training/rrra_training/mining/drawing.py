"""Which candidates become negatives, and which are suspected to be positives."""

from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch

from rrra_training.candidates.labelling import normalised_words
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.mining.settings import NegativesConfig
from rrra_training.negatives.drawing import draw
from rrra_training.negatives.sampler import Candidates
from rrra_training.negatives.samplers import TopK

# From here on a candidate is more probably relevant than not, and is told.
SUSPECTED = 0.5
# At least, where there are so many: some samplers estimate from the queries that they are given at once.
_QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Drawn:
    """
    The negatives of Q queries, the hardest first, and their suspected positives.

    :param rows: Rows of the negatives, shape ``[Q, n]``; -1 where a query has fewer.
    :param scores: Their cosines with the query, shape ``[Q, n]``, float32.
    :param probability: How probably each is relevant all the same, shape ``[Q, n]``; nan for a passage that was drawn
        from the corpus, because too few candidates were left.
    :param suspects: Which of the mined candidates are suspected to be positives, shape ``[Q, k]``, bool.
    :param added: Which of them became positives, shape ``[Q, k]``, bool.
    """

    rows: np.ndarray
    scores: np.ndarray
    probability: np.ndarray
    suspects: np.ndarray
    added: np.ndarray

    @property
    def is_full(self) -> np.ndarray:
        """Which queries have as many negatives as were asked for, shape ``[Q]``, bool."""
        return np.asarray((self.rows >= 0).all(axis=1))


def draw_negatives(data: CandidateSet, probability: np.ndarray, config: NegativesConfig) -> Drawn:
    """
    Draw the negatives of all queries.

    :param data: The set.
    :param probability: How probably each candidate is relevant, shape ``[Q, k]``.
    :param config: What is mined.
    """
    mined = np.asarray(data.mined.rows)
    unlabelled = (mined >= 0) & ~relevance_of(data)
    least = np.inf if config.add_positives is None else config.add_positives
    added = unlabelled & (probability >= least)
    wrong = np.stack([~np.isin(own, data.relevant(query)) for query, own in enumerate(mined)])
    eligible = unlabelled & wrong & ~added & (probability <= config.max_false_negative)
    places = np.concatenate([_drawn(data, probability, eligible, block, config) for block in _blocks(len(data))])
    # Mined candidates stand from hard to easy, and so do their places; -1, of none, goes last.
    places = np.sort(np.where(places < 0, mined.shape[1], places), axis=1)
    is_none = places == mined.shape[1]
    at = np.where(is_none, 0, places)
    rows = np.where(is_none, -1, np.take_along_axis(mined, at, axis=1))
    own = np.where(is_none, np.nan, np.take_along_axis(probability, at, axis=1)).astype(np.float32)
    for query in np.flatnonzero(is_none.any(axis=1)).tolist():
        rows[query, is_none[query]] = _from_the_corpus(data, query, int(is_none[query].sum()), config.seed)
    scores = np.stack([data.passages.pooled[np.maximum(one, 0)] @ data.queries.pooled[q] for q, one in enumerate(rows)])
    return Drawn(rows, scores, own, unlabelled & (probability >= min(SUSPECTED, least)), added)


def _blocks(count: int) -> list[slice]:
    """Queries that are drawn for at once; those left over go with the last."""
    begins = range(0, max(count - _QUERIES_AT_ONCE, 0) + 1, _QUERIES_AT_ONCE)
    return [slice(begin, end) for begin, end in pairwise([*begins, count])]


def _drawn(
    data: CandidateSet, probability: np.ndarray, eligible: np.ndarray, block: slice, config: NegativesConfig
) -> np.ndarray:
    """Places of the negatives of a block of queries, shape ``[b, n]``; -1 for none."""
    if not eligible[block].any():
        return np.full((block.stop - block.start, config.negatives), -1)
    mined, queries = np.asarray(data.mined.rows[block]), np.asarray(data.queries.pooled[block])
    nearest = np.asarray([_nearest(data, query) for query in range(*block.indices(len(data)))])
    positives = data.passages.pooled[nearest]
    contexts = data.passages.pooled[np.maximum(mined, 0)]
    candidates = Candidates(
        scores=torch.from_numpy(np.array(data.mined.scores[block])),
        positive_scores=torch.from_numpy(np.einsum("bd,bd->b", queries, positives)),
        eligible=torch.from_numpy(eligible[block]),
        positive_similarity=torch.from_numpy(np.einsum("bkd,bd->bk", contexts, positives)),
        false_negative=torch.from_numpy(probability[block]),
    )
    (seed,) = np.random.SeedSequence([config.seed, block.start]).generate_state(1)
    generator = torch.Generator().manual_seed(int(seed))
    weights = (config.sampler or TopK(k=config.negatives)).weights(candidates)
    return draw(weights, config.negatives, eligible=candidates.eligible, generator=generator).numpy()


def _nearest(data: CandidateSet, query: int) -> int:
    """Row of the labelled positive that is nearest to its query: samplers compare with it."""
    rows = data.positives.of(query)
    return int(rows[(data.passages.pooled[rows] @ data.queries.pooled[query]).argmax()])


def _from_the_corpus(data: CandidateSet, query: int, count: int, seed: int) -> np.ndarray:
    """Passages far from a query, where too few candidates are left; -1 where the corpus has no more."""
    near = {int(row) for row in (*data.mined.rows[query], *data.mined.left_out[query], *data.relevant(query))}
    # As among the candidates, what has the words of a labelled passage is as relevant.
    relevant = {normalised_words(data.passages.text(row)) for row in data.relevant(query)}
    passages, drawn = len(data.passages), np.empty(0, dtype=np.int64)
    # Few are enough, unless most passages are near or copies: the corpus may be very large.
    for size in (min(2 * (count + len(near)), passages), passages):
        rows = np.random.default_rng([seed, query]).choice(passages, size, replace=False)
        others = (row for row in rows if row not in near and normalised_words(data.passages.text(row)) not in relevant)
        drawn = np.fromiter(islice(others, count), dtype=np.int64)
        if len(drawn) == count:
            break
    return np.pad(drawn, (0, count - len(drawn)), constant_values=-1)
