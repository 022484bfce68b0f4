"""``rrra copy``: copy a collection from one Qdrant into another."""

from typing import Annotated

import typer
from rich.console import Console


def command(
    source: Annotated[str, typer.Argument(help="Folder or URL of a Qdrant.", show_default=False)],
    target: Annotated[str, typer.Argument(help="Folder or URL of a Qdrant; a folder may be new.", show_default=False)],
    index: Annotated[str, typer.Option(help="Collection of both.")] = "rrra",
    engine: Annotated[
        str | None,
        typer.Option(metavar="local|edge", help="Engine of a new folder; Edge if not given.", show_default=False),
    ] = None,
) -> None:
    """
    Copy documents with embeddings, sparse embeddings, multivectors and codes from one Qdrant into another.

    Run it again after an interruption: documents that are there already are left alone.
    """
    from rrra_haystack.copying import copy, open_target
    from rrra_haystack.named_store import closed_after, open_store
    from rrra_haystack.qdrant.engines import checked

    with (
        closed_after(open_store(source, index)) as read,
        closed_after(open_target(target, index, checked(engine))) as written,
    ):
        done = copy(read, written, show_progress=True)
    Console().print(f"{done.documents} documents: {done.written} were written, {done.kept} were there.")
    if done.further:
        Console().print(f"The target holds further documents that the source does not have: {done.further}.")
