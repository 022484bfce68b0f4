"""``rrra ask``: ask a question of what was indexed."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def command(
    question: Annotated[str, typer.Argument(help="The question.")],
    store: Annotated[str | None, typer.Option(help="Folder or URL of the Qdrant that holds the documents.")] = None,
    pipeline: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Pipeline YAML to ask.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Passages to show, of those that the ranker returned.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a question of what was indexed, and see what the adapter changed."""
    from rrra_haystack.asking.ask import ask
    from rrra_haystack.asking.terminal import show
    from rrra_haystack.documents.decoding import without_surrogates
    from rrra_haystack.pipeline_files import check_seen, opened, read_pipeline

    check_seen(question)
    with opened(read_pipeline(pipeline, "qa.yaml", store)) as loaded:
        loaded.warm_up()
        # What is no UTF-8 comes as halves of surrogate pairs.
        asked = ask(loaded, without_surrogates(question))
    if as_json:
        typer.echo(json.dumps(asked.as_json(), indent=2, ensure_ascii=False))
    else:
        show(Console(), asked, passages=top_k)
