"""Lets a pipeline, as a dictionary, take the Qdrants of its stores as they are."""

import inspect
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, partial
from typing import Any

from haystack import logging
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.files import with_home
from rrra_haystack.qdrant.clients import checked_client, place_of
from rrra_haystack.qdrant.collections import Vectors, vectors_of
from rrra_haystack.qdrant.engines import Engine, engine_of, vectors_in
from rrra_haystack.qdrant.patience import patiently

logger = logging.getLogger(__name__)
# What the stores take if a pipeline names no collection.
DEFAULT_INDEX = "Document"
_QDRANT = "haystack_integrations.document_stores.qdrant.document_store.QdrantDocumentStore"
_EDGE = "haystack_integrations.document_stores.qdrant_edge.document_store.QdrantEdgeDocumentStore"
_TYPES = {"local": _QDRANT, "edge": _EDGE}
_EMBEDDER = ".RRRADocumentEmbedder"


def fit_to_folders(data: dict[str, Any], engine: Engine | None = None) -> None:
    """
    Let a pipeline take the folders of its stores as they are: of their engine, and with the vectors that they have.

    :param data: The pipeline, as a dictionary; it is changed.
    :param engine: Engine of new folders; that which the pipeline names if `None`.
    :raises ValueError: If a folder is of the other engine.
    """
    for described in described_stores(data):
        _choose_engine(described, engine)
        parameters = described["init_parameters"]
        if parameters.get("path") is not None:
            fit_to_vectors(data, parameters, vectors_in(parameters["path"], parameters.get("index", DEFAULT_INDEX)))


def fit_to_servers(data: dict[str, Any]) -> None:
    """
    Let a pipeline that writes to Qdrant servers take the collections that are there as they are.

    :param data: The pipeline, as a dictionary; it is changed.
    :raises OSError: If a server is away, too slow, or refuses the key.
    """
    for described in described_stores(data):
        parameters = described["init_parameters"]
        if parameters.get("path") is None:
            fit_to_vectors(data, parameters, _vectors_at(QdrantDocumentStore.from_dict(deepcopy(described))))


def _vectors_at(store: QdrantDocumentStore) -> Vectors | None:
    place = place_of(store)
    try:
        with checked_client(store) as client:
            if not patiently(partial(client.collection_exists, store.index), place):
                return None
            return vectors_of(patiently(partial(client.get_collection, store.index), place).config.params)
    finally:
        store.close()


def fit_to_vectors(data: dict[str, Any], parameters: dict[str, Any], vectors: Vectors | None) -> None:
    """
    Let a pipeline write only what a collection can hold, and call its vectors as it does.

    :param data: The pipeline, as a dictionary; it is changed.
    :param parameters: The init parameters of a document store in it; they are changed.
    :param vectors: The vectors of the store's collection; `None` if it is to be made.
    """
    if vectors is None:
        return
    parameters["use_sparse_embeddings"] = vectors.has_names
    if vectors.has_sparse:
        return
    parameters.pop("sparse_idf", None)
    making = [one for one in document_embedders(data) if one.get("init_parameters", {}).get("sparse")]
    for embedder in making:
        embedder["init_parameters"]["sparse"] = False
    if making:
        logger.warning(
            "The collection '{index}' at {place} has no sparse embeddings, so what is written to it gets none, and is "
            "found by its meaning alone. Index into a new folder or collection for both.",
            index=parameters.get("index", DEFAULT_INDEX),
            place=parameters.get("path") or parameters.get("url") or parameters.get("host"),
        )


def document_embedders(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The components of a pipeline that embed documents, to be read or changed."""
    return [one for one in data["components"].values() if str(one.get("type")).endswith(_EMBEDDER)]


def described_stores(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each Qdrant document store in a pipeline with its type, to be read or changed."""
    for component in data["components"].values():
        store = component.get("init_parameters", {}).get("document_store")
        if isinstance(store, dict) and store.get("type") in _TYPES.values():
            yield store


def _choose_engine(described: dict[str, Any], engine: Engine | None) -> None:
    """Let a store be of the class that can open its folder, or its server."""
    parameters = described["init_parameters"]
    path = parameters.get("path")
    if path is None:
        if engine is not None:
            msg = "An engine is chosen for a folder of an embedded Qdrant; a server has its own. Leave it out."
            raise ValueError(msg)
        described["type"] = _QDRANT
        return
    path = parameters["path"] = with_home(str(path))
    there = engine_of(path)
    if engine is not None and there not in (None, engine):
        names = {"local": "local mode of Qdrant's client", "edge": "Qdrant Edge"}
        msg = (
            f"The folder {path} is one of {names[there]}, not of {names[engine]}. Name another folder, or copy what it "
            f"holds: rrra copy {path} NEW_FOLDER --engine {engine}."
        )
        raise ValueError(msg)
    chosen = there or engine
    if chosen == "local" and described["type"] == _EDGE:
        # Threads of a pipeline use it, one after the other.
        parameters["force_disable_check_same_thread"] = True
        if engine is None:
            _offer_copy(path)
    if chosen is not None:
        described["type"] = _TYPES[chosen]
    if described["type"] == _EDGE:
        known = inspect.signature(QdrantEdgeDocumentStore).parameters
        described["init_parameters"] = {name: value for name, value in parameters.items() if name in known}


@cache
def _offer_copy(path: str) -> None:
    """Say once of a folder that there is a better engine now."""
    new = f"{path.rstrip('/')}-edge"
    logger.warning(
        "The folder {path} is one of local mode of Qdrant's client, which compares a question with every passage and "
        "keeps all in memory. Copy it into Qdrant Edge, and name the copy with --store: rrra copy {path} {new}",
        path=path,
        new=new,
    )
