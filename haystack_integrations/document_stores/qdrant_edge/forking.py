"""What a process does with a shard that its parent had open when it was forked."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import qdrant_edge


def leave_to_parent(shard: qdrant_edge.EdgeShard, identity: tuple[int, int]) -> None:
    """
    Leave a shard to the parent process.

    The engine would write to the parent's files what it held in memory at the fork, even if the shard were only freed,
    at the end of this process. So it is never freed; and its lock is let go here, or it would outlive the parent's.

    :param shard: The shard, as the parent opened it.
    :param identity: Device and number of the file that has the lock.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(shard))
    with suppress(OSError):
        for one in Path("/dev/fd").iterdir():
            with suppress(OSError):
                told = os.fstat(int(one.name))
                if (told.st_dev, told.st_ino) == identity:
                    os.close(int(one.name))
