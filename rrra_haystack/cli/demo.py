"""``rrra demo``: the project's own documentation, indexed and asked."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

# The generated reference: tables of parameters, hardly a sentence that answers a question.
_TABLES = "reference.md"
_STORE = ".rrra/demo"

QUESTIONS = (
    "Where are the token codes of a document stored?",
    "How many passages does the reader read?",
    "How many bytes does a token take in a 1bit code?",
    "How many queries does the embedder remember?",
    "Why are the components defined under haystack_integrations?",
)


def page_beside(store: str) -> Path:
    """
    Where the page of a demo stands: beside the folder of its store, and for a server where the default store is.

    :param store: As the user names it.
    :raises ValueError: If it is empty.
    """
    from rrra_haystack.named_store import named_place

    place = named_place(store)
    # The suffix of a folder as "store.v1" belongs to its name.
    return Path(f"{Path(_STORE if '://' in place else place).resolve()}.html")


def command(
    store: Annotated[str, typer.Option(help="Folder or URL of the Qdrant to fill.")] = _STORE,
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the passages before and after the adapter in a browser.")
    ] = False,
) -> None:
    """Index this project's documentation into embedded Qdrant, and ask it five questions."""
    from rrra_haystack.asking.ask import ask
    from rrra_haystack.asking.page import check_page, write_page
    from rrra_haystack.asking.terminal import show
    from rrra_haystack.indexing.index import index
    from rrra_haystack.pipeline_files import opened, read_pipeline
    from rrra_haystack.resources import resource_directory

    console = Console()
    page = page_beside(store)
    if open_page:
        check_page(page)
    docs = resource_directory("docs")
    files = [file for file in sorted(docs.glob("*.md")) if file.name != _TABLES]
    console.print(f"[bold]1.[/] Indexing the documentation in {escape(str(docs))} with pipelines/indexing.yaml")
    report = index(files, read_pipeline(None, "indexing.yaml", store), show_progress=True)
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
        write_page(asked, page)
        console.print(f"Before and after, side by side: {escape(str(page))}")
        webbrowser.open(page.as_uri())
