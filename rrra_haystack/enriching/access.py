"""The documents of any store, read and changed a page at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from haystack import Document
from haystack.document_stores.types import DocumentStore, DuplicatePolicy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

from rrra_haystack.documents.metadata import CODES_KEY, meta_of
from rrra_haystack.documents.same_values import are_same_values
from rrra_haystack.qdrant.clients import checked_client, place_of
from rrra_haystack.qdrant.collections import missing
from rrra_haystack.qdrant.patience import patiently
from rrra_haystack.qdrant.payloads import as_haystacks
from rrra_haystack.qdrant.requests import bounded, document_bytes, json_bytes

Result = TypeVar("Result")


class Access(Protocol):
    """How documents are read and codes are written."""

    def count(self) -> int:
        """Documents of the store."""

    def pages(self, size: int) -> Iterator[list[Document]]:
        """All documents, so many at a time; what is written to a page does not disturb the next."""

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        """Give documents their codes."""


class QdrantAccess:
    """Qdrant: pages of payloads, and the codes alone are written, so that no vector is moved."""

    def __init__(self, store: QdrantDocumentStore, content_field: str) -> None:
        self._index = store.index
        self._content_field = content_field
        self._place = place_of(store)
        with checked_client(store) as self._client:
            if not self._try(lambda: self._client.collection_exists(self._index)):
                raise missing(store, self._try(self._client.get_collections))

    def _try(self, call: Callable[[], Result]) -> Result:
        return patiently(call, self._place)

    def count(self) -> int:
        """The number of documents."""
        return self._try(lambda: self._client.count(self._index, exact=True).count)

    def pages(self, size: int) -> Iterator[list[Document]]:
        """All documents, so many at a time."""
        offset = None
        while True:
            records, offset = self._try(partial(self._client.scroll, self._index, limit=size, offset=offset))
            _check_payloads(records, self._content_field)
            # A document is named by its point here, which is what is written to.
            yield [_document(record, self._content_field) for record in records]
            if offset is None:
                return

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        """Give documents their codes."""
        operations: list[Any] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload={CODES_KEY: code}, points=[_point(one.id)], key="meta")
            )
            for one, code in zip(documents, codes, strict=True)
        ]
        for some in bounded(operations, lambda one: json_bytes(one.model_dump())):
            self._try(partial(self._client.batch_update_points, self._index, some, wait=True))


def _check_payloads(records: Sequence[models.Record], content_field: str) -> None:
    """
    Say what a collection is in which nothing is where the text should be, or something where the codes go.

    Haystack's have `content`, if empty.
    """
    payloads = [record.payload or {} for record in records]
    keys = sorted({key for payload in payloads for key in payload})
    if keys and content_field not in keys:
        msg = (
            f"The documents of this collection have no '{content_field}'; what they have is {', '.join(keys)}. If one "
            "of these holds the text, name it: --content-field NAME, content_field='NAME' in Python and of "
            "RRRARetriever."
        )
        raise ValueError(msg)
    for record, payload in zip(records, payloads, strict=True):
        # Qdrant would put a new object in the place of anything else.
        if not isinstance(there := payload.get("meta"), dict | None):
            msg = (
                f"Point {record.id} has a '{type(there).__name__}' in its field 'meta', and the codes can be added to "
                "an object alone. Give that field another name, or index the texts into a new collection."
            )
            raise ValueError(msg)


def _document(record: models.Record, content_field: str) -> Document:
    payload = as_haystacks(record.payload, content_field)
    return Document(id=str(record.id), content=payload.get("content"), meta=dict(payload.get("meta") or {}))


def _point(identifier: str) -> models.ExtendedPointId:
    return int(identifier) if identifier.isdigit() else identifier


class AnyStoreAccess:
    """Any other store: all documents at once, written back whole. What is read again must be as it was before."""

    def __init__(self, store: DocumentStore, without_embeddings: bool) -> None:
        self._store = store
        self._without_embeddings = without_embeddings
        self._before: dict[str, Document] = {}

    def count(self) -> int:
        """The number of documents."""
        return self._store.count_documents()

    def pages(self, size: int) -> Iterator[list[Document]]:
        """All documents, so many at a time."""
        documents = self._store.filter_documents()
        if len(documents) != (total := self.count()):
            msg = (
                f"{type(self._store).__name__} gave {len(documents)} of its {total} documents, so the others would "
                "have no codes. Index them again with RRRADocumentEmbedder."
            )
            raise ValueError(msg)
        if documents and not self._without_embeddings and all(one.embedding is None for one in documents):
            msg = (
                f"{type(self._store).__name__} gave all documents without embeddings, and writing them back would "
                "lose those. If the store has a setting to return embeddings, switch it on; if its documents have "
                "none, say so with without_embeddings=True (--without-embeddings)."
            )
            raise ValueError(msg)
        changed = [one.id for one in documents if self._before and not _is_same(one, self._before.get(one.id))]
        if changed:
            msg = f"Document {changed[0]} is not as it was before, its codes aside. Was the store written to meanwhile?"
            raise ValueError(msg)
        self._before = {one.id: one for one in documents}
        for begin in range(0, len(documents), size):
            yield documents[begin : begin + size]

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        """Give documents their codes."""
        coded = [
            replace(one, meta={**meta_of(one), CODES_KEY: code}) for one, code in zip(documents, codes, strict=True)
        ]
        for some in bounded(coded, document_bytes):
            self._store.write_documents(some, policy=DuplicatePolicy.OVERWRITE)


def _is_same(one: Document, other: Document | None) -> bool:
    """Whether documents differ in nothing but codes, and in numbers by no more than stores round them."""
    if other is None or one.content != other.content or (one.embedding is None) != (other.embedding is None):
        return False
    meta, before = ({key: value for key, value in meta_of(own).items() if key != CODES_KEY} for own in (one, other))
    return are_same_values(meta, before) and np.allclose(one.embedding or (), other.embedding or (), atol=1e-4)
