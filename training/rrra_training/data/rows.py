"""Rows of data files, one at a time, and what becomes of the malformed ones."""

import csv
import gzip
import hashlib
import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rrra_training.data.interface import Query

logger = logging.getLogger(__name__)

_WARNINGS = 5
_CHUNK = 1 << 16

Row = TypeVar("Row")


class Malformed:
    """
    Counts malformed rows and gives up when there are too many.

    :param limit: So many are skipped; one more is an error.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.rows: list[str] = []

    def report(self, path: Path, line: int, reason: str) -> None:
        """
        Record a malformed row.

        :param path: The file.
        :param line: Number of the line (or of the element), from 1.
        :param reason: What is wrong.
        :raises ValueError: If there are more than `limit`.
        """
        row = f"{path}, line {line}: {reason}"
        if row in self.rows:
            return
        self.rows.append(row)
        if len(self.rows) > self.limit:
            told = (
                f" These are {len(self.rows)} malformed rows, more than max_malformed={self.limit}."
                if self.limit
                else ""
            )
            msg = f"{row}.{told} Mend the row, or skip malformed rows with max_malformed."
            raise ValueError(msg)
        if len(self.rows) <= _WARNINGS:
            logger.warning("Skipped %s.", row)

    def tell(self) -> None:
        """Say how many rows were skipped, if any."""
        if self.rows:
            logger.warning("%d malformed rows were skipped.", len(self.rows))


def open_text(path: Path) -> TextIO:
    """
    Open a text file, gzipped or not.

    :raises FileNotFoundError: If it is missing.
    """
    if not path.is_file():
        msg = f"{path} is missing. Check the path in the recipe."
        raise FileNotFoundError(msg)
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8", newline="")


def json_lines(path: Path, malformed: Malformed, required: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON lines file with their line numbers; a required key may not be missing."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                malformed.report(path, number, f"not valid JSON ({error.msg}, column {error.colno})")
                continue
            missing = [key for key in required if not isinstance(row, dict) or key not in row]
            if missing or not isinstance(row, dict):
                reason = f"the key '{missing[0]}' is missing" if missing else "not a JSON object"
                malformed.report(path, number, reason)
                continue
            yield number, row


def json_array(path: Path, malformed: Malformed) -> Iterator[tuple[int, Any]]:
    """
    Elements of a JSON array with their numbers, without reading the whole file.

    Files of JSON lines are read as well.
    """
    with open_text(path) as file:
        decoder = json.JSONDecoder()
        buffer, number, ended = file.read(_CHUNK).lstrip(), 0, False
        buffer = buffer.removeprefix("[")
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                # A number at the end of the buffer may go on in the next chunk; objects cannot.
                element, end = decoder.raw_decode(buffer)
            except json.JSONDecodeError as error:
                more = "" if ended else file.read(max(_CHUNK, len(buffer)))
                ended = not more
                if more:
                    buffer += more
                    continue
                if buffer.strip():
                    malformed.report(
                        path, number + 1, f"not valid JSON ({error.msg}), and nothing after it can be read"
                    )
                return
            number += 1
            yield number, element
            buffer = buffer[end:]


def tab_separated(
    path: Path, malformed: Malformed, columns: int, *, quoted: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """
    Rows of a file of tab-separated values with their line numbers.

    :param path: The file, gzipped or not.
    :param malformed: What is told of rows with another number of columns.
    :param columns: How many a row has.
    :param quoted: Whether cells are quoted as in CSV.
    """
    with open_text(path) as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        # Passages may be longer than the reader's default field.
        csv.field_size_limit(1 << 30)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != columns:
                malformed.report(
                    path, reader.line_num, f"expected {columns} columns separated by tabs, found {len(cells)}"
                )
                continue
            yield reader.line_num, cells


def stable_id(*texts: str) -> str:
    """An identifier made of texts."""
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:16]


def once(rows: Iterable[Row], key: Callable[[Row], str]) -> Iterator[Row]:
    """Each row whose key has not been seen; 8 bytes a key are remembered."""
    seen: set[int] = set()
    for row in rows:
        digest = int.from_bytes(hashlib.blake2b(key(row).encode(), digest_size=8).digest(), "little")
        if digest not in seen:
            seen.add(digest)
            yield row


def drawn(queries: list[Query], limit: int | None, seed: int) -> list[Query]:
    """`limit` of the queries, drawn at random and in their order; all if there are no more."""
    if limit is None or limit >= len(queries):
        return queries
    keep = sorted(random.Random(seed).sample(range(len(queries)), limit))
    return [queries[i] for i in keep]


def known_split(name: str, split: str, splits: Iterable[str]) -> None:
    """
    Check that a split exists.

    :raises ValueError: If it does not.
    """
    known = sorted(splits)
    if split not in known:
        msg = f"{name} has no split '{split}'; it has: {', '.join(known) or 'none'}."
        raise ValueError(msg)
