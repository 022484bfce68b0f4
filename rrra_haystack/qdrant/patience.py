"""Patience with a Qdrant server: try again what may pass, and say in one sentence what will not."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import grpc
import httpx
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

# Environment variable of a server's key, where a user names the server by its URL alone.
API_KEY = "QDRANT_API_KEY"

Result = TypeVar("Result")

_ATTEMPTS = 5
_LONGEST_WAIT = 4.0
_TRANSIENT_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_REFUSED_STATUS = frozenset({401, 403})
_REFUSED_GRPC = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_TRANSIENT_GRPC = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

# One thread at a time opens and checks a store's client: an embedded Qdrant that two open at once is open elsewhere for
# one of them, and a client whose check failed is closed, under whoever uses it.
_CHECKING: WeakKeyDictionary[QdrantDocumentStore, Lock] = WeakKeyDictionary()


def patiently(call: Callable[[], Result], place: str) -> Result:
    """
    Call a Qdrant server, up to five times with growing waits if it is away, busy or restarting.

    :param call: What is done; it may be done again.
    :param place: What to call the server in errors.
    :raises ConnectionError: If no server answers.
    :raises TimeoutError: If it does not answer in time.
    :raises PermissionError: If it refuses the API key.
    """
    try:
        return Retrying(**_policy())(call)
    except Exception as error:
        if (explained := _explained(error, place)) is error:
            raise
        raise explained from error


async def patiently_async(call: Callable[[], Awaitable[Result]], place: str) -> Result:
    """As :func:`patiently`, without blocking the event loop."""

    async def tried() -> Result:
        return await call()

    try:
        return await AsyncRetrying(**_policy())(tried)
    except Exception as error:
        if (explained := _explained(error, place)) is error:
            raise
        raise explained from error


def cause_of(error: BaseException) -> BaseException:
    """What went wrong in a component, out of the layers that Haystack wraps it in."""
    while type(error).__module__.startswith(("haystack.", "haystack_integrations.")) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _policy() -> dict[str, Any]:
    return {
        "retry": retry_if_exception(is_transient),
        "stop": stop_after_attempt(_ATTEMPTS),
        "wait": wait_random_exponential(multiplier=0.25, max=_LONGEST_WAIT),
        "reraise": True,
    }


def is_transient(error: BaseException) -> bool:
    """
    Whether the same request may succeed a little later.

    :param error: What a Qdrant client raised.
    """
    error = cause_of(error)
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_STATUS
    if isinstance(error, grpc.RpcError):
        return _code(error) in _TRANSIENT_GRPC
    return isinstance(error, ResourceExhaustedResponse)


def _explained(raised: Exception, place: str) -> Exception:
    error = cause_of(raised)
    source = error.source if isinstance(error, ResponseHandlingException) else error
    code = _code(error) if isinstance(error, grpc.RpcError) else None
    status = error.status_code if isinstance(error, UnexpectedResponse) else None
    if isinstance(source, httpx.TimeoutException) or code == grpc.StatusCode.DEADLINE_EXCEEDED:
        msg = (
            f"Qdrant at {place} did not answer in time, {_ATTEMPTS} times. Raise 'timeout' of the document store, or "
            "see what the server is busy with."
        )
        return TimeoutError(msg)
    if isinstance(source, httpx.TransportError) or code == grpc.StatusCode.UNAVAILABLE:
        msg = f"No Qdrant server answers at {place} ({source}). Start it, or correct the document store's 'url'."
        return ConnectionError(msg)
    if status in _REFUSED_STATUS or code in _REFUSED_GRPC:
        msg = (
            f"Qdrant at {place} refused the API key. Set the environment variable that 'api_key' of the document "
            "store names, as api_key: {type: env_var, env_vars: [QDRANT_API_KEY], strict: true}."
        )
        return PermissionError(msg)
    if status in _TRANSIENT_STATUS or isinstance(error, ResourceExhaustedResponse):
        what = status or "429"
        msg = f"Qdrant at {place} is not ready: it answered {what} {_ATTEMPTS} times. Try again later."
        return ConnectionError(msg)
    return raised


def _code(error: grpc.RpcError) -> grpc.StatusCode | None:
    # Errors of calls have a code; the class that both kinds of calls share does not say so.
    return error.code() if hasattr(error, "code") else None


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
