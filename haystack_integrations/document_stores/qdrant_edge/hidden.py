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


def place_to_delete(path: Path, name: str) -> Path:
    """
    A hidden folder, which is not there yet, to delete a collection in.

    :param path: The folder of the collections.
    :param name: The collection.
    """
    return path / f".{name}-{uuid4().hex}{_DELETED}"


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
