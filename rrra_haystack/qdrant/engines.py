"""Which engine filled the folder of an embedded Qdrant, and with which vectors, without opening it."""

from pathlib import Path
from typing import Any, Literal, get_args

from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge.configs import collection_params
from haystack_integrations.document_stores.qdrant_edge.folders import LOCAL_MODE, is_edge_folder, is_local_folder
from haystack_integrations.document_stores.qdrant_edge.shards import Shards
from rrra_haystack.files import read_json
from rrra_haystack.qdrant.collections import Vectors, vectors_of

Engine = Literal["local", "edge"]
_MEND = "Bring the folder back from a copy, or index into a new one."


def checked(engine: str | None) -> Engine | None:
    """
    An engine as a user names it.

    :param engine: Its name, or none.
    :raises ValueError: If there is no engine of that name.
    """
    if engine is not None and engine not in get_args(Engine):
        msg = f"Unknown engine {engine!r}; the engines of a folder are {' and '.join(get_args(Engine))}."
        raise ValueError(msg)
    known: Any = engine
    return known


def engine_of(path: str | Path) -> Engine | None:
    """
    The engine of a folder: local mode of Qdrant's client, or Qdrant Edge; `None` if neither has filled it.

    :param path: The folder; it need not be there.
    """
    if is_edge_folder(path):
        return "edge"
    return "local" if is_local_folder(path) else None


def vectors_in(path: str | Path, index: str) -> Vectors | None:
    """
    The vectors of a collection in a folder; `None` if the folder has no such collection.

    :param path: The folder; it need not be there.
    :param index: The collection.
    :raises ValueError: If what the engine wrote of the collection is damaged.
    """
    if is_edge_folder(path):
        shards = Shards(str(path))
        return vectors_of(collection_params(shards.config(index))) if index in shards.names() else None
    if not is_local_folder(path):
        return None
    described = read_json(Path(path) / LOCAL_MODE, _MEND)["collections"].get(index)
    if described is None:
        return None
    vectors, sparse = described.get("vectors"), described.get("sparse_vectors")
    return vectors_of(models.CollectionParams(vectors=vectors, sparse_vectors=sparse))
