"""Haystack's filters as Qdrant's, as Haystack means them, and a store whose every method takes them so."""

import inspect
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from haystack.errors import FilterError
from haystack.utils.filters import LOGICAL_OPERATORS
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.filters import convert_filters_to_qdrant
from pydantic import ValidationError
from qdrant_client import models

import qdrant_edge

_CLAUSES = {"AND": "must", "OR": "should"}
_RANGES = frozenset({">", ">=", "<", "<="})
# Deeper ones, which no person writes, would exceed Python's stack in one of the libraries below.
_DEEPEST = 64
_LARGEST = 2**63


def qdrant_filter(filters: dict[str, Any] | models.Filter | None) -> models.Filter | None:
    """
    Haystack's filters as Qdrant's, as Haystack means them.

    `qdrant-haystack` takes an empty list of values for no condition at all, NOT for "none of these" where Haystack
    means "not all", and refuses comparisons to `None` and equality with fractions.

    :param filters: Haystack's filters, or Qdrant's, which stay as they are.
    :raises FilterError: If they are malformed, nested too deep, name a field by no path that Qdrant knows, or compare
        with what Qdrant cannot compare with.
    """
    if isinstance(filters, models.Filter) or not filters:
        return convert_filters_to_qdrant(filters)
    condition = _condition(filters, 0)
    return condition if isinstance(condition, models.Filter) else models.Filter(must=[condition])


def _condition(item: Any, depth: int) -> models.Condition:
    if not isinstance(item, dict):
        msg = f"A filter is a dictionary with 'operator', but got {item!r}."
        raise FilterError(msg)
    if depth > _DEEPEST:
        msg = f"The filter is nested more than {_DEEPEST} deep: join its conditions in fewer levels."
        raise FilterError(msg)
    operator, conditions = item.get("operator"), item.get("conditions")
    if "operator" in item and not isinstance(operator, str):
        msg = f"The 'operator' of a filter is a string, but got {operator!r}."
        raise FilterError(msg)
    if operator in LOGICAL_OPERATORS and isinstance(conditions, list) and conditions:
        nested = [_condition(one, depth + 1) for one in conditions]
        if operator == "NOT":
            return models.Filter(must_not=[models.Filter(must=nested)])
        return models.Filter(**{_CLAUSES[operator]: nested})
    if operator not in LOGICAL_OPERATORS and isinstance(item.get("field"), str) and "value" in item:
        return _comparison(item["field"], operator, item["value"])
    # What is missing or unknown is told by Haystack's own sentence.
    convert_filters_to_qdrant([{"conditions": None, **item}])
    msg = f"The filter {item!r} is malformed."
    raise FilterError(msg)


def _comparison(field: str, operator: Any, value: Any) -> models.Condition:
    _check_path(field)
    if operator == "==":
        return _equal(field, value)
    if operator == "!=":
        return models.Filter(must_not=[_equal(field, value)])
    if operator in ("in", "not in") and isinstance(value, list):
        equal = [_equal(field, one) for one in value]
        return models.Filter(must_not=equal) if operator == "not in" else models.Filter(should=equal or [_nothing()])
    if operator in _RANGES and value is None:
        # Nothing is greater or less than nothing.
        return _nothing()
    try:
        found = convert_filters_to_qdrant({"field": field, "operator": operator, "value": value})
    except (ValidationError, OverflowError, TypeError):
        found = None
    if found is None:
        raise FilterError(_incomparable(field, value))
    return found


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


def _equal(field: str, value: Any) -> models.Condition:
    if isinstance(value, str) and not _is_text(value):
        raise FilterError(_incomparable(field, value))
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=field))
    if isinstance(value, bool | str) or (isinstance(value, int) and -_LARGEST <= value < _LARGEST):
        return models.FieldCondition(key=field, match=models.MatchValue(value=value))
    if isinstance(value, float) and not math.isnan(value):
        return models.FieldCondition(key=field, range=models.Range(gte=value, lte=value))
    if isinstance(value, int | float):
        # Neither a number of more than 64 bits nor NaN is the value of any document.
        return _nothing()
    raise FilterError(_incomparable(field, value))


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
    return f"The filter compares '{field}' with {value!r}: Qdrant compares with a text, a number, a boolean or None."


class TakesHaystackFilters(QdrantDocumentStore):
    """A QdrantDocumentStore with filters as Haystack means them, in every method that takes any."""


def _meant(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is given filters as :func:`qdrant_filter` makes them."""
    signature = inspect.signature(method)

    def bound(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
        given = signature.bind(*args, **kwargs)
        if "filters" in given.arguments:
            given.arguments["filters"] = qdrant_filter(given.arguments["filters"])
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
