"""Retrieval data in the BEIR layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """

    id: str
    title: str
    text: str

    @property
    def title_and_text(self) -> str:
        """What an encoder reads: title and text, joined as the BEIR benchmark joins them."""
        return f"{self.title} {self.text}".strip()


class BeirDataset:
    """
    A folder in the BEIR layout.

    :param folder: The folder that holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``.
    :raises FileNotFoundError: If one of these is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        for name in ("corpus.jsonl", "queries.jsonl", "qrels"):
            if not (self.folder / name).exists():
                msg = (
                    f"{self.folder} is not in the BEIR layout: {name} is missing. "
                    "Expected corpus.jsonl, queries.jsonl and qrels/<split>.tsv."
                )
                raise FileNotFoundError(msg)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    def splits(self) -> list[str]:
        """The names of the splits that have qrels."""
        return sorted(path.stem for path in (self.folder / "qrels").glob("*.tsv"))

    def passages(self) -> Iterator[Passage]:
        """
        Read the corpus, one passage at a time.

        :raises ValueError: If a line is not a JSON object with ``_id`` and ``text``.
        """
        for row in _json_lines(self.folder / "corpus.jsonl", required=("_id", "text")):
            yield Passage(id=str(row["_id"]), title=str(row.get("title") or ""), text=str(row["text"]))

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """
        Relevance judgments of a split: query id -> passage id -> grade.

        :raises ValueError: If the split does not exist or a row is malformed.
        """
        path = self.folder / "qrels" / f"{split}.tsv"
        if not path.exists():
            msg = f"{self.folder} has no split '{split}'; it has: {', '.join(self.splits()) or 'none'}."
            raise ValueError(msg)
        qrels: dict[str, dict[str, int]] = {}
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\r\n").split("\t")
                if number == 1 and cells[0] == "query-id":
                    continue
                try:
                    query_id, passage_id, grade = cells
                    qrels.setdefault(query_id, {})[passage_id] = int(grade)
                except ValueError:
                    msg = (
                        f"{path}, line {number}: expected 'query-id<TAB>corpus-id<TAB>integer', found {line.strip()!r}."
                    )
                    raise ValueError(msg) from None
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
        rows = _json_lines(self.folder / "queries.jsonl", required=("_id", "text"))
        queries = [
            Query(id=str(row["_id"]), text=str(row["text"]), answers=tuple(row.get("answers") or ()))
            for row in rows
            if str(row["_id"]) in judged
        ]
        if limit is not None and limit < len(queries):
            keep = sorted(random.Random(seed).sample(range(len(queries)), limit))
            queries = [queries[i] for i in keep]
        return queries


def _json_lines(path: Path, required: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                msg = f"{path}, line {number}: not valid JSON ({error.msg}, column {error.colno})."
                raise ValueError(msg) from None
            missing = [key for key in required if not isinstance(row, dict) or key not in row]
            if missing:
                msg = f"{path}, line {number}: the key '{missing[0]}' is missing."
                raise ValueError(msg)
            yield row
