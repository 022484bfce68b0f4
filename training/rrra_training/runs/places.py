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


def new_folder(folder: Path) -> Path:
    """
    Refuse a folder that holds something, which would be lost, or one that cannot be written.

    :param folder: The folder, which is written as a whole.
    :returns: The folder.
    :raises typer.BadParameter: If it is not empty, or cannot be written.
    """
    writable(folder)
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} is not empty, and what it holds would be lost. Choose another folder, or remove it."
        raise typer.BadParameter(msg)
    return folder


def fillable(folder: Path) -> Path:
    """
    Refuse a folder into which no file can be written; it may stand in one where nothing can.

    :param folder: The folder, which may be missing.
    :returns: The folder.
    :raises typer.BadParameter: If none can.
    """
    writable(folder / "result" if folder.is_dir() else folder)
    return folder


def check_figure(path: Path) -> None:
    """
    See that a figure can be written to a place, before hours are spent on what it will show.

    :param path: Where it is to stand.
    :raises ValueError: If its ending names no kind of picture.
    :raises OSError: If nothing can be written there.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow to import)

    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        msg = f"{path} does not end in a kind of picture. Let it end in one of: {', '.join(sorted(kinds))}"
        raise ValueError(msg)
    check_writable(path)


def drawable(place: Path | None) -> Path | None:
    """
    Refuse a place to which no figure can be written.

    :param place: Of a picture; `None` if none is to be drawn.
    :returns: The place.
    :raises typer.BadParameter: If it cannot, or its ending names no kind of picture.
    """
    if place is not None:
        try:
            check_figure(place)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None
    return place


BeirFolder = Annotated[
    Path, typer.Option(file_okay=False, callback=new_folder, help="The new folder to write, in the BEIR layout.")
]
FiguresFile = Annotated[Path, typer.Option(dir_okay=False, callback=writable, help="Where the figures go, as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, callback=writable, help="Write the figures here.")
]
TablesFile = Annotated[Path | None, typer.Option(dir_okay=False, callback=writable, help="Write the tables here.")]
