"""Columns as sentence-transformers trains on: anchor, positive, and any number of negatives."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rrra_training.data.interface import Passage, Query
from rrra_training.data.rows import Malformed, drawn, json_lines, known_split, once, open_text, stable_id

_ANCHORS = ("anchor", "query", "question")
_LABELS = frozenset({"label", "labels", "score", "scores"})


class ColumnsDataset:
    """
    Rows of an anchor, a positive and negatives. The corpus is every text but the anchors.

    As in sentence-transformers the order of the columns counts, unless they are named ``anchor`` (or ``query``,
    ``question``), ``positive`` and ``negative...``. Rows with the same anchor are one query with several positives.

    :param splits: Split -> CSV or JSON lines file, or a ``datasets.Dataset``.
    :param name: What to call it.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    """

    def __init__(self, splits: Mapping[str, Any], *, name: str = "columns", max_malformed: int = 0) -> None:
        self._sources = dict(splits)
        self.name = name
        self.malformed = Malformed(max_malformed)

    def splits(self) -> list[str]:
        """The names of the splits."""
        return sorted(self._sources)

    def passages(self) -> Iterator[Passage]:
        """
        Read positives and negatives, one at a time, each text once.

        :raises ValueError: If there are too many malformed rows, or columns that are not understood.
        """
        texts = (text for split in self.splits() for _, *rest in self._rows(split) for text in rest)
        for text in once(texts, lambda text: text):
            yield Passage(stable_id(text), "", text)
        self.malformed.tell()

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The distinct anchors of a split.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or there are too many malformed rows.
        """
        anchors = once((anchor for anchor, *_ in self._rows(split)), lambda anchor: anchor)
        return drawn([Query(stable_id(anchor), anchor) for anchor in anchors], limit, seed)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Positives: query id -> passage id -> 1."""
        qrels: dict[str, dict[str, int]] = {}
        for anchor, positive, *_ in self._rows(split):
            qrels.setdefault(stable_id(anchor), {})[stable_id(positive)] = 1
        return qrels

    def negatives(self, split: str) -> dict[str, list[str]]:
        """Negatives: query id -> passage ids."""
        found: dict[str, dict[str, None]] = {}
        for anchor, _, *negatives in self._rows(split):
            found.setdefault(stable_id(anchor), {}).update(dict.fromkeys(stable_id(text) for text in negatives))
        return {query: list(passages) for query, passages in found.items()}

    def _rows(self, split: str) -> Iterator[list[str]]:
        """Anchor, positive and negatives of each row."""
        known_split(self.name, split, self._sources)
        source = self._sources[split]
        path = Path(source) if isinstance(source, str | Path) else Path(f"<{self.name}/{split}>")
        rows = self._of_file(path) if isinstance(source, str | Path) else enumerate(source, start=1)
        order: list[str] = []
        for number, row in rows:
            order = order or _column_order(list(row), path)
            texts = [row.get(column) for column in order]
            if any(not isinstance(text, str) or not text.strip() for text in texts[:2]):
                self.malformed.report(path, number, f"'{order[0]}' or '{order[1]}' is empty or no text")
            else:
                yield [text for text in texts if isinstance(text, str) and text.strip()]

    def _of_file(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        if path.name.removesuffix(".gz").endswith((".jsonl", ".json")):
            yield from json_lines(path, self.malformed)
            return
        with open_text(path) as lines:
            reader = csv.DictReader(lines)
            for row in reader:
                if None in row or None in row.values():
                    self.malformed.report(path, reader.line_num, "another number of cells than the header has")
                else:
                    yield reader.line_num, row


def _column_order(columns: list[str], path: Path) -> list[str]:
    if labels := [column for column in columns if column in _LABELS]:
        msg = (
            f"{path} has the column '{labels[0]}', but training takes an anchor, a positive and negatives. Keep the "
            "rows of relevant pairs and drop the column."
        )
        raise ValueError(msg)
    anchor = next((column for column in columns if column in _ANCHORS), None)
    if anchor is not None and "positive" in columns:
        return [anchor, "positive", *(column for column in columns if column.startswith("negative"))]
    if len(columns) < 2:  # noqa: PLR2004  (an anchor and a positive)
        msg = f"{path} has the columns {', '.join(columns)}; an anchor and a positive are needed."
        raise ValueError(msg)
    return columns
