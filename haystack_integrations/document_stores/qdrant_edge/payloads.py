"""What a point holds beside its vectors, as the engine can store it and read it again."""

import json
import sys
from typing import Any

from pydantic_core import to_jsonable_python

# The engine acknowledges what is nested deeper than 128 levels, and cannot open a collection that holds it.
DEEPEST = 100
_LARGEST = int(sys.float_info.max)
_TOO_DEEP = f"its metadata is nested more than {DEEPEST} deep"


class _UnstorableError(ValueError):
    """The engine would not take it, or not be able to read it again."""


def edge_payload(payload: dict[str, Any], called: str, below: int = 0) -> tuple[dict[str, Any], int]:
    """
    A payload as the engine takes it, and how many bytes it has.

    Halves of surrogate pairs, which the engine does not take, are joined, or replaced where the other half is missing.

    :param payload: The payload.
    :param called: What to call it in an error.
    :param below: How deep in the payload of its point it is put.
    :raises ValueError: If the engine could not store it, or not read it again.
    """
    try:
        text = json.dumps(payload, allow_nan=False, default=to_jsonable_python, ensure_ascii=False)
        data = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        held: dict[str, Any] = json.loads(data)
        _check(held, DEEPEST - below)
    except RecursionError:
        raise ValueError(_refused(called, _TOO_DEEP)) from None
    except (TypeError, ValueError) as error:
        raise ValueError(_refused(called, str(error))) from error
    return held, len(data)


def _check(payload: dict[str, Any], deepest: int) -> None:
    level: list[Any] = [payload]
    for _ in range(deepest + 1):
        level = [one for held in level for one in (held.values() if isinstance(held, dict) else held)]
        if any(isinstance(one, int) and abs(one) > _LARGEST for one in level):
            msg = "its metadata holds an integer that is too large for a float"
            raise _UnstorableError(msg)
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return
    raise _UnstorableError(_TOO_DEEP)


def _refused(called: str, why: str) -> str:
    return f"{called} cannot be stored by Qdrant Edge: {why}."
