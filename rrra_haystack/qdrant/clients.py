"""Opens the Qdrant of a document store, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from weakref import WeakKeyDictionary

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient

# Environment variable of a server's key, where a user names the server by its URL alone.
API_KEY = "QDRANT_API_KEY"
# One thread at a time opens and checks a store's client: an embedded Qdrant that two open at once is open elsewhere for
# one of them, and a client whose check failed is closed, under whoever uses it.
_CHECKING: WeakKeyDictionary[QdrantDocumentStore, Lock] = WeakKeyDictionary()


def is_embedded(store: QdrantDocumentStore) -> bool:
    """
    Whether a store's Qdrant runs within this process, over a folder or in memory, rather than as a server.

    :param store: The document store.
    """
    return store.path is not None or store.location == ":memory:"


def place_of(store: QdrantDocumentStore) -> str:
    """
    What to call the Qdrant of a store in errors: its folder, or its server's address.

    :param store: The document store.
    """
    return str(store.path or store.url or store.location or f"{store.host or 'localhost'}:{store.port}")


def open_client(store: QdrantDocumentStore) -> QdrantClient:
    """
    The store's synchronous client, opened without the store's own initialization.

    That would create a missing collection and, with `recreate_index`, empty a full one.

    :param store: The document store.
    :raises ValueError: If its folder is open elsewhere.
    """
    if store._client is None:  # noqa: SLF001
        try:
            store._client = QdrantClient(**store._prepare_client_params())  # noqa: SLF001
        except RuntimeError as error:
            if "already accessed" not in str(error):
                raise
            msg = (
                f"The Qdrant folder {store.path} is open in another document store or process. Close that one "
                "first (document_store.close()), or run a Qdrant server and give its url."
            )
            raise ValueError(msg) from error
    return store._client  # noqa: SLF001


@contextmanager
def checked_client(store: QdrantDocumentStore) -> Iterator[QdrantClient]:
    """
    The same client for a block that checks the collection; closed if the block opened it and failed.

    A store with an open client takes its collection as set up, and would then write to one that is missing. Other
    threads wait with their blocks over the same store.

    :param store: The document store.
    :raises ValueError: If its folder is open elsewhere.
    """
    with _CHECKING.setdefault(store, Lock()):
        was_open = store._client is not None  # noqa: SLF001
        try:
            yield open_client(store)
        except BaseException:
            if not was_open:
                store.close()
            raise
