"""What systems are measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rrra_training.data import Passage, Query


@dataclass(frozen=True)
class Collection:
    """
    A corpus, queries and what was judged of them.

    :param name: Name of the data.
    :param passages: The corpus.
    :param queries: The queries.
    :param judged: Their judgments: query id -> passage id -> grade; above 0 is relevant.
    """

    name: str
    passages: Sequence[Passage]
    queries: Sequence[Query]
    judged: Mapping[str, Mapping[str, int]]

    @cached_property
    def ids(self) -> list[str]:
        """Identifiers of the passages."""
        return [passage.id for passage in self.passages]

    @cached_property
    def texts(self) -> list[str]:
        """What retrieval and reranking read of the passages."""
        return [passage.title_and_text for passage in self.passages]
