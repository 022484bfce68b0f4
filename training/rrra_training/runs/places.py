"""Where results go: options that refuse, before anything is computed, a place that cannot be written."""

from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.files import check_writable


def writable(place: Path | None) -> Path | None:
    """
    Refuse a place that cannot be written; Typer's own ``writable`` passes whatever is yet to be made.

    :param place: Of a file, or of a folder that is written as a whole; `None` if nothing is to be written.
    :returns: The place.
    :raises typer.BadParameter: If it cannot.
    """
    if place is not None:
        try:
            check_writable(place)
        except OSError as error:
            raise typer.BadParameter(str(error)) from None
    return place


def fillable(folder: Path) -> Path:
    """
    Refuse a folder into which no file can be written; it may stand in one where nothing can.

    :param folder: The folder, which may be missing.
    :returns: The folder.
    :raises typer.BadParameter: If none can.
    """
    writable(folder / "result" if folder.is_dir() else folder)
    return folder


BeirFolder = Annotated[
    Path, typer.Option(file_okay=False, callback=writable, help="The folder to write, in the BEIR layout.")
]
FiguresFile = Annotated[Path, typer.Option(dir_okay=False, callback=writable, help="Where the figures go, as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, callback=writable, help="Write the figures here.")
]
TablesFile = Annotated[Path | None, typer.Option(dir_okay=False, callback=writable, help="Write the tables here.")]
