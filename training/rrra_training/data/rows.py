"""Rows of data files, one at a time, and what becomes of the malformed ones."""

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from rrra_haystack.documents.decoding import without_surrogates
from rrra_training.data.interface import Query

logger = logging.getLogger(__name__)

_WARNINGS = 5


@cache
def tell_once(remark: str) -> None:
    """Log a remark, once a process: what looks at data more than once need not say it again."""
    logger.warning(remark)


Row = TypeVar("Row")


class Malformed:
    """
    Counts malformed rows and gives up when there are too many.

    :param limit: So many are skipped; one more is an error. None is skipped if `None`, where nobody can set a limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.rows: list[str] = []
        self._counts: Counter[Path] = Counter()

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
        self._counts[path] += 1
        if len(self.rows) > (self.limit or 0):
            told = (
                f" These are {len(self.rows)} malformed rows, more than max_malformed={self.limit}."
                if self.limit
                else ""
            )
            remedy = "Mend the row."
            if self.limit is not None:
                key = f"--set train.0.data.max_malformed={self.limit + 10}"
                remedy = f"Mend the row, or skip malformed rows with max_malformed, a key of the data, as {key}."
            msg = f"{row}.{told} {remedy}"
            raise ValueError(msg)
        if len(self.rows) <= _WARNINGS:
            tell_once(f"Skipped {row}.")

    def tell(self) -> None:
        """Say how many rows of each file were skipped, if any."""
        for path, count in self._counts.items():
            tell_once(f"{path}: {count} malformed {'row was' if count == 1 else 'rows were'} skipped.")


class RowError(ValueError):
    """What is wrong with a row; told with its file and line by :meth:`Malformed.report`."""


def text_of(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """
    The text under a key of a row; halves of surrogate pairs, which no file could hold, are replaced.

    :param row: The row.
    :param key: The key.
    :param default: What is taken where the key is missing or null.
    :raises RowError: If it is missing and has no default, or is no text: null is not the text "None".
    """
    if key not in row and default is None:
        msg = f"the key '{key}' is missing"
        raise RowError(msg)
    value = row.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        msg = f"'{key}' is {_kind_of(value)}, not text"
        raise RowError(msg)
    return without_surrogates(value)


def field_of(row: Mapping[str, Any], name: str) -> str:
    """
    A metadata field of a row, as text: under ``meta``, or beside the text.

    :param row: The row.
    :param name: Name of the field.
    :raises RowError: If it is missing, null, or more than one value.
    """
    meta = row.get("meta")
    value = {**row, **(meta if isinstance(meta, Mapping) else {})}.get(name)
    if not isinstance(value, str | int | float):
        said = "missing" if value is None else _kind_of(value)
        msg = f"the metadata field '{name}' is {said}"
        raise RowError(msg)
    return without_surrogates(str(value))


def identifier_of(row: Mapping[str, Any], *keys: str) -> str:
    """
    The identifier of a row, a text or a whole number, under the first of some keys that it has.

    :raises RowError: If it has none of them, or it is of another kind.
    """
    key = next((key for key in keys if key in row), None)
    if key is None:
        msg = f"the key '{keys[0]}' is missing"
        raise RowError(msg)
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        msg = f"'{key}' is {_kind_of(value)}, no identifier"
        raise RowError(msg)
    return without_surrogates(str(value))


def texts_of(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """
    The texts under a key of a row: a list of texts, one text, or none; blank ones are left out.

    :raises RowError: If it is anything else.
    """
    value = row.get(key)
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        msg = f"'{key}' is {_kind_of(value)}, not a list of texts"
        raise RowError(msg)
    if wrong := [one for one in value if not isinstance(one, str)]:
        msg = f"'{key}' holds {_kind_of(wrong[0])}, not texts alone"
        raise RowError(msg)
    return tuple(without_surrogates(one) for one in value if one.strip())


def _kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case "":
            return "empty"
        case _:
            return f"the number {value}" if isinstance(value, int | float) else f"a {type(value).__name__}"


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
