"""Opens the Qdrant of a document store, once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from weakref import WeakKeyDictionary

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.explaining import HeldError
from rrra_haystack.qdrant.document_store import (
    async_client_of,
    client_of,
    keep_async_client,
    new_async_client,
    new_client,
)

# Environment variable of a server's key, where a user names the server by its URL alone.
API_KEY = "QDRANT_API_KEY"
# One thread at a time opens and checks a store's client: an embedded Qdrant that two open at once is open elsewhere for
# one of them, and a client whose check failed is closed, under whoever uses it.
_CHECKING: WeakKeyDictionary[QdrantDocumentStore, Lock] = WeakKeyDictionary()
# The same for the tasks of an event loop; a lock of theirs belongs to one loop.
_TasksLocks = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
_CHECKING_ASYNC: WeakKeyDictionary[QdrantDocumentStore, _TasksLocks] = WeakKeyDictionary()


def is_embedded(store: QdrantDocumentStore) -> bool:
    """
    Whether a store's Qdrant runs within this process, over a folder or in memory, rather than as a server.

    :param store: The document store.
    """
    return store.path is not None or store.location == ":memory:"


def has_payload_indexes(store: QdrantDocumentStore) -> bool:
    """
    Whether a store's Qdrant can index fields of the payload: local mode of Qdrant's client cannot, and would warn.

    :param store: The document store.
    """
    return isinstance(store, QdrantEdgeDocumentStore) or not is_embedded(store)


def place_of(store: QdrantDocumentStore) -> str:
    """
    What to call the Qdrant of a store in errors: its folder, or its server's address.

    :param store: The document store.
    """
    return str(store.path or store.url or store.location or f"{store.host or 'localhost'}:{store.port}")


def is_open_elsewhere(error: BaseException) -> bool:
    """
    Whether the folder of an embedded Qdrant is open in another store or process.

    :param error: What a store raised.
    """
    # Local mode of Qdrant's client has no class of errors for it.
    return isinstance(error, HeldError) or (isinstance(error, RuntimeError) and "already accessed" in str(error))


def open_client(store: QdrantDocumentStore) -> QdrantClient:
    """
    The store's synchronous client, opened without the store's own initialization.

    That would create a missing collection and, with `recreate_index`, empty a full one.

    :param store: The document store.
    :raises HeldError: If its folder is open elsewhere.
    """
    held = client_of(store)
    if held is not None:
        return held
    try:
        return new_client(store)
    except RuntimeError as error:
        if not is_open_elsewhere(error):
            raise
        msg = (
            f"The Qdrant folder {store.path} is open in another document store or process. Close that one "
            "first (document_store.close()), or run a Qdrant server and give its url."
        )
        raise HeldError(msg) from error


@contextmanager
def checked_client(store: QdrantDocumentStore) -> Iterator[QdrantClient]:
    """
    The same client for a block that checks the collection; closed if the block opened it and failed.

    A store with an open client takes its collection as set up, and would then write to one that is missing. Other
    threads wait with their blocks over the same store.

    :param store: The document store.
    :raises HeldError: If its folder is open elsewhere.
    """
    with _CHECKING.setdefault(store, Lock()):
        was_open = client_of(store) is not None
        try:
            yield open_client(store)
        except BaseException:
            if not was_open:
                store.close()
            raise


async def checked_async_client(
    store: QdrantDocumentStore, check: Callable[[AsyncQdrantClient], Awaitable[None]]
) -> AsyncQdrantClient:
    """
    The store's asynchronous client, once a check of the collection has passed; closed if it was opened and failed.

    Other tasks wait with their checks over the same store.

    :param store: The document store; it gets a new client after the check, since tasks that write do not wait.
    :param check: Looks at the collection, and raises what is wrong.
    """
    locks = _CHECKING_ASYNC.setdefault(store, WeakKeyDictionary())
    async with locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        held = async_client_of(store)
        client = new_async_client(store) if held is None else held
        try:
            await check(client)
        except BaseException:
            if held is None:
                await client.close()
            raise
        if held is None:
            # A task that writes may have been faster.
            faster = async_client_of(store)
            if faster is not None:
                await client.close()
                return faster
            keep_async_client(store, client)
        return client
