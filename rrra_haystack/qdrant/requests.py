"""How much goes to Qdrant at a time: a server refuses requests of more than 32 MB."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from haystack import Document

Item = TypeVar("Item")
MAX_REQUEST_BYTES = 16 * 2**20
# A number as JSON, with its comma: -1.2345678901234567e-05.
NUMBER_BYTES = 25
# What a point takes besides.
POINT_BYTES = 512
_COMMA = 2


def bounded(items: Iterable[Item], bytes_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """
    Items in requests of at most `MAX_REQUEST_BYTES`; what is larger by itself goes alone.

    :param items: What is sent.
    :param bytes_of: How many bytes one takes.
    """
    request: list[Item] = []
    size = 0
    for item in items:
        own = bytes_of(item) + _COMMA
        if request and size + own > MAX_REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(item)
        size += own
    if request:
        yield request


def json_bytes(value: Any) -> int:
    """
    The most bytes that a value takes as JSON.

    :param value: What JSON knows, and what has a text.
    """
    return len(json.dumps(value, default=str))


def document_bytes(document: Document) -> int:
    """
    The most bytes that a document takes as a point, its multivector aside.

    :param document: The document.
    """
    numbers = len(document.embedding or ())
    if document.sparse_embedding is not None:
        numbers += 2 * len(document.sparse_embedding.indices)
    blob = 0 if document.blob is None else 5 * len(document.blob.data)
    payload = {"id": document.id, "content": document.content, "meta": document.meta}
    return json_bytes(payload) + blob + NUMBER_BYTES * numbers + POINT_BYTES
