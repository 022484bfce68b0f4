"""The pipelines of the project in the current folder, and what its store holds."""

from pathlib import Path

import yaml
from haystack import Pipeline

from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient


def load(name: str) -> Pipeline:
    with Path("pipelines", name).open() as file:
        return Pipeline.load(file)


def edit(name: str, component: str, **parameters: object) -> None:
    path = Path("pipelines", name)
    data = yaml.safe_load(path.read_text())
    data["components"][component]["init_parameters"] |= parameters
    path.write_text(yaml.safe_dump(data))


def payloads() -> list[dict]:
    client = EdgeClient(".rrra/store")
    held = [record.payload for record in client.scroll("rrra", limit=1000)[0]]
    client.close()
    return held
