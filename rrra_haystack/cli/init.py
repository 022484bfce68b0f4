"""``rrra init``: copy the pipelines into a project."""

from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.files import atomic_write
from rrra_haystack.resources import resource_directory


def command(
    directory: Annotated[Path, typer.Argument(help="Where the YAML files are to go; made if it is missing.")],
    force: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Copy the pipeline YAMLs into a project, to be changed there."""
    sources = sorted(resource_directory("pipelines").glob("*.yaml"))
    present = [source.name for source in sources if (directory / source.name).exists()]
    if present and not force:
        msg = f"{directory} already holds {', '.join(present)}. Choose another directory, or replace them with --force."
        raise ValueError(msg)
    for source in sources:
        atomic_write(directory / source.name, source.read_text(encoding="utf-8"))
        typer.echo(directory / source.name)
