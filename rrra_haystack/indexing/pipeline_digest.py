"""A digest of an indexing pipeline, by which a later run knows whether its passages would come out the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

from haystack import Pipeline

from rrra_haystack.indexing.readings import readings
from rrra_haystack.model.codes.record import VERSION
from rrra_haystack.pretrained import bundled

_MODEL_SUFFIXES = frozenset({".safetensors", ".bin", ".json"})


def pipeline_digest(pipeline: dict[str, Any], loaded: Pipeline) -> str:
    """A digest of what passages depend on: the pipeline without its store, which may be named in many ways."""
    components = {
        name: {
            **component,
            "init_parameters": {
                key: value for key, value in component.get("init_parameters", {}).items() if key != "document_store"
            },
        }
        for name, component in pipeline["components"].items()
    }
    # As loaded, for a pipeline may leave the model to the default.
    told = {name: component["init_parameters"] for name, component in loaded.to_dict()["components"].items()}
    weights = {name: _weights(str(parameters["model"])) for name, parameters in told.items() if "model" in parameters}
    made_by = {"weights": weights, "codes": VERSION}
    # What is read as ever keeps its digest, and so its stores.
    if read := readings(loaded):
        made_by["read"] = read
    whole = json.dumps({**pipeline, "components": components, **made_by}, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _weights(model: str) -> dict[str, str]:
    """Digests of a bundled model or a directory, where a model may give way to another; a hub's is its name."""
    folder = bundled(model) or Path(model)
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _MODEL_SUFFIXES:
            with path.open("rb") as file:
                digests[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
