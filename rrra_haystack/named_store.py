"""Opens the store that a command names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haystack.core.errors import DeserializationError
from haystack.core.serialization import import_class_by_name
from haystack.document_stores.types import DocumentStore
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.files import read_yaml, with_home
from rrra_haystack.qdrant.clients import API_KEY
from rrra_haystack.qdrant.engines import Engine, engine_of


def open_store(store: str, index: str) -> DocumentStore:
    """
    A document store, as a user names it on the command line.

    :param store: Folder or URL of a Qdrant, or a YAML file: a document store with its ``type`` and
        ``init_parameters``, or a pipeline that has one.
    :param index: Collection of the Qdrant; a YAML file names its own.
    :raises FileNotFoundError: If there is no such file or folder.
    :raises ValueError: If the file does not hold one document store, or `store` is empty.
    """
    store = named_place(store)
    if "://" in store:
        return QdrantDocumentStore(url=store, index=index, api_key=Secret.from_env_var(API_KEY, strict=False))
    path = Path(store)
    if not path.exists():
        msg = f"There is no file or folder {store}. Name a Qdrant folder or URL, or a YAML file with a document store."
        raise FileNotFoundError(msg)
    if path.is_dir():
        engine = engine_of(path)
        if engine is None:
            msg = f"{store} is no folder of an embedded Qdrant: neither local mode nor Qdrant Edge has filled it."
            raise FileNotFoundError(msg)
        return store_of_folder(store, index, engine)
    return _store_from_yaml(path)


@contextmanager
def closed_after(store: Any) -> Iterator[Any]:
    """
    A document store for a time; not all of them can be closed.

    :param store: The store.
    """
    try:
        yield store
    finally:
        if hasattr(store, "close"):
            store.close()


def named_place(store: str) -> str:
    """
    The place of a store, as a user names it.

    :param store: A URL, or a path; ``~`` is the home folder.
    :raises ValueError: If it is empty, as a variable is that nobody set.
    """
    if not store:
        msg = "The store has an empty name. Name a folder or URL of a Qdrant."
        raise ValueError(msg)
    return with_home(store)


def store_of_folder(path: str, index: str, engine: Engine) -> QdrantDocumentStore:
    """
    The store of a folder of an embedded Qdrant; a new one is made with the first use.

    :param path: The folder.
    :param index: The collection.
    :param engine: The engine.
    """
    if engine == "edge":
        return QdrantEdgeDocumentStore(path, index=index, progress_bar=False)
    return QdrantDocumentStore(path=path, index=index, force_disable_check_same_thread=True)


def _store_from_yaml(path: Path) -> DocumentStore:
    held = read_yaml(path)
    found: list[dict[str, Any]] = []
    if isinstance(held, dict) and isinstance(held.get("type"), str):
        found = [held]
    elif isinstance(held, dict) and isinstance(held.get("components"), dict):
        parameters = [one.get("init_parameters") or {} for one in held["components"].values()]
        stores = [own["document_store"] for own in parameters if isinstance(own.get("document_store"), dict)]
        found = [one for number, one in enumerate(stores) if one not in stores[:number]]
    if len(found) != 1:
        msg = (
            f"{path} holds {len(found)} document stores where one is expected: the keys 'type' and 'init_parameters' "
            "of a document store, or a pipeline that has one."
        )
        raise ValueError(msg)
    (described,) = found
    complete = {"type": described["type"], "init_parameters": described.get("init_parameters") or {}}
    try:
        cls: Any = import_class_by_name(described["type"])
        return cls.from_dict(complete)
    except (ImportError, TypeError, DeserializationError) as error:
        msg = f"{path}: the document store {described['type']} cannot be made: {' '.join(str(error).split())}"
        raise ValueError(msg) from None
