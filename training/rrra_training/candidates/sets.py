"""What a phase trains and is measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from rrra_training.candidates.evidence import Labels, Source
from rrra_training.candidates.mining import Mined
from rrra_training.corpora.store import StateStore

# From here on a candidate is more probably relevant than not.
_LIKELY = 0.5


@dataclass(frozen=True)
class Positives:
    """
    Rows of the relevant passages of Q queries.

    :param rows: All rows, one query after the other, shape ``[P]``.
    :param grades: Their grades, shape ``[P]``.
    :param ends: End of each query's rows, shape ``[Q]``.
    """

    rows: np.ndarray
    grades: np.ndarray
    ends: np.ndarray

    def of(self, query: int) -> np.ndarray:
        """Rows of one query's positives."""
        return self.rows[self._begin(query) : self.ends[query]]

    def judged(self, query: int) -> dict[int, int]:
        """Row -> grade of one query's positives."""
        span = slice(self._begin(query), self.ends[query])
        return dict(zip(self.rows[span].tolist(), self.grades[span].tolist(), strict=True))

    def _begin(self, query: int) -> int:
        return int(self.ends[query - 1]) if query else 0

    @property
    def counts(self) -> np.ndarray:
        """Positives of each query, shape ``[Q]``."""
        return np.diff(self.ends, prepend=0)


@dataclass(frozen=True)
class CandidateSet:
    """
    The queries of a split with all that training needs of them.

    :param name: Name of the data and split.
    :param passages: The encoded corpus.
    :param queries: The encoded queries.
    :param mined: Their candidates.
    :param positives: Their relevant passages.
    :param labels: Relevance targets of the candidates.
    :param weight: How often its queries are drawn, relative to those of other sets.
    :param restyled: How many of its last queries are others in other words.
    :param learned: Rows of the queries that are learned from; all if `None`.
    :param asked_again: Rows of the passages that are relevant to queries of the same text, by the row of the query,
        where another identifier has more of them.
    """

    name: str
    passages: StateStore
    queries: StateStore
    mined: Mined
    positives: Positives
    labels: Labels
    weight: float
    restyled: int = 0
    learned: np.ndarray | None = None
    asked_again: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def drawable(self) -> np.ndarray:
        """Rows of the queries that are learned from."""
        return np.arange(len(self)) if self.learned is None else self.learned

    @property
    def asked(self) -> int:
        """How many of its first queries are in their own words."""
        return len(self) - self.restyled

    def learning_from(self, queries: np.ndarray) -> Self:
        """
        The set of which some queries are learned from: the labels of the others are not told under another identifier.

        :param queries: Rows of these queries.
        """
        held = np.setdiff1d(np.arange(len(self)), queries)
        told = np.concatenate([self.positives.of(query) for query in held.tolist()]) if len(held) else held
        asked_again = {query: np.setdiff1d(rows, told) for query, rows in self.asked_again.items()}
        return replace(self, learned=queries, asked_again=asked_again)

    def relevant(self, query: int) -> np.ndarray:
        """Rows of the passages that are labelled relevant to a query, or to one of the same text."""
        own = self.positives.of(query)
        return np.union1d(own, self.asked_again[query]) if query in self.asked_again else own

    def targets_of(self, query: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        What is known of the relevance of any passages to a query.

        :param query: Row of the query.
        :param rows: Rows of the passages, shape ``[n]``.
        :returns: The probability that each is relevant, float32, and whether evidence says so, bool; shape ``[n]``.
        """
        same = rows[:, None] == np.asarray(self.mined.rows[query])
        at, is_mined = same.argmax(axis=1), same.any(axis=1)
        is_positive = np.isin(rows, self.relevant(query))
        otherwise = np.where(is_positive, self.labels.relevant, self.labels.prior)
        known = is_mined & (np.asarray(self.labels.source[query])[at] != Source.NONE)
        target = np.where(known, np.asarray(self.labels.target[query])[at], otherwise)
        # A label, if of the same question elsewhere, says more than an answer or a teacher does.
        again = np.isin(rows, self.asked_again.get(query, ()))
        target = np.where(again, np.maximum(target, self.labels.relevant), target)
        return target.astype(np.float32), known | is_positive & (self.labels.relevant > self.labels.prior)

    def retrieved(self, query: int, rows: np.ndarray, count: int) -> np.ndarray:
        """
        Whether the encoder retrieves passages.

        :param query: Row of the query.
        :param rows: Rows of the passages, shape ``[n]``.
        :param count: A passage is retrieved if it ranks among the first so many.
        :returns: Shape ``[n]``, bool.
        """
        return np.isin(rows, self.mined.rows[query][:count])

    def no_negatives(self, query: int) -> np.ndarray:
        """Rows of the passages that are relevant to a query, that evidence calls so, or that are left out."""
        target, source = np.asarray(self.labels.target[query]), np.asarray(self.labels.source[query])
        likely = (source != Source.NONE) & (target > max(_LIKELY, self.labels.prior))
        left_out = np.asarray(self.mined.left_out[query], dtype=np.int64)
        return np.concatenate([self.relevant(query), np.asarray(self.mined.rows[query])[likely], left_out])

    def __len__(self) -> int:
        return len(self.queries)


def grades_of(rows: np.ndarray, judged: Sequence[Mapping[int, int]]) -> np.ndarray:
    """
    The grade of each candidate, 0 where it is not judged relevant.

    :param rows: Rows of the candidates of Q queries, shape ``[Q, k]``; -1 for none.
    :param judged: Row -> grade of each query's positives.
    :returns: Shape ``[Q, k]``, float32.
    """
    found = [[own.get(row, 0) for row in one] for one, own in zip(rows.tolist(), judged, strict=True)]
    return np.asarray(found, dtype=np.float32).reshape(rows.shape)


def relevance_of(data: CandidateSet) -> np.ndarray:
    """Whether each mined candidate is judged relevant, shape ``[Q, k]``."""
    rows = np.asarray(data.mined.rows)
    return np.stack([np.isin(own, data.positives.of(number)) for number, own in enumerate(rows)])
