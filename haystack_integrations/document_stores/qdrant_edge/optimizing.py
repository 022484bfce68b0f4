"""Lets the engine index and tidy up a collection."""

import os
import subprocess
import sys
from pathlib import Path

# Where the system can, it ends with the process that asked, or the folder would stay open behind it.
_OPTIMIZE = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[2]):
    sys.exit("The process that asked for it has ended.")
import qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.close()
"""


def optimize(folder: Path) -> None:
    """
    Optimize a collection that this process has not open.

    The engine holds Python's interpreter meanwhile, for minutes; a process of its own has one to spare.

    :param folder: The collection's folder.
    :raises RuntimeError: If that process fails.
    """
    command = [sys.executable, "-c", _OPTIMIZE, str(folder), str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = done.stderr.strip().rpartition("\n")[2]
        msg = f"Qdrant Edge could not optimize the collection '{folder.name}' in {folder.parent}: {told}"
        raise RuntimeError(msg)
