"""Haystack's filters as Qdrant's, as Haystack means them, and a store whose every method takes them so."""

import inspect
import math
import sys
from collections.abc import Callable, Collection
from datetime import date, datetime
from functools import wraps
from itertools import chain
from reprlib import repr as shortened
from typing import Any

import numpy as np
from haystack.errors import FilterError
from haystack.utils.filters import COMPARISON_OPERATORS, LOGICAL_OPERATORS
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.filters import convert_filters_to_qdrant
from qdrant_client import models

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.moments import compared_as_texts, equal_moment, moment_of

_CLAUSES = {"AND": "must", "OR": "should"}
# NOT is "not all of these".
_JOINED = {"AND": "AND", "OR": "OR", "NOT": "AND"}
_LIMITS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
# Deeper ones, which no person writes, would exceed Python's stack in one of the libraries below.
_DEEPEST = 64
# A range is of floats: it finds 2 and 2.0 alike, but cannot tell integers from here on from their neighbours.
_EXACT = 2**53
# Integers from here on are stored as floats, or found as such.
_LARGEST = 2**63
_MOST = sys.float_info.max
# Of a tree of ranges.
_BRANCHES = 4


def qdrant_filter(filters: dict[str, Any] | models.Filter | None, texts: Collection[str] = ()) -> models.Filter | None:
    """
    Haystack's filters as Qdrant's, as Haystack means them.

    `qdrant-haystack` takes an empty list of values for no condition at all, NOT for "none of these" where Haystack
    means "not all", and refuses comparisons to `None` and equality with fractions.

    :param filters: Haystack's filters, or Qdrant's, which stay as they are.
    :param texts: Fields in which the text of a date equals itself alone, so that an index of texts finds it.
    :raises FilterError: If they are malformed, nested too deep, or compare with what Qdrant cannot compare with.
    """
    if isinstance(filters, models.Filter) or not filters:
        return convert_filters_to_qdrant(filters)
    condition = _condition(filters, texts, 0)
    return condition if isinstance(condition, models.Filter) else models.Filter(must=[condition])


def _condition(item: Any, texts: Collection[str], depth: int) -> models.Condition:
    _check(item)
    if depth > _DEEPEST:
        msg = f"The filter is nested more than {_DEEPEST} deep: join its conditions in fewer levels."
        raise FilterError(msg)
    operator = item["operator"]
    if operator not in LOGICAL_OPERATORS:
        return _comparison(item["field"], operator, item["value"], as_text=item["field"] in texts)
    nested = [_condition(one, texts, depth + 1) for one in _joined(item)]
    if operator == "NOT":
        return models.Filter(must_not=[models.Filter(must=nested)])
    return models.Filter(**{_CLAUSES[operator]: nested})


def _check(item: Any) -> None:
    fault = None
    if not isinstance(item, dict):
        fault = "is no dictionary"
    elif not isinstance(item.get("operator"), str):
        fault = "has no 'operator'"
    elif item["operator"] in LOGICAL_OPERATORS:
        if not isinstance(item.get("conditions"), list | tuple) or not item["conditions"]:
            fault = "has no list of 'conditions'"
    elif item["operator"] not in COMPARISON_OPERATORS:
        fault = f"has an 'operator' that is none of {', '.join([*LOGICAL_OPERATORS, *COMPARISON_OPERATORS])}"
    elif not isinstance(item.get("field"), str):
        fault = "has no 'field' that is a text"
    elif "value" not in item:
        fault = "has no 'value'"
    elif item["operator"] in ("in", "not in") and not isinstance(item["value"], list):
        fault = "has a 'value' that is no list"
    if fault is not None:
        msg = f"The filter {shortened(item)} {fault}."
        raise FilterError(msg)


def _joined(item: dict[str, Any]) -> list[Any]:
    """The conditions of a filter, and in the place of those that only join others these others."""
    operator = _JOINED[item["operator"]]
    found, waiting = [], list(item["conditions"])
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict) and one.get("operator") == operator:
            _check(one)
            waiting.extend(one["conditions"])
        else:
            found.append(one)
    return found[::-1]


def _comparison(field: str, operator: str, value: Any, *, as_text: bool) -> models.Condition:
    _check_path(field)
    if operator in _LIMITS:
        return _range(field, _LIMITS[operator], _plain(value))
    each = [_equal(field, one, as_text=as_text) for one in (value if operator in ("in", "not in") else [value])]
    equal = _any_of(field, each) if operator in ("in", "not in") else each[0]
    if operator in ("!=", "not in"):
        return models.Filter(must_not=equal)
    return equal[0] if len(equal) == 1 else models.Filter(should=equal or [_nothing()])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.number | np.bool_) else value


