"""Whose folder one is, and which collections are in it, without opening it."""

import os
from contextlib import suppress
from pathlib import Path

# The engine writes it into a shard's folder when it makes one.
CONFIG = "edge_config.json"
# What local mode of Qdrant's client keeps in its folder.
LOCAL_MODE = "meta.json"


def collections_in(path: str | Path) -> list[str]:
    """
    The collections of the embedded engine in a folder.

    :param path: The folder; it need not be there.
    """
    # What is being made or deleted has a hidden name.
    found = (one.parent.name for one in Path(path).glob(f"*/{CONFIG}"))
    return sorted(name for name in found if not name.startswith("."))


def is_edge_folder(path: str | Path) -> bool:
    """
    Whether a folder holds collections of the embedded engine.

    :param path: The folder; it need not be there.
    """
    return bool(collections_in(path))


def is_local_folder(path: str | Path) -> bool:
    """
    Whether a folder holds collections of the local mode of Qdrant's client.

    :param path: The folder; it need not be there.
    """
    return (Path(path) / LOCAL_MODE).is_file()


def bytes_of(path: str | Path) -> int:
    """
    Bytes that a folder takes on the disk; where the system tells it, without the holes of its files.

    :param path: The folder, which the engine may write to meanwhile: what it moves or deletes is not counted.
    """
    held = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                found = (Path(folder) / name).stat()
                held += found.st_blocks * 512 if hasattr(found, "st_blocks") else found.st_size
    return held
