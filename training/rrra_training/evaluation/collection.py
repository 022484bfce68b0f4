"""What systems are measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rrra_training.data import Passage, Query
from rrra_training.data.checks import identical_passages


@dataclass(frozen=True)
class Collection:
    """
    A corpus, queries and what was judged of them.

    :param name: Name of the data.
    :param passages: The corpus.
    :param queries: The queries.
    :param judged: Their judgments: query id -> passage id -> grade; above 0 is relevant.
    :param ignore_identical: Whether a passage that is the query itself, and not labelled relevant, is left out of the
        query's candidates.
    """

    name: str
    passages: Sequence[Passage]
    queries: Sequence[Query]
    judged: Mapping[str, Mapping[str, int]]
    ignore_identical: bool = False

    @cached_property
    def ids(self) -> list[str]:
        """Identifiers of the passages."""
        return [passage.id for passage in self.passages]

    @cached_property
    def texts(self) -> list[str]:
        """What retrieval and reranking read of the passages."""
        return [passage.title_and_text for passage in self.passages]

    @cached_property
    def _identical(self) -> dict[str, list[int]]:
        return identical_passages(self.queries, self.passages, self.judged)

    def candidates_of(self, query: Query, scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        What was found for a query, without the query itself if that is to be ignored.

        :param query: The query.
        :param scores: Scores of what was found, shape ``[n]``.
        :param rows: Rows of it, shape ``[n]``.
        """
        if not self.ignore_identical or not (own := self._identical.get(query.id)):
            return scores, rows
        others = ~np.isin(rows, own)
        return scores[others], rows[others]
