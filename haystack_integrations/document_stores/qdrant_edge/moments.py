"""Dates that filters compare with, as moments."""

import re
from datetime import UTC, date, datetime, time
from typing import Any

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

# What begins otherwise, as a year or a number of eight digits, Haystack takes for no date where it looks for equals.
_DAY = re.compile(r"\d{4}-\d\d-\d\d([Tt ]|$)")


def moment_of(value: Any) -> datetime:
    """
    The moment that a date names; one without an offset is of UTC, as Qdrant reads it.

    :param value: A date, or its text as ISO 8601 has it.
    :raises ValueError: If it is none.
    :raises TypeError: If it is neither a date nor a text.
    """
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    else:
        moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def equal_moment(value: Any) -> datetime | None:
    """
    The same, or `None` where Haystack takes a value for no date.

    :param value: Any value of a filter.
    """
    if not isinstance(value, date) and not (isinstance(value, str) and _DAY.match(value)):
        return None
    try:
        return moment_of(value)
    except ValueError:
        return None


def compared_as_texts(store: QdrantDocumentStore) -> frozenset[str]:
    """
    Fields in which a filter looks for texts of dates as they are spelt.

    Their index of texts knows no moments: beside it, the engine would read the payload of every document.

    :param store: The document store, which says what it has indexed.
    """
    schemas = {one["field_name"]: one["field_schema"] for one in store.payload_fields_to_index or ()}
    kinds = {
        name: own.get("type") if isinstance(own, dict) else getattr(own, "type", own) for name, own in schemas.items()
    }
    return frozenset(name for name, kind in kinds.items() if kind == models.PayloadSchemaType.KEYWORD)
