"""What QdrantDocumentStore has no public name for; nothing else of this package reaches into one."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from functools import wraps
from typing import Any

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.qdrant.requests import bounded, document_bytes

# What a store writes into a payload.
_WRITTEN = {"id", "content", "blob", "meta", "score"}


def client_of(store: QdrantDocumentStore) -> QdrantClient | None:
    """
    The synchronous client of a store, if it has one.

    :param store: The document store.
    """
    return store._client


def async_client_of(store: QdrantDocumentStore) -> AsyncQdrantClient | None:
    """
    The asynchronous client of a store, if it has one.

    :param store: The document store.
    """
    return store._async_client


def new_client(store: QdrantDocumentStore) -> QdrantClient:
    """
    Give a store a synchronous client, and leave its collection as it is.

    :param store: The document store.
    """
    if isinstance(store, QdrantEdgeDocumentStore):
        client: Any = store.new_client()
    else:
        client = QdrantClient(**store._prepare_client_params())
    store._client = client
    return client


def new_async_client(store: QdrantDocumentStore) -> AsyncQdrantClient:
    """
    An asynchronous client like the one that a store would open; the store does not get it.

    :param store: The document store.
    """
    return AsyncQdrantClient(**store._prepare_client_params())


def keep_async_client(store: QdrantDocumentStore, client: AsyncQdrantClient) -> None:
    """
    Give a store the asynchronous client that it works with.

    :param store: The document store.
    :param client: Its client; the store takes the collection as set up.
    """
    store._async_client = client


def vectors_config(
    store: QdrantDocumentStore,
) -> tuple[models.VectorParams | dict[str, models.VectorParams], dict[str, models.SparseVectorParams] | None]:
    """
    The dense and the sparse vectors of the collection that a store would make.

    :param store: The document store.
    """
    return store._prepare_collection_config(
        store.embedding_dim, store.get_distance(store.similarity), sparse_idf=store.sparse_idf
    )


def collection_params(store: QdrantDocumentStore) -> dict[str, Any]:
    """
    The other arguments with which a store would make its collection.

    :param store: The document store.
    """
    return store._prepare_collection_params()


def without_duplicates(
    store: QdrantDocumentStore, documents: Sequence[Document], policy: DuplicatePolicy
) -> list[Document]:
    """
    The documents that a store would write under a policy.

    :param store: The document store.
    :param documents: The documents.
    :param policy: What to do with those that are there already.
    :raises DuplicateDocumentError: If one is there already, and the policy is to fail.
    """
    return store._handle_duplicate_documents(list(documents), policy)


def documents_of_points(
    store: QdrantDocumentStore, points: Sequence[models.ScoredPoint], *, has_names: bool, scale_score: bool = False
) -> list[Document]:
    """
    The documents that a store makes of what Qdrant found.

    :param store: The document store.
    :param points: What Qdrant found.
    :param has_names: Whether the vectors of its collection have names, whatever the store thinks.
    :param scale_score: Bring the scores between 0 and 1.
    """
    if not scale_score and all(_is_plain(point) for point in points):
        payloads = [(point.payload or {}, point.score) for point in points]
        return [
            Document(id=payload["id"], content=payload["content"], meta=payload["meta"] or {}, score=score)
            for payload, score in payloads
        ]
    if has_names != store.use_sparse_embeddings:
        store = copy(store)
        store.use_sparse_embeddings = has_names
    return store._process_query_point_results(list(points), scale_score=scale_score)


def _is_plain(point: models.ScoredPoint) -> bool:
    """Whether a point is a text that a store wrote, without vectors: of those a document is made in half the time."""
    payload = point.payload or {}
    return payload.keys() == _WRITTEN and payload["blob"] is None and point.vector is None


def guarded(store: QdrantDocumentStore, lock: AbstractContextManager[Any]) -> QdrantDocumentStore:
    """
    A document store over the same Qdrant for several threads, which take turns.

    It takes over what the given store has open; that one is not to be used any longer.

    :param store: The document store.
    :param lock: Held while a client is opened, and during each call of one; reentrant.
    """
    result = _StoreInTurn(**_options_of(store))
    result.turn = lock
    result._client, store._client = store._client, None
    result._async_client, store._async_client = store._async_client, None
    return result


def bounded_in_writing(store: QdrantDocumentStore) -> QdrantDocumentStore:
    """
    A document store over the same Qdrant that writes no more at a time than a server takes.

    :param store: The document store; what it has open stays its own.
    """
    return _BoundedStore(**_options_of(store))


def _options_of(store: QdrantDocumentStore) -> dict[str, Any]:
    return {name: getattr(store, name) for name in inspect.signature(QdrantDocumentStore).parameters}


class _BoundedStore(QdrantDocumentStore):
    """A store that writes by bytes where the other writes by number."""

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.FAIL) -> int:
        write = super().write_documents
        return sum(write(some, policy) for some in bounded(documents, document_bytes))


class _StoreInTurn(QdrantDocumentStore):
    """A store that waits for its turn to open its client, and whose client waits at each call."""

    turn: AbstractContextManager[Any]

    @property
    def _client(self) -> Any:
        return self._client_in_turn

    @_client.setter
    def _client(self, client: QdrantClient | None) -> None:
        self._client_in_turn = None if client is None else _ClientInTurn(client, self.turn)

    def _initialize_client(self) -> None:
        with self.turn:
            super()._initialize_client()


class _ClientInTurn:
    """A client of which one thread at a time calls a method."""

    def __init__(self, client: Any, turn: AbstractContextManager[Any]) -> None:
        self._client = client
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # A copy is asked for such before it has a client.
            raise AttributeError(name)
        found = getattr(self._client, name)
        return _in_turn(found, self._turn) if callable(found) else found


def _in_turn(call: Callable[..., Any], turn: AbstractContextManager[Any]) -> Callable[..., Any]:
    @wraps(call)
    def wait_and_call(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return call(*args, **kwargs)

    return wait_and_call
