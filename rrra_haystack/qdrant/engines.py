"""Which engine filled the folder of an embedded Qdrant."""

from pathlib import Path
from typing import Any, Literal, get_args

from haystack_integrations.document_stores.qdrant_edge.shards import is_edge_folder, is_local_folder

Engine = Literal["local", "edge"]


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
