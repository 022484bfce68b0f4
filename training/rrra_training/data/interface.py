"""What training and evaluation ask of retrieval data, whatever its format."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Query:
    """
    One query.

    :param id: The query's identifier in the qrels.
    :param text: The question or claim.
    :param answers: Strings any of which answers the query; empty where the set has none.
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passage:
    """
    One passage of the corpus.

    :param id: The passage's identifier in the qrels.
    :param title: Its title, possibly empty.
    :param text: Its body.
    :param fields: Values of the metadata fields that were asked for, as text.
    """

    id: str
    title: str
    text: str
    fields: tuple[str, ...] = ()

    @property
    def title_and_text(self) -> str:
        """What an encoder reads: title and text, joined as the BEIR benchmark joins them."""
        return f"{self.title} {self.text}".strip()


class RetrievalData(Protocol):
    """A corpus, and splits of queries with relevance judgments."""

    @property
    def name(self) -> str:
        """What to call the data."""

    def splits(self) -> list[str]:
        """The names of the splits that have judgments."""

    def passages(self) -> Iterator[Passage]:
        """Read the corpus, one passage at a time, each id once."""

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """The judged queries of a split; `limit` of them, drawn with `seed`, if it is given."""

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Relevance judgments of a split: query id -> passage id -> grade; above 0 is relevant."""

    def negatives(self, split: str) -> dict[str, list[str]]:
        """Passages that the data name as hard negatives: query id -> passage ids."""
