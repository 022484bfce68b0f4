"""What labelled queries share: relevant passages, and the question itself."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rrra_training.candidates.sets import CandidateSet
from rrra_training.data.checks import digest_of


@dataclass(frozen=True)
class Shared:
    """
    Queries, and what each has that others may have too.

    Passages and questions are the same where their texts differ in case and white space alone, as in
    :func:`~rrra_training.data.checks.leaks`.

    :param query: Numbers of queries, one set after the other, shape ``[n]``.
    :param has: Numbers of the passage or the question that each of these has, shape ``[n]``.
    :param asks: Number of the question of each query, shape ``[Q]``.
    """

    query: np.ndarray
    has: np.ndarray
    asks: np.ndarray

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return len(self.asks)

    @classmethod
    def of(cls, sets: Sequence[CandidateSet]) -> "Shared":
        """What the queries of sets share; all sets together are one."""
        numbers: dict[tuple[bool, int], int] = {}
        query: list[int] = []
        has: list[int] = []
        asks: list[int] = []
        for data in sets:
            labelled = np.unique(data.positives.rows).tolist()
            passages = {row: digest_of(data.passages.text(row)) for row in labelled}
            for one in range(len(data)):
                question = (False, digest_of(data.queries.text(one)))
                own = {question} | {(True, passages[row]) for row in data.positives.of(one).tolist()}
                has += [numbers.setdefault(key, len(numbers)) for key in sorted(own)]
                query += [len(asks)] * len(own)
                asks.append(numbers[question])
        return cls(np.asarray(query), np.asarray(has), np.asarray(asks))

    def groups(self, most: int) -> np.ndarray:
        """
        The group of each query, shape ``[Q]``: queries of different groups share nothing, also by way of others.

        Where so many hang together that a group would have more than `most`, it is parted, so that what few queries
        share stays within a group rather than what many do.

        :param most: How large a group may be; at least 1.
        """
        root, size = np.arange(self.queries).tolist(), [1] * self.queries

        def root_of(query: int) -> int:
            while root[query] != query:
                root[query] = query = root[root[query]]
            return query

        order = np.argsort(self.has, kind="stable")
        having = np.split(self.query[order], np.cumsum(np.bincount(self.has))[:-1])
        for queries in sorted(having, key=len):
            one, *others = queries.tolist()
            for other in others:
                here, there = root_of(one), root_of(other)
                if here != there and size[here] + size[there] <= most:
                    root[there] = here
                    size[here] += size[there]
        return np.asarray([root_of(query) for query in range(self.queries)])

    def alike(self, some: np.ndarray) -> np.ndarray:
        """
        The group of each of some queries, shape ``[n]``: a query is of the group of an earlier one whose question it
        asks, or with which it has half or more of their relevant passages in common.

        Other than of :meth:`groups`, a passage that many share, as an overview is, makes no group of queries that each
        have passages of their own.

        :param some: Numbers of the queries, shape ``[n]``.
        """
        begins = np.searchsorted(self.query, np.arange(self.queries + 1))
        first: dict[int, list[int]] = defaultdict(list)
        group = []
        for query in some.tolist():
            own = self.has[begins[query] : begins[query + 1]].tolist()
            for other, common in Counter(other for one in own for other in first[one]).items():
                # Both have a question beside their passages.
                passages = len(own) + int(begins[other + 1] - begins[other]) - 2
                if self.asks[other] == self.asks[query] or 3 * common >= passages:
                    group.append(other)
                    break
            else:
                group.append(query)
                for one in own:
                    first[one].append(query)
        return np.asarray(group)

    def between(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """
        Which queries share a passage or the question with others.

        :param some: Whether a query is one of these, shape ``[Q]``, bool.
        :param others: Whether it is one of the others, shape ``[Q]``, bool.
        :returns: Those of `some` that do, shape ``[Q]``, bool.
        """
        theirs = np.isin(self.has, self.has[others[self.query]])
        found = np.zeros(self.queries, dtype=bool)
        found[self.query[theirs]] = True
        return found & some
