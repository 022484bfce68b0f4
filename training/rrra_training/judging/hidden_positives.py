"""Labelled positives that are hidden, so that there is a truth to find."""

from dataclasses import dataclass

import numpy as np

from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.examined import Examined, beside_positives


@dataclass(frozen=True)
class HiddenPositives(Examined):
    """
    The queries of a set that have several positives, of which one is kept as the labelled one and the others are hidden
    among the mined candidates.

    :param hidden: Which candidates are hidden positives, shape ``[n, k]``, bool.
    """

    hidden: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """Whether each candidate is a hidden positive, one query after the other, shape ``[c]``."""
        return self.hidden[self.candidate]

    @property
    def known(self) -> np.ndarray:
        """Which of the set's labels are not hidden, shape ``[P]``, bool."""
        owner = np.repeat(np.arange(len(self.data)), self.data.positives.counts)
        kept = np.full(len(self.data), -1)
        kept[self.queries] = self.kept
        return (kept[owner] < 0) | (self.data.positives.rows == kept[owner])


def hide_positives(
    data: CandidateSet, *, seed: int, limit: int | None = None, least_positives: int = 2
) -> HiddenPositives:
    """
    Keep one positive of each query that has several, drawn at random, and hide the others.

    Restyled queries are left out: they have the positives of those that they were made from.

    :param data: The set.
    :param seed: Seed of the draw.
    :param limit: Draw this many queries; all if `None`.
    :param least_positives: Leave out queries with fewer positives.
    """
    generator = np.random.default_rng(seed)
    queries = np.flatnonzero(data.positives.counts[: data.asked] >= least_positives)
    if limit is not None and limit < len(queries):
        queries = np.sort(generator.choice(queries, size=limit, replace=False))
    kept = np.asarray([generator.choice(data.positives.of(int(query))) for query in queries], dtype=np.int64)
    lists = beside_positives(data, queries, kept)
    hidden = np.zeros_like(lists.candidate)
    for place, (query, rows) in enumerate(zip(queries, lists.mined, strict=True)):
        hidden[place] = lists.candidate[place] & np.isin(rows, data.positives.of(int(query)))
    return HiddenPositives(data, queries, kept, lists.candidate, hidden)
