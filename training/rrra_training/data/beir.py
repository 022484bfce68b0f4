"""Retrieval data in the BEIR layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``."""

from collections.abc import Iterator
from pathlib import Path

from rrra_training.data.interface import Passage, Query
from rrra_training.data.rows import Malformed, drawn, json_lines, known_split, open_text

__all__ = ["BeirDataset", "Passage", "Query", "split_of"]


def split_of(data: str, default: str) -> tuple[Path, str]:
    """
    A folder and a split, out of ``FOLDER`` or ``FOLDER:SPLIT``.

    :param data: As a user names it.
    :param default: The split where none is named.
    """
    folder, colon, split = data.rpartition(":")
    if colon and not Path(data).exists():
        return Path(folder), split
    return Path(data), default


class BeirDataset:
    """
    A folder in the BEIR layout.

    :param folder: The folder that holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``.
    :param name: What to call it; the folder's name if `None`.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    :raises FileNotFoundError: If one of these is missing.
    """

    def __init__(self, folder: str | Path, *, name: str | None = None, max_malformed: int = 0) -> None:
        self.folder = Path(folder)
        self._name = name
        self.malformed = Malformed(max_malformed)
        for part in ("corpus.jsonl", "queries.jsonl", "qrels"):
            if not (self.folder / part).exists():
                msg = (
                    f"{self.folder} is not in the BEIR layout: {part} is missing. "
                    "Expected corpus.jsonl, queries.jsonl and qrels/<split>.tsv."
                )
                raise FileNotFoundError(msg)

    @property
    def name(self) -> str:
        """What to call it."""
        return self._name or self.folder.resolve().name

    def splits(self) -> list[str]:
        """The names of the splits that have qrels."""
        return sorted(path.stem for path in (self.folder / "qrels").glob("*.tsv"))

    def passages(self) -> Iterator[Passage]:
        """
        Read the corpus, one passage at a time.

        :raises ValueError: If a line is not a JSON object with ``_id`` and ``text``.
        """
        for _, row in json_lines(self.folder / "corpus.jsonl", self.malformed, ("_id", "text")):
            yield Passage(id=str(row["_id"]), title=str(row.get("title") or ""), text=str(row["text"]))
        self.malformed.tell()

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """
        Relevance judgments of a split: query id -> passage id -> grade.

        :raises ValueError: If the split does not exist or a row is malformed.
        """
        known_split(str(self.folder), split, self.splits())
        path = self.folder / "qrels" / f"{split}.tsv"
        qrels: dict[str, dict[str, int]] = {}
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\r\n").split("\t")
                if number == 1 and cells[0] == "query-id":
                    continue
                try:
                    query_id, passage_id, grade = cells
                    qrels.setdefault(query_id, {})[passage_id] = int(grade)
                except ValueError:
                    reason = f"expected 'query-id<TAB>corpus-id<TAB>integer', found {line.strip()!r}"
                    self.malformed.report(path, number, reason)
        return qrels

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The queries of a split, in the order of the file.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random; all if `None` or if there are no more.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or a line is malformed.
        """
        judged = self.qrels(split)
        queries = [
            Query(id=str(row["_id"]), text=str(row["text"]), answers=tuple(row.get("answers") or ()))
            for _, row in json_lines(self.folder / "queries.jsonl", self.malformed, ("_id", "text"))
            if str(row["_id"]) in judged
        ]
        return drawn(queries, limit, seed)

    def negatives(self, split: str) -> dict[str, list[str]]:
        """The layout names no hard negatives."""
        known_split(str(self.folder), split, self.splits())
        return {}
