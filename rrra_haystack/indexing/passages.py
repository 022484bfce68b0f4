"""Passages that are cut already: one a line of a file."""

import json
from typing import Any

from haystack import Document

from rrra_haystack.documents.decoding import without_surrogates
from rrra_haystack.indexing.failures import Failure
from rrra_haystack.indexing.units import Unit

_EXPECTED = "expected a JSON object with '_id', which is a string or a number, and 'text', which is a string"
_MARK = b"\xef\xbb\xbf"


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
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", _EXPECTED))
    return passages, failures


def _passage(row: Any, unit: Unit) -> Document:
    name, text = row["_id"], row["text"]
    if not isinstance(name, str | int | float) or not isinstance(text, str):
        raise TypeError
    meta = {key: value for key, value in row.items() if key not in ("_id", "text") and value not in ("", None, {}, [])}
    # A source that the passage names itself tells more than the file.
    return Document(id=str(name), content=text, meta={"source": str(unit.path), **meta, "part": unit.key})
