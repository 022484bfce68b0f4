"""One embedded Qdrant for many threads."""

from collections.abc import Callable, Iterable
from functools import wraps
from threading import RLock
from typing import Any, cast

from haystack import Pipeline
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.components.retrievers.rrra import RRRARetriever
from rrra_haystack.pipeline_files import stores_of
from rrra_haystack.qdrant.clients import is_embedded


def take_turns(pipelines: Iterable[Pipeline]) -> None:
    """
    Let the threads that search and write an embedded Qdrant take turns: its collections are not made for both at once.

    A store that is only searched is left alone, so that its searches run side by side.

    :param pipelines: Pipelines that share their stores.
    """
    users: dict[int, tuple[QdrantDocumentStore, list[Any]]] = {}
    for part, _, store in stores_of(pipelines):
        if isinstance(store, QdrantDocumentStore) and is_embedded(store):
            users.setdefault(id(store), (store, []))[1].append(part)
    for store, parts in users.values():
        searching = [part for part in parts if isinstance(part, RRRARetriever)]
        if len(searching) == len(parts):
            continue
        # Reentrant: opening calls itself once, and a retriever in its turn calls a client that takes turns.
        turn = RLock()
        vars(store)["_initialize_client"] = _opening_in_turn(store, turn)
        # A retriever opens the client itself, and closes it again if it does not find its collection.
        for part in searching:
            vars(part)["run"] = _in_turn(part.run, turn)


class _InTurn:
    """A client of an embedded Qdrant that one thread at a time uses."""

    def __init__(self, client: Any, turn: RLock) -> None:
        self._client = client
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return _in_turn(found, self._turn) if callable(found) else found


def _in_turn(call: Callable[..., Any], turn: RLock) -> Callable[..., Any]:
    @wraps(call)
    def wait_and_call(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return call(*args, **kwargs)

    return wait_and_call


def _opening_in_turn(store: QdrantDocumentStore, turn: RLock) -> Callable[[], None]:
    """What the store calls before it uses its client; each batch that it writes is then a turn of its own."""
    initialize = store._initialize_client  # noqa: SLF001

    def open_client() -> None:
        with turn:
            initialize()
            if not isinstance(store._client, _InTurn):  # noqa: SLF001
                store._client = cast("Any", _InTurn(store._client, turn))  # noqa: SLF001

    return open_client
