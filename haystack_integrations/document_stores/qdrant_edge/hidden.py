"""The hidden folders in which collections are made and deleted, beside the one that has the collection's name."""

import re
import shutil
import time
from pathlib import Path
from uuid import uuid4

# Ends the name of what is being deleted.
_DELETED = ".deleted"
# Seconds after which nobody makes a collection any longer where one was begun.
_ABANDONED = 3600.0


def place_to_make(path: Path, name: str) -> Path:
    """
    A hidden folder, which is not there yet, to make a collection in.

    :param path: The folder of the collections.
    :param name: The collection.
    """
    return path / f".{name}-{uuid4().hex}"


def replace(path: Path, name: str, made: Path | None) -> None:
    """
    Put a folder in the place of a collection, which is there until then, and is deleted afterwards.

    :param path: The folder of the collections.
    :param name: The collection, which nobody has open.
    :param made: The folder; the collection is only deleted if there is none.
    """
    place, old = path / name, path / f".{name}-{uuid4().hex}{_DELETED}"
    try:
        place.rename(old)
        if made is not None:
            made.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sweep(path: Path, name: str) -> None:
    """
    Remove what was left where a collection was made or deleted, and the process killed.

    :param path: The folder of the collections; it need not be there.
    :param name: The collection.
    """
    for one in path.glob(".*"):
        found = re.fullmatch(rf"\.{re.escape(name)}-[0-9a-f]{{32}}({re.escape(_DELETED)})?", one.name)
        if found is not None and (found[1] or _is_abandoned(one)):
            shutil.rmtree(one, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _ABANDONED
    except FileNotFoundError:
        return False
