"""Filters of Haystack, and what they find."""

from typing import Any

from haystack import Document


def leaf(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"field": f"meta.{field}", "operator": operator, "value": value}


def ids(found: list[Document]) -> list[str]:
    return sorted(document.id for document in found)
