"""Patience with a Qdrant server: try again what may pass, and say in one sentence what will not."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rrra_haystack.errors import cause_of

Result = TypeVar("Result")
_ATTEMPTS = 5
_LONGEST_WAIT = 4.0
_TRANSIENT_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_REFUSED_STATUS = frozenset({401, 403})
_REFUSED_GRPC = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_TRANSIENT_GRPC = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


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
