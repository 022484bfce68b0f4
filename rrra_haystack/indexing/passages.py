"""Passages that are cut already: one a line of a file."""

import json
import math
from typing import Any

from haystack import Document

from haystack_integrations.document_stores.qdrant_edge.payloads import DEEPEST
from rrra_haystack.documents.decoding import without_surrogates
from rrra_haystack.documents.failures import Failure
from rrra_haystack.indexing.units import Unit

_EXPECTED = "expected a JSON object with '_id', which is a string or a number, and 'text', which is a string"
_ODD_NUMBER = "its metadata holds a number that is none (NaN), infinite, or too large to be stored"
_TOO_DEEP = f"its metadata is nested more than {DEEPEST} deep"
_MARK = b"\xef\xbb\xbf"


class _UnstorableError(ValueError):
    """Metadata that no store takes, or that one could not read again."""


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
        except _UnstorableError as error:
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", str(error)))
        except RecursionError:
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", _TOO_DEEP))
        except (ValueError, KeyError, TypeError, AttributeError):
            failures.append(Failure(unit.key, f"{unit.path}, line {number}", _EXPECTED))
    return passages, failures


def _passage(row: Any, unit: Unit) -> Document:
    name, text = row["_id"], row["text"]
    if not isinstance(name, str | int | float) or not isinstance(text, str):
        raise TypeError
    meta = {key: value for key, value in row.items() if key not in ("_id", "text") and value not in ("", None, {}, [])}
    _check(meta)
    # A source that the passage names itself tells more than the file.
    return Document(id=str(name), content=text, meta={"source": str(unit.path), **meta, "part": unit.key})


def _check(value: Any, depth: int = 1) -> None:
    """Refuse what no store takes, before the passages of other lines are on their way to it."""
    if depth > DEEPEST:
        raise _UnstorableError(_TOO_DEEP)
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, dict | list):
            _check(one, depth + 1)
        elif isinstance(one, int | float) and not _is_finite(one):
            raise _UnstorableError(_ODD_NUMBER)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