def _range(field: str, limit: str, value: Any) -> models.Condition:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        # Nothing is greater or less than nothing.
        return _nothing()
    if isinstance(value, int | float):
        # Infinity, which JSON has not, would be no limit at all for a server.
        return _within(field, **{limit: float(max(-_MOST, min(_MOST, value)))})
    try:
        return _within(field, **{limit: moment_of(value)})
    except (TypeError, ValueError):
        raise FilterError(_incomparable(field, value)) from None


def _check_path(field: str) -> None:
    """Let the engine itself read the name of a field; a server's grammar is the same."""
    try:
        qdrant_edge.IsEmptyCondition(field)
    except ValueError:
        msg = (
            f"The filter field {field!r} is no path that Qdrant knows. Write names with other signs than letters, "
            "digits, '_' and '-' in quotes, as meta.\"a b\", and the items of a list as meta.a[]."
        )
        raise FilterError(msg) from None


def _equal(field: str, value: Any, *, as_text: bool) -> list[models.Condition]:
    """Conditions of which one holds where a value stands: a date may be spelt in many ways."""
    value = _plain(value)
    moment = None if as_text and isinstance(value, str) else equal_moment(value)
    found = [] if moment is None else [_within(field, gte=moment, lte=moment)]
    return found if isinstance(value, date) else [_same(field, value), *found]


def _same(field: str, value: Any) -> models.Condition:
    if isinstance(value, str) and not _is_text(value):
        raise FilterError(_incomparable(field, value))
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=field))
    is_integer = isinstance(value, int) and (_EXACT <= value < _LARGEST or -_LARGEST <= value <= -_EXACT)
    if isinstance(value, bool | str) or is_integer:
        return models.FieldCondition(key=field, match=models.MatchValue(value=value))
    if not isinstance(value, int | float):
        raise FilterError(_incomparable(field, value))
    # Neither a number that is too large for a float nor NaN is the value of any document.
    return _within(field, gte=float(value), lte=float(value)) if abs(value) <= _MOST else _nothing()


def _any_of(field: str, each: list[list[models.Condition]]) -> list[models.Condition]:
    """The conditions of several values as few ones, since the engine reads a payload for each."""
    found: list[models.Condition] = []
    matched: dict[type, dict[Any, None]] = {}
    points: dict[type, set[Any]] = {}
    for one in chain.from_iterable(each):
        match, limits = (one.match, one.range) if isinstance(one, models.FieldCondition) else (None, None)
        if limits is not None:
            points.setdefault(type(limits), set()).add(limits.gte)
        elif isinstance(match, models.MatchValue) and not isinstance(match.value, bool):
            matched.setdefault(type(match.value), {})[match.value] = None
        elif one not in found:
            found.append(one)
    found += [models.FieldCondition(key=field, match=models.MatchAny(any=list(one))) for one in matched.values()]
    return found + [_one_of(field, sorted(own)) for own in points.values()]


def _one_of(field: str, points: list[Any]) -> models.Condition:
    """A tree of ranges over sorted numbers or moments, in which a stored one meets few."""
    if len(points) == 1:
        return _within(field, gte=points[0], lte=points[0])
    step = math.ceil(len(points) / _BRANCHES)
    parts = [_one_of(field, points[begin : begin + step]) for begin in range(0, len(points), step)]
    # Within 'must': what stands in 'should' of the same filter would be asked before the range.
    return models.Filter(must=[_within(field, gte=points[0], lte=points[-1]), models.Filter(should=parts)])


def _within(field: str, **limits: Any) -> models.Condition:
    """Within limits that are numbers, or moments."""
    kind = models.DatetimeRange if any(isinstance(one, datetime) for one in limits.values()) else models.Range
    return models.FieldCondition(key=field, range=kind(**limits))


def _nothing() -> models.Condition:
    return models.HasIdCondition(has_id=[])


def _is_text(value: str) -> bool:
    """Whether a string can be sent: half of a surrogate pair, which JSON may hold, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _incomparable(field: str, value: Any) -> str:
    return (
        f"The filter compares {field!r} with {shortened(value)}: Qdrant compares with a text, a number, a date, a "
        "boolean or None, and orders numbers and dates."
    )


class TakesHaystackFilters(QdrantDocumentStore):
    """A QdrantDocumentStore with filters as Haystack means them, in every method that takes any."""


def _meant(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is given filters as :func:`qdrant_filter` makes them."""
    signature = inspect.signature(method)

    def bound(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
        given = signature.bind(*args, **kwargs)
        if "filters" in given.arguments:
            given.arguments["filters"] = qdrant_filter(given.arguments["filters"], compared_as_texts(args[0]))
        return given

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = bound(*args, **kwargs)
        return method(*given.args, **given.kwargs)

    @wraps(method)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        given = bound(*args, **kwargs)
        return await method(*given.args, **given.kwargs)

    return call_async if inspect.iscoroutinefunction(method) else call


for _name, _method in vars(QdrantDocumentStore).items():
    if inspect.isfunction(_method) and "filters" in inspect.signature(_method).parameters:
        setattr(TakesHaystackFilters, _name, _meant(_method))
