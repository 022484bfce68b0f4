"""Load a pipeline YAML, point it at a store, and ask it a question whatever its components are called."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haystack import Pipeline
from haystack.utils import Secret

from rrra_haystack.files import read_yaml
from rrra_haystack.fitting import DEFAULT_INDEX, described_stores, document_embedders, fit_to_folders
from rrra_haystack.named_store import named_place
from rrra_haystack.qdrant.clients import API_KEY
from rrra_haystack.qdrant.engines import Engine
from rrra_haystack.resources import resource_directory

_QUESTION_SOCKETS = frozenset({"text", "query", "question"})
_MANIFEST = "rrra-index.json"
# Control characters, and those without a width.
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})


def read_pipeline(pipeline: Path | None, name: str, store: str | None, engine: Engine | None = None) -> dict[str, Any]:
    """
    Read a pipeline YAML.

    :param pipeline: The user's file; the bundled one called `name` if `None`.
    :param name: File name of the bundled pipeline.
    :param store: Folder or URL of the Qdrant to use instead of the one that the YAML names. The key of a server is
        read from the environment variable ``QDRANT_API_KEY`` unless the YAML names another.
    :param engine: Engine of the folder: ``local`` mode of Qdrant's client, or ``edge``. If `None`, that of which the
        folder is, and that which the YAML names for a new one.
    :raises ValueError: If the file is not a pipeline, `store` is empty or a file, or the folder is of the other engine.
    """
    if store is not None:
        store = named_place(store)
        if Path(store).is_file():
            msg = f"The store {store} is a file. Name a folder for an embedded Qdrant, or the URL of a server."
            raise ValueError(msg)
    path = pipeline or resource_directory("pipelines") / name
    data = read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("components"), dict):
        msg = f"{path} is not a Haystack pipeline: it has no 'components'."
        raise ValueError(msg)
    if store is not None:
        for parameters in store_parameters(data):
            for place in ("path", "url", "host", "location"):
                parameters.pop(place, None)
            if "://" in store:
                parameters["url"] = store
                if parameters.get("api_key") is None:
                    parameters["api_key"] = Secret.from_env_var(API_KEY, strict=False).to_dict()
            else:
                parameters["path"] = store
                # A folder wants no key, and a strict one that is missing would be an error.
                parameters.pop("api_key", None)
    fit_to_folders(data, engine)
    return data


def set_code(data: dict[str, Any], code: str) -> None:
    """
    Let the embedder of an indexing pipeline make another kind of token codes.

    :param data: The pipeline, as a dictionary; it is changed.
    :param code: The kind.
    :raises ValueError: If no component makes token codes.
    """
    embedders = document_embedders(data)
    if not embedders:
        msg = "This pipeline makes no token codes: it has no RRRADocumentEmbedder."
        raise ValueError(msg)
    for embedder in embedders:
        embedder.setdefault("init_parameters", {})["code"] = code


def set_encoding(data: dict[str, Any], encoding: str) -> None:
    """
    Let the converter of an indexing pipeline read text that tells no encoding in this one.

    :param data: The pipeline, as a dictionary; it is changed.
    :param encoding: The encoding.
    :raises ValueError: If no component is an RRRAFileToDocument.
    """
    converters = [one for one in data["components"].values() if one["type"].endswith(".RRRAFileToDocument")]
    if not converters:
        msg = "This pipeline has no RRRAFileToDocument, which alone can be told an encoding."
        raise ValueError(msg)
    for converter in converters:
        converter.setdefault("init_parameters", {})["encoding"] = encoding


def store_parameters(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The init parameters of each Qdrant document store in a pipeline, to be read or changed."""
    for store in described_stores(data):
        yield store["init_parameters"]


@contextmanager
def opened(data: dict[str, Any]) -> Iterator[Pipeline]:
    """Build a pipeline, and close it and its stores at the end."""
    pipeline = Pipeline.from_dict(data)
    try:
        yield pipeline
    finally:
        pipeline.close()


def share_stores(pipelines: Iterable[Pipeline]) -> None:
    """Let components with equal document stores use one: an embedded Qdrant can be opened only once."""
    kept: list[tuple[dict[str, Any], Any]] = []
    for component, name, store in stores_of(pipelines):
        told = store.to_dict()
        same = next((other for data, other in kept if data == told), None)
        if same is None:
            kept.append((told, store))
        else:
            setattr(component, name, same)


def stores_of(pipelines: Iterable[Pipeline]) -> Iterator[tuple[Any, str, Any]]:
    """Each component that has a document store, the name of the attribute that holds it, and the store."""
    for pipeline in pipelines:
        for _, component in pipeline.walk():
            for name in ("document_store", "_document_store"):
                store = getattr(component, name, None)
                if store is not None:
                    yield component, name, store


def check_seen(question: str) -> str:
    """
    A question of which something can be seen.

    :param question: The question.
    :raises ValueError: If it is of spaces and of characters that nobody sees.
    """
    if all(one.isspace() or unicodedata.category(one) in _UNSEEN for one in question):
        msg = "The question has no letter that could be seen. Write one."
        raise ValueError(msg)
    return question


def question_inputs(pipeline: Pipeline, question: str) -> dict[str, dict[str, Any]]:
    """
    The run inputs that bring a question to every component that waits for one.

    :raises ValueError: If none does, or there is no question.
    """
    check_seen(question)
    inputs = {
        name: {
            socket: question
            for socket, about in sockets.items()
            if socket in _QUESTION_SOCKETS and about.get("is_mandatory", False)
        }
        for name, sockets in pipeline.inputs().items()
    }
    inputs = {name: sockets for name, sockets in inputs.items() if sockets}
    if not inputs:
        msg = "This pipeline takes no question: no component waits for 'text', 'query' or 'question'."
        raise ValueError(msg)
    return inputs


def manifest_path(parameters: dict[str, Any]) -> Path:
    """Where the manifest of a store lies: beside an embedded one, else below the working directory."""
    name = parameters.get("index", DEFAULT_INDEX)
    if parameters.get("path"):
        return Path(parameters["path"]) / f"{name}-{_MANIFEST}"
    address = json.dumps([parameters.get(key) for key in ("url", "host", "port", "location")])
    return Path(".rrra") / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}-{_MANIFEST}"
