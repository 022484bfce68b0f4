"""Labelled queries that are held out, and their candidates side by side."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rrra_training.candidates.sets import CandidateSet, grades_of
from rrra_training.choosing.plan import Plan
from rrra_training.choosing.sharing import Shared
from rrra_training.data.recognising import DEV
from rrra_training.measures.ranking import ideal_gains, per_query
from rrra_training.measures.significance import LEAST_QUERIES

logger = logging.getLogger(__name__)
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
    :param group: Which of them say the same, as those that ask for one passage do, shape ``[Q]``.
    :param left_out: Rows of passages that are no candidates, of each.
    :param shared: How many of them share a relevant passage or the question with queries that are learned from.
    """

    rows: np.ndarray
    judged: Sequence[Mapping[int, int]]
    texts: Sequence[str]
    fold: np.ndarray
    group: np.ndarray
    left_out: Sequence[Sequence[int]]
    shared: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def chooses(self) -> bool:
        """Whether they are enough to choose by: groups count, since the queries of one say the same."""
        return len(np.unique(self.group)) >= LEAST_QUERIES

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


def parts_of(sets: Sequence[CandidateSet], shared: Shared, plan: Plan) -> list[np.ndarray]:
    """
    In which part of the held-out queries each query falls, -1 for those that are never held out; shape ``[Q]`` a set.

    Queries that share a relevant passage or the question, also by way of other queries, fall in the same part or are
    all learned from: what is learned of one is no surprise to the other. Where half of the queries or more hang
    together, as where judgments are many, that cannot be: they are parted with as few in common as may be, and
    :attr:`HeldOut.shared` counts those that have something in common with what is learned.

    :param sets: The labelled queries.
    :param shared: What they share.
    :param plan: What is done with them.
    """
    generator = np.random.default_rng(plan.recipe.seed)
    group, held = shared.groups(shared.queries), np.ones(shared.queries, dtype=bool)
    if not plan.takes_turns:
        is_dev = np.concatenate([np.full(len(data), data.name.rpartition("/")[2] in DEV) for data in sets])
        group, held = _for_good(shared, is_dev, plan.folds, generator)
    count = int(held.sum())
    if 2 * np.unique(group[held], return_counts=True)[1].max() >= count:
        # Whole groups would leave parts empty, or too few queries to learn from and to choose by.
        group = shared.groups(max(1, count // plan.folds))
    part = np.full(shared.queries, _LEARNED)
    part[held] = _dealt(group[held], plan.folds, generator)
    return np.split(part, np.cumsum([len(data) for data in sets])[:-1])


def _for_good(
    shared: Shared, is_dev: np.ndarray, folds: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The group of each query, and whether it is held out: dev queries if there are enough, else some of all."""
    group = shared.groups(shared.queries)
    every = np.ones(shared.queries, dtype=bool)
    if _ENOUGH <= is_dev.sum() < shared.queries:
        apart = is_dev & ~np.isin(group, group[~is_dev])
        held = _drawn(group, apart, _MOST, generator)
        is_enough = held.sum() >= _ENOUGH
        if mixed := int(is_dev.sum() - apart.sum()):
            logger.warning(
                "%s of %s dev queries share a relevant passage or the question with training queries, if only by way "
                "of others, so %s.",
                f"{mixed:,}", f"{is_dev.sum():,}", "these are learned from, and others held out" if is_enough
                else "too few are left to be held out: some of all queries are held out instead",
            )  # fmt: skip
        if is_enough:
            return group, held
    most = min(_MOST, int(_SHARE * shared.queries))
    held = _drawn(group, every, most, generator)
    if held.sum() < most / 2:
        # Too many hang together.
        group = shared.groups(max(1, most // folds))
        held = _drawn(group, every, most, generator)
    return group, held


def _drawn(group: np.ndarray, pool: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Whole groups of a pool, as many as there is room for, without those that are too large for what is left."""
    names, sizes = np.unique(group[pool], return_counts=True)
    drawn, room = [], most
    for place in generator.permutation(len(names)):
        if sizes[place] <= room:
            drawn.append(names[place])
            room -= sizes[place]
    return pool & np.isin(group, drawn)


def _dealt(group: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """The part of each query: whole groups, the largest first, each to the part that has the fewest queries."""
    names, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = generator.permutation(len(names))
    filled, part = np.zeros(folds, dtype=int), np.zeros(len(names), dtype=int)
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        part[one] = filled.argmin()
        filled[part[one]] += sizes[one]
    return part[place]


def asked_of(data: CandidateSet, held: np.ndarray) -> np.ndarray:
    """
    Rows of the queries of a set that are held out. Those in other words are held out with them, and judge nothing.

    :param data: The set.
    :param held: Whether each of its queries is held out, shape ``[Q]``, bool.
    """
    return np.flatnonzero(held[: data.asked])


def held_out(sets: Sequence[CandidateSet], shared: Shared, parts: Sequence[np.ndarray]) -> HeldOut:
    """The queries of sets that are held out; parameters as for and from :func:`parts_of`."""
    chosen = [asked_of(data, part >= 0) for data, part in zip(sets, parts, strict=True)]
    pairs = [(data, int(query)) for data, own in zip(sets, chosen, strict=True) for query in own]
    asked = np.concatenate([np.arange(len(data)) < data.asked for data in sets])
    part = np.concatenate(parts)
    return HeldOut(
        rows=np.concatenate([np.asarray(data.mined.rows)[own] for data, own in zip(sets, chosen, strict=True)]),
        judged=[data.positives.judged(query) for data, query in pairs],
        group=shared.alike(np.flatnonzero(asked & (part != _LEARNED))),
        left_out=[data.mined.left_out[query] for data, query in pairs],
        texts=[data.queries.text(query) for data, query in pairs],
        fold=part[asked & (part != _LEARNED)],
        shared=_shared(shared, part, asked),
    )


def _shared(shared: Shared, part: np.ndarray, asked: np.ndarray) -> int:
    """How many held-out queries share something with queries that are learned from while they are held out."""
    held, learned = asked & (part != _LEARNED), part == _LEARNED
    if learned.any():
        return int(shared.between(held, learned).sum())
    return sum(int(shared.between(held & (part == one), part != one).sum()) for one in np.unique(part))
