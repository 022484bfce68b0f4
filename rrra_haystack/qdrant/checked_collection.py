"""The clients of a store whose collection was seen to fit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from haystack import logging
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from rrra_haystack.qdrant.clients import checked_async_client, checked_client, place_of
from rrra_haystack.qdrant.collections import (
    Vectors,
    check_dimension,
    check_multivector,
    look,
    look_async,
    missing,
)
from rrra_haystack.qdrant.document_store import async_client_of, client_of
from rrra_haystack.qdrant.patience import is_transient
from rrra_haystack.qdrant.searching import SearchRequest, arguments_of

logger = logging.getLogger(__name__)
Found = models.QueryResponse | models.GroupsResult


class CheckedCollection:
    """
    A store's collection: looked at with each client, compared with each search, and looked at again if they differ.

    It opens clients itself, and makes and changes nothing. A store with a client takes its collection as set up, so it
    gets to keep one only when the collection was seen.

    `vectors` are those that it saw last.
    """

    def __init__(self) -> None:
        # A retriever may be asked by both ways in turn.
        self.seen_with: QdrantClient | None = None
        self.seen_with_async: AsyncQdrantClient | None = None
        self.vectors = Vectors()
        self._has_told = False

    def search(self, store: QdrantDocumentStore, request: SearchRequest) -> tuple[QdrantClient, Vectors, Found]:
        """
        Search, and once more if the collection turns out to be another one than was seen.

        :param store: The document store.
        :param request: What is asked of it.
        :returns: The store's synchronous client, the vectors of the collection, and Qdrant's answer.
        :raises ValueError: If the collection is missing, or does not fit what is asked.
        """
        client = self._client(store, request)
        vectors = self.vectors
        ask = _asking(client, store, vectors, request)
        try:
            return client, vectors, ask()
        except Exception as error:
            if is_transient(error) or (seen := look(store, client)) == vectors:
                raise
        vectors = self._seen(store, request, seen)
        return client, vectors, _asking(client, store, vectors, request)()

    async def search_async(
        self, store: QdrantDocumentStore, request: SearchRequest
    ) -> tuple[AsyncQdrantClient, Vectors, Found]:
        """As :meth:`search`, with the asynchronous client."""
        client = await self._async_client(store, request)
        vectors = self.vectors
        ask = _asking(client, store, vectors, request)
        try:
            return client, vectors, await ask()
        except Exception as error:
            if is_transient(error) or (seen := await look_async(store, client)) == vectors:
                raise
        vectors = self._seen(store, request, seen)
        return client, vectors, await _asking(client, store, vectors, request)()

    def _client(self, store: QdrantDocumentStore, request: SearchRequest) -> QdrantClient:
        client = client_of(store)
        if client is None and store.path is not None and not Path(store.path).exists():
            raise missing(store)
        if client is None or client is not self.seen_with:
            with checked_client(store) as client:
                # Another thread may have looked meanwhile.
                if client is not self.seen_with:
                    self.vectors, self.seen_with = look(store, client), client
        elif not self._fits(store, request):
            # It may have been made anew.
            self.vectors = look(store, client)
        self._check(store, request)
        return client

    async def _async_client(self, store: QdrantDocumentStore, request: SearchRequest) -> AsyncQdrantClient:
        async def check(client: AsyncQdrantClient) -> None:
            # Another task may have looked meanwhile.
            if client is not self.seen_with_async:
                self.vectors = await look_async(store, client)

        client = async_client_of(store)
        if client is None or client is not self.seen_with_async:
            client = self.seen_with_async = await checked_async_client(store, check)
        elif not self._fits(store, request):
            self.vectors = await look_async(store, client)
        self._check(store, request)
        return client

    def forget(self) -> None:
        """Look again at the next search."""
        self.seen_with = self.seen_with_async = None

    def _seen(self, store: QdrantDocumentStore, request: SearchRequest, vectors: Vectors) -> Vectors:
        self.vectors = vectors
        self._check(store, request)
        return vectors

    def _fits(self, store: QdrantDocumentStore, request: SearchRequest) -> bool:
        try:
            self._check(store, request)
        except ValueError:
            return False
        return True

    def _check(self, store: QdrantDocumentStore, request: SearchRequest) -> None:
        check_dimension(store, self.vectors.dimension, len(request.embedding))
        if request.sparse_embedding is not None and not self.vectors.has_sparse and not self._has_told:
            self._has_told = True
            logger.warning(
                "The collection '{index}' at {place} has no sparse embeddings, so its documents are found by their "
                "meaning alone, and not by their words. Index them again into a new folder or collection for both.",
                index=store.index,
                place=place_of(store),
            )
        if request.multivector or request.return_codes:
            wanted = len(request.multivector[0]) if request.multivector else None
            check_multivector(store, self.vectors.multivector_dimension, wanted)


def _asking(client: Any, store: QdrantDocumentStore, vectors: Vectors, request: SearchRequest) -> Callable[[], Any]:
    search = client.query_points if request.group_by is None else client.query_points_groups
    return partial(search, **arguments_of(store, vectors, request))
