"""``rrra demo``: the project's own documentation, indexed and asked."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

# The generated reference: tables of parameters, hardly a sentence that answers a question.
_TABLES = "reference.md"

QUESTIONS = (
    "Where are the token codes of a document stored?",
    "How many passages does the reader read?",
    "How many bytes does a token take in a 1bit code?",
    "How many queries does the embedder remember?",
    "Why are the components defined under haystack_integrations?",
)


def command(
    store: Annotated[str, typer.Option(help="Folder of the Qdrant to fill.")] = ".rrra/demo",
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the passages before and after the adapter in a browser.")
    ] = False,
) -> None:
    """Index this project's documentation into embedded Qdrant, and ask it five questions."""
    from rrra_haystack.asking.ask import ask
    from rrra_haystack.asking.terminal import show
    from rrra_haystack.indexing.index import index
    from rrra_haystack.pipeline_files import opened, read_pipeline
    from rrra_haystack.resources import resource_directory

    console = Console()
    docs = resource_directory("docs")
    pages = [page for page in sorted(docs.glob("*.md")) if page.name != _TABLES]
    console.print(f"[bold]1.[/] Indexing the documentation in {escape(str(docs))} with pipelines/indexing.yaml")
    report = index(pages, read_pipeline(None, "indexing.yaml", store), show_progress=True)
    console.print(f"   {report.passages} passages in {escape(store)}\n")
    console.print("[bold]2.[/] Asking pipelines/qa.yaml: retrieve 100, rerank with the adapter, read\n")
    with opened(read_pipeline(None, "qa.yaml", store)) as pipeline:
        pipeline.warm_up()
        asked = [ask(pipeline, question) for question in QUESTIONS]
    for each in asked:
        show(console, each)
    moved = sum(each.passages[0].before != 1 for each in asked if each.passages)
    console.print(
        f"The adapter put another passage first in {moved} of {len(asked)} questions. "
        f'Ask your own: [bold]rrra ask "..." --store {escape(store)}[/]'
    )
    if open_page:
        from rrra_haystack.asking.page import write_page

        page = write_page(asked, Path(store).with_suffix(".html")).resolve()
        console.print(f"Before and after, side by side: {escape(str(page))}")
        webbrowser.open(page.as_uri())
