"""Stores as a server needs them: one embedded Qdrant for many threads, and no request that is too large."""

from collections.abc import Iterable
from threading import RLock
from typing import Any

from haystack import Pipeline
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.components.retrievers.rrra import RRRARetriever
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.pipeline_files import stores_of
from rrra_haystack.qdrant.clients import is_embedded
from rrra_haystack.qdrant.document_store import bounded_in_writing, guarded


def take_turns(pipelines: Iterable[Pipeline]) -> None:
    """
    Let the threads that search and write an embedded Qdrant take turns: its collections are not made for both at once.

    Components get a store that does so in place of theirs. A store that is only searched is left alone, so that its
    searches run side by side.

    :param pipelines: Pipelines that share their stores.
    """
    users: dict[int, tuple[QdrantDocumentStore, list[tuple[Any, str]]]] = {}
    for part, name, store in stores_of(pipelines):
        # Threads take turns at an Edge store anyway.
        is_edge = isinstance(store, QdrantEdgeDocumentStore)
        if isinstance(store, QdrantDocumentStore) and is_embedded(store) and not is_edge:
            users.setdefault(id(store), (store, []))[1].append((part, name))
    for store, parts in users.values():
        searching = [part for part, _ in parts if isinstance(part, RRRARetriever)]
        if len(searching) == len(parts):
            continue
        # Reentrant: opening calls itself once, and a retriever in its turn calls a client that takes turns.
        lock = RLock()
        in_turn = guarded(store, lock)
        for part, name in parts:
            setattr(part, name, in_turn)
        # A retriever opens the client itself, and closes it again if it does not find its collection.
        for part in searching:
            part.take_turns(lock)


def bound_requests(pipelines: Iterable[Pipeline]) -> None:
    """
    Let what writes to a Qdrant server send no more at a time than it takes.

    :param pipelines: Their components get a store that does so in place of theirs.
    """
    for part, name, store in list(stores_of(pipelines)):
        if isinstance(store, QdrantDocumentStore) and not is_embedded(store) and not isinstance(part, RRRARetriever):
            setattr(part, name, bounded_in_writing(store))
