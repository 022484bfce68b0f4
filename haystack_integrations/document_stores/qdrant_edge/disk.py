"""Looks whether the disk has room for what the engine writes."""

import shutil
from pathlib import Path

# The engine writes through memory that is mapped to files: a disk without room for them ends the whole process.
LEAST_FREE = 128 * 2**20
# What is written goes to the log and to the collection, in files that grow by steps.
COPIES = 3
# What a collection without points takes beside the one whose place it takes, and each of its indexes: less than a
# megabyte in most file systems, up to seven in memory.
LEAST_FREE_ANEW = 16 * 2**20
LEAST_FREE_FOR_INDEX = 8 * 2**20


class FullDiskError(OSError):
    """The disk has no room for what is to be written."""


def check_room(folder: Path, wanted: int) -> None:
    """
    Refuse to write to a disk that is nearly full.

    :param folder: The folder of the Qdrant; it need not be there.
    :param wanted: Bytes that must be free.
    :raises FullDiskError: If fewer are.
    """
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free
    if free < wanted:
        msg = (
            f"The disk of the Qdrant folder {folder} is nearly full: {free >> 20} MB are free, and Qdrant Edge "
            f"wants {wanted >> 20} MB to write."
        )
        raise FullDiskError(msg)
