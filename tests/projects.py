"""The pipelines of the project in the current folder."""

from pathlib import Path

import yaml
from haystack import Pipeline


def load(name: str) -> Pipeline:
    with Path("pipelines", name).open() as file:
        return Pipeline.load(file)


def edit(name: str, component: str, **parameters: object) -> None:
    path = Path("pipelines", name)
    data = yaml.safe_load(path.read_text())
    data["components"][component]["init_parameters"] |= parameters
    path.write_text(yaml.safe_dump(data))
