"""What labelled queries share: relevant passages, and the question itself."""

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
    :param queries: How many queries there are.
    """

    query: np.ndarray
    has: np.ndarray
    queries: int

    @classmethod
    def of(cls, sets: Sequence[CandidateSet]) -> "Shared":
        """What the queries of sets share; all sets together are one."""
        numbers: dict[tuple[bool, int], int] = {}
        query: list[int] = []
        has: list[int] = []
        count = 0
        for data in sets:
            labelled = np.unique(data.positives.rows).tolist()
            passages = {row: digest_of(data.passages.text(row)) for row in labelled}
            for one in range(len(data)):
                own = {(True, passages[row]) for row in data.positives.of(one).tolist()}
                own.add((False, digest_of(data.queries.text(one))))
                has += [numbers.setdefault(key, len(numbers)) for key in sorted(own)]
                query += [count] * len(own)
                count += 1
        return cls(np.asarray(query), np.asarray(has), count)

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

    def gathered(self) -> np.ndarray:
        """
        Which queries depend on each other: each goes with what most others have too, of all that it has; shape ``[Q]``.

        Other than of :meth:`groups`, there are many also where all hang together by way of others.
        """
        order = np.lexsort((self.has, -np.bincount(self.has)[self.has], self.query))
        return self.has[order][np.unique(self.query[order], return_index=True)[1]]

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
