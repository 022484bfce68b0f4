"""``rrra init``: copy the pipelines into a project."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.files import atomic_write
from rrra_haystack.resources import resource_directory

# The lines that name an embedded Qdrant and its folder; a file keeps its comments if only these lines change.
_FOLDER = re.compile(r"^(?P<indent> +)path: \.rrra/.*$", re.MULTILINE)
_EDGE, _QDRANT = "qdrant_edge.document_store.QdrantEdgeDocumentStore", "qdrant.document_store.QdrantDocumentStore"


def command(
    directory: Annotated[Path, typer.Argument(help="Where the YAML files are to go; made if it is missing.")],
    force: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
    url: Annotated[
        str | None,
        typer.Option(help="URL of a Qdrant server that the pipelines shall use; its key is read from QDRANT_API_KEY."),
    ] = None,
) -> None:
    """Copy the pipeline YAMLs into a project, to be changed there."""
    sources = sorted(resource_directory("pipelines").glob("*.yaml"))
    present = [source.name for source in sources if (directory / source.name).exists()]
    if present and not force:
        msg = f"{directory} already holds {', '.join(present)}. Choose another directory, or replace them with --force."
        raise ValueError(msg)
    for source in sources:
        text = source.read_text(encoding="utf-8")
        if url is not None:
            text = _FOLDER.sub(lambda line: _server(line["indent"], url), text.replace(_EDGE, _QDRANT))
        atomic_write(directory / source.name, text)
        typer.echo(directory / source.name)


def _server(indent: str, url: str) -> str:
    key = "{type: env_var, env_vars: [QDRANT_API_KEY], strict: false}"
    return f"{indent}url: {json.dumps(url)}\n{indent}api_key: {key}"
