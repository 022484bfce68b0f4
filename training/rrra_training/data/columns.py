"""Rows of a query, positives and negatives, under the names that the trainers of retrievers give them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rrra_training.data.files import records
from rrra_training.data.interface import Passage, Query
from rrra_training.data.rows import (
    Malformed,
    RowError,
    drawn,
    identifier_of,
    known_split,
    once,
    stable_id,
    text_of,
    texts_of,
)

# In the order in which they are taken: a row with question, answer and context is answered by the context.
_QUERIES = ("anchor", "query", "question", "query_text")
_POSITIVES = ("positive", "positives", "pos", "positive_passages", "passage", "context")
_NEGATIVES = ("negative", "negatives", "neg", "negative_passages", "hard_negative", "hard_negatives")
_ANSWERS = ("answers", "answer")
_LABELS = frozenset({"label", "labels", "score", "scores"})
# ``negative_1``, ``negative-1`` and ``negative1``
_NUMBER = re.compile(r"(?:[_-]|(?<!\d))\d++$")


@dataclass(frozen=True)
class Columns:
    """
    Which columns of a row are what.

    :param query: The column of the query.
    :param positives: Columns of positives, a text, a passage or a list of these each.
    :param negatives: Columns of negatives, likewise.
    :param answers: The column of answers, if there is one beside the positives.
    :param others: Columns that are not read.
    """

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    answers: str | None
    others: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"query: {self.query}", f"positives: {', '.join(self.positives)}"]
        parts += [f"negatives: {', '.join(self.negatives)}"] if self.negatives else []
        parts += [f"answers: {self.answers}"] if self.answers else []
        parts += [f"not read: {', '.join(self.others)}"] if self.others else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Example:
    """
    A row as it was read.

    :param query: The query.
    :param positives: What answers it.
    :param negatives: What does not.
    """

    query: Query
    positives: tuple[Passage, ...]
    negatives: tuple[Passage, ...]


class ColumnsDataset:
    """
    Rows of a query, positives and negatives: the columns of sentence-transformers, the JSON lines of FlagEmbedding
    (``query``, ``pos``, ``neg``) and of Tevatron (``positive_passages``), in CSV, JSON or Parquet. The corpus is every
    positive and negative.

    Columns are found by their names, wherever they stand, row by row: ``anchor``, ``query`` or ``question``;
    ``positive``, ``pos``, ``passage``, ``context``, or ``answer`` where there is none of these; ``negative``, ``neg``;
    and the same with numbers. A value may be a list. Rows of the same query are one query with several positives.

    :param splits: Split -> file, or a ``datasets.Dataset``.
    :param name: What to call it.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    """

    def __init__(self, splits: Mapping[str, Any], *, name: str = "columns", max_malformed: int | None = None) -> None:
        self._sources = dict(splits)
        self.name = name
        self.malformed = Malformed(max_malformed)

    def splits(self) -> list[str]:
        """The names of the splits."""
        return sorted(self._sources)

    def passages(self) -> Iterator[Passage]:
        """
        Read positives and negatives, one at a time, each once.

        :raises ValueError: If there are too many malformed rows, or columns that are not understood.
        """
        found = (
            passage
            for split in self.splits()
            for example in self.examples(split)
            for passage in (*example.positives, *example.negatives)
        )
        yield from once(found, lambda passage: passage.id)
        self.malformed.tell()

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The distinct queries of a split.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or there are too many malformed rows.
        """
        return drawn(list(once((one.query for one in self.examples(split)), lambda query: query.id)), limit, seed)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Positives: query id -> passage id -> 1."""
        qrels: dict[str, dict[str, int]] = {}
        for one in self.examples(split):
            qrels.setdefault(one.query.id, {}).update((passage.id, 1) for passage in one.positives)
        return qrels

    def negatives(self, split: str) -> dict[str, list[str]]:
        """Negatives: query id -> passage ids."""
        found: dict[str, dict[str, None]] = {}
        for one in self.examples(split):
            found.setdefault(one.query.id, {}).update(dict.fromkeys(passage.id for passage in one.negatives))
        return {query: list(passages) for query, passages in found.items()}

    def examples(self, split: str) -> Iterator[Example]:
        """
        The rows of a split as they are read.

        :param split: A name from :meth:`splits`.
        :raises ValueError: If the split does not exist, there are too many malformed rows, or columns that are not
            understood.
        """
        path = self._path(split)
        for number, row in self.rows(split):
            try:
                yield _example(row, columns_of(tuple(row), path))
            except RowError as error:
                self.malformed.report(path, number, str(error))

    def rows(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """
        The rows of a split as the file has them, with their numbers.

        :param split: A name from :meth:`splits`.
        :raises ValueError: If the split does not exist or there are too many malformed rows.
        """
        known_split(self.name, split, self._sources)
        source = self._sources[split]
        if isinstance(source, str | Path):
            yield from records(self._path(split), self.malformed)
        else:
            yield from enumerate(source, start=1)

    def _path(self, split: str) -> Path:
        source = self._sources.get(split)
        return Path(source) if isinstance(source, str | Path) else Path(f"<{self.name}/{split}>")


@lru_cache
def columns_of(names: tuple[str, ...], path: Path) -> Columns:
    """
    Find out which columns are what, by their names alone.

    :param names: The columns of a row.
    :param path: Their file, for errors.
    :raises ValueError: If there is no query, no positive, or a label.
    """
    known = {name: _NUMBER.sub("", name.strip().lower()) for name in names}
    query = next((name for wanted in _QUERIES for name in names if known[name] == wanted), None)
    positives = _first_kind(known, _POSITIVES)
    answers = _first_kind(known, _ANSWERS)
    if not positives:
        positives, answers = answers, ()
    negatives = tuple(name for name in names if known[name] in _NEGATIVES)
    if labels := [name for name in names if known[name] in _LABELS]:
        msg = (
            f"{path} has the column '{labels[0]}', but training takes a query, positives and negatives. Keep the "
            "rows of relevant pairs and drop the column."
        )
        raise ValueError(msg)
    if query is None or not positives:
        understood = [f"'{query}' is the query"] if query is not None else []
        understood += [f"'{positives[0]}' is the positive"] if positives else []
        msg = (
            f"{path} has the columns {', '.join(names) or 'none'}; {', '.join(understood) or 'none of them'} "
            f"understood. Name the query {_either(_QUERIES[:3])}, what answers it {_either(('positive', 'context'))}, "
            "and what does not 'negative'."
        )
        raise ValueError(msg)
    read = {query, *positives, *negatives, *answers}
    return Columns(
        query, positives, negatives, answers[0] if answers else None, tuple(name for name in names if name not in read)
    )


def _first_kind(known: Mapping[str, str], kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the first of some kinds that there are."""
    for kind in kinds:
        if found := tuple(name for name, own in known.items() if own == kind):
            return found
    return ()


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _example(row: Mapping[str, Any], columns: Columns) -> Example:
    query = text_of(row, columns.query)
    if not query.strip():
        msg = f"'{columns.query}' is empty"
        raise RowError(msg)
    positives = _passages(row, columns.positives)
    if not positives:
        msg = f"'{columns.positives[0]}' is empty"
        raise RowError(msg)
    answers = texts_of(row, columns.answers) if columns.answers is not None else ()
    return Example(Query(stable_id(query), query, answers), positives, _passages(row, columns.negatives))


def _passages(row: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[Passage, ...]:
    """Every passage under some columns; empty ones, as a row with fewer negatives has, are left out."""
    found = []
    for column in columns:
        value = row.get(column)
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, Mapping):
                title, text = text_of(one, "title", ""), text_of(one, "text")
                key = next((key for key in ("docid", "_id", "id") if one.get(key) not in (None, "")), None)
                found.append(Passage(identifier_of(one, key) if key else stable_id(title, text), title, text))
            elif one is not None:
                found += [Passage(stable_id(text), "", text) for text in texts_of({column: [one]}, column)]
    return tuple(found)
