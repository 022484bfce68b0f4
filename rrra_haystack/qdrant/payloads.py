"""Payloads of collections that other libraries filled, as Haystack's stores write them."""

from collections.abc import Mapping
from typing import Any

CONTENT_FIELD = "content"
# Where libraries keep the metadata; Haystack's first, for a payload of its own has no other.
_META_FIELDS = ("meta", "metadata")


def as_haystacks(payload: Mapping[str, Any] | None, content_field: str) -> dict[str, Any]:
    """
    A payload with the text in ``content`` and all else in ``meta``.

    :param payload: The payload of a point.
    :param content_field: Where its text is; a payload of Haystack's is left as it is.
    """
    if content_field == CONTENT_FIELD:
        return dict(payload or {})
    told = dict(payload or {})
    text = told.pop(content_field, None)
    for field in _META_FIELDS:
        if isinstance(told.get(field), dict):
            told |= told.pop(field)
    return {"content": text if isinstance(text, str) else None, "meta": told}
