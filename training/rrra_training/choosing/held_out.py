"""Labelled queries that are held out, and their candidates side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rrra_training.candidates.sets import CandidateSet, grades_of
from rrra_training.choosing.plan import Plan
from rrra_training.data.recognising import DEV
from rrra_training.measures.ranking import ideal_gains, per_query

# Fewer dev queries than these say too little: then some are drawn from all.
_ENOUGH = 200
_MOST = 1000
_SHARE = 0.2
# The part of a query that is never held out.
_LEARNED = -1


@dataclass(frozen=True)
class HeldOut:
    """
    The held-out queries of all sets, one set after the other.

    :param rows: Rows of their mined passages, shape ``[Q, k]``; -1 for none.
    :param judged: Row -> grade of the relevant passages of each.
    :param texts: Their texts.
    :param fold: In which part each falls, shape ``[Q]``.
    """

    rows: np.ndarray
    judged: Sequence[Mapping[int, int]]
    texts: Sequence[str]
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def grades(self) -> np.ndarray:
        """The grade of each candidate, shape ``[Q, k]``, float32."""
        return grades_of(self.rows, self.judged)

    @cached_property
    def ideal(self) -> np.ndarray:
        """The best that the measure allows each query, shape ``[Q]``."""
        return ideal_gains(own.values() for own in self.judged)

    def measured(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """All measures of each query, of reranking the candidates by scores of shape ``[Q, k]``."""
        return self.measured_runs(
            [
                {row: float(score) for row, score in zip(rows, own, strict=True) if row >= 0}
                for rows, own in zip(self.rows.tolist(), scores, strict=True)
            ]
        )

    def measured_runs(self, runs: Sequence[Mapping[int, float]]) -> dict[str, np.ndarray]:
        """All measures of each query, of what was found for it: row -> score."""
        judged = {
            str(number): {str(row): grade for row, grade in own.items()} for number, own in enumerate(self.judged)
        }
        found = {str(number): {str(row): score for row, score in own.items()} for number, own in enumerate(runs)}
        return per_query(judged, found)


def parts_of(sets: Sequence[CandidateSet], plan: Plan) -> list[np.ndarray]:
    """
    In which part of the held-out queries each query falls, -1 for those that are never held out; shape ``[Q]`` a set.

    Queries of the same labelled passage fall in the same part: what is learned of one is no surprise to the other.

    :param sets: The labelled queries.
    :param plan: What is done with them.
    """
    generator = np.random.default_rng(plan.recipe.seed)
    first = [np.asarray([data.positives.of(query)[0] for query in range(len(data))]) for data in sets]
    passages, group = np.unique(np.concatenate(first), return_inverse=True)
    if len(passages) < plan.folds:
        group = np.arange(len(group))
    groups = int(group.max()) + 1
    order = generator.permutation(groups)
    held = np.ones(len(group), dtype=bool)
    if not plan.takes_turns:
        is_dev = np.concatenate([np.full(len(data), data.name.rpartition("/")[2] in DEV) for data in sets])
        pool = group[is_dev] if _ENOUGH <= is_dev.sum() < len(group) else group
        most = min(_MOST, int(_SHARE * len(group))) if pool is group else _MOST
        # Whole groups, as many as hold about so many queries.
        drawn = order[np.isin(order, pool)]
        drawn = drawn[np.cumsum(np.bincount(pool, minlength=groups)[drawn]) <= most]
        held = np.isin(group, drawn) & (True if pool is group else is_dev)
    part = np.where(held, np.argsort(order)[group] % plan.folds, _LEARNED)
    return np.split(part, np.cumsum([len(data) for data in sets])[:-1])


def held_out(sets: Sequence[CandidateSet], parts: Sequence[np.ndarray]) -> HeldOut:
    """The queries of sets that are held out; parameters as for and from :func:`parts_of`."""
    chosen = [np.flatnonzero(part >= 0) for part in parts]
    pairs = [(data, int(query)) for data, own in zip(sets, chosen, strict=True) for query in own]
    return HeldOut(
        rows=np.concatenate([np.asarray(data.mined.rows)[own] for data, own in zip(sets, chosen, strict=True)]),
        judged=[data.positives.judged(query) for data, query in pairs],
        texts=[data.queries.text(query) for data, query in pairs],
        fold=np.concatenate([part[own] for part, own in zip(parts, chosen, strict=True)]),
    )
