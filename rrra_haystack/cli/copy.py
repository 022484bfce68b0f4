"""``rrra copy``: copy a collection from one Qdrant into another."""

import shutil
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
    from rrra_haystack.files import atomic_file
    from rrra_haystack.indexing.manifest import manifest_path
    from rrra_haystack.named_store import closed_after, open_store
    from rrra_haystack.qdrant.engines import checked

    with (
        closed_after(open_store(source, index)) as read,
        closed_after(open_target(target, index, checked(engine))) as written,
    ):
        done = copy(read, written, show_progress=True)
    # With it, `rrra index` knows what the copy holds.
    places = [manifest_path({"index": one.index, "path": one.path, "url": one.url}) for one in (read, written)]
    if places[0].exists() and not places[1].exists():
        with atomic_file(places[1]) as work:
            shutil.copyfile(places[0], work)
    Console().print(f"{done.documents} documents: {done.written} were written, {done.kept} were there.")
    if done.further:
        Console().print(f"The target holds further documents that the source does not have: {done.further}.")
