"""Passages that are cut already: one a line of a file."""

import json
import math
from typing import Any

from haystack import Document

from rrra_haystack.documents.decoding import without_surrogates
from rrra_haystack.documents.failures import Failure
from rrra_haystack.indexing.units import Unit

_EXPECTED = "expected a JSON object with '_id', which is a string or a number, and 'text', which is a string"
_ODD_NUMBER = "its metadata holds a number that is none (NaN), infinite, or too large to be stored"
_MARK = b"\xef\xbb\xbf"


class _OddNumberError(ValueError):
    """A number that JSON has no word for, or that fits no float."""


def read_passages(unit: Unit) -> tuple[list[Document], list[Failure]]:
    """
    The passages of some lines of a file, and the lines that hold none.

    :param unit: The lines.
    """
    with unit.path.open("rb") as file:
        file.seek(unit.begin)
        lines = file.read(unit.size).removeprefix(b"" if unit.begin else _MARK).split(b"\n")
    passages, failures = [], []
    for number, line in enumerate(lines, start=unit.line or 1):
        if not line.strip():
            continue
        try:
            passages.append(_passage(without_surrogates(json.loads(line)), unit))
        except _OddNumberError:
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", _ODD_NUMBER))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", _EXPECTED))
    return passages, failures


def _passage(row: Any, unit: Unit) -> Document:
    name, text = row["_id"], row["text"]
    if not isinstance(name, str | int | float) or not isinstance(text, str):
        raise TypeError
    meta = {key: value for key, value in row.items() if key not in ("_id", "text") and value not in ("", None, {}, [])}
    _check_numbers(meta)
    # A source that the passage names itself tells more than the file.
    return Document(id=str(name), content=text, meta={"source": str(unit.path), **meta, "part": unit.key})


def _check_numbers(value: Any) -> None:
    """Refuse what no store takes, before the passages of other lines are on their way to it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            _check_numbers(one)
    elif isinstance(value, int | float):
        try:
            is_odd = not math.isfinite(value)
        except OverflowError:
            is_odd = True
        if is_odd:
            raise _OddNumberError
