"""The clients of a store whose collection was seen to fit."""

from pathlib import Path

from haystack import logging
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient, QdrantClient

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
from rrra_haystack.qdrant.searching import SearchRequest

logger = logging.getLogger(__name__)


class CheckedCollection:
    """
    A store's collection: looked at with each client, compared with each search, and looked at again if they differ.

    It opens clients itself and only looks. A store with a client takes its collection as set up, so it gets to keep one
    only when the collection was seen.

    `vectors` are those that it saw last.
    """

    def __init__(self) -> None:
        self.seen_with: QdrantClient | AsyncQdrantClient | None = None
        self.vectors = Vectors()
        self._has_told = False

    def client(self, store: QdrantDocumentStore, request: SearchRequest) -> QdrantClient:
        """
        The store's synchronous client.

        :param store: The document store.
        :param request: What is to be asked of it.
        :raises ValueError: If the collection is missing, or does not fit what is asked.
        """
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

    async def async_client(self, store: QdrantDocumentStore, request: SearchRequest) -> AsyncQdrantClient:
        """As :meth:`client`, the asynchronous one."""

        async def check(client: AsyncQdrantClient) -> None:
            # Another task may have looked meanwhile.
            if client is not self.seen_with:
                self.vectors = await look_async(store, client)

        client = async_client_of(store)
        if client is None or client is not self.seen_with:
            client = self.seen_with = await checked_async_client(store, check)
        elif not self._fits(store, request):
            self.vectors = await look_async(store, client)
        self._check(store, request)
        return client

    def forget(self) -> None:
        """Look again at the next search."""
        self.seen_with = None

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
