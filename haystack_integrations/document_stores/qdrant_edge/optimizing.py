"""Lets the engine index and tidy up a collection."""

import os
import subprocess
import sys
from pathlib import Path

from haystack_integrations.document_stores.qdrant_edge.explaining import HELD, explained, is_held

# Seconds for which another process that got in between, as one that asks a question, may hold the folder.
_ASKING = 30
# Where the system can, it ends with the process that asked, or the folder would stay open behind it.
_OPTIMIZE = """
import ctypes, os, signal, sys, time
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[2]):
    sys.exit("The process that asked for it has ended.")
import qdrant_edge
end = time.monotonic() + float(sys.argv[4])
while True:
    try:
        shard = qdrant_edge.EdgeShard.load(sys.argv[1])
        break
    except BaseException as error:
        if sys.argv[3] not in str(error) or time.monotonic() > end:
            raise
    time.sleep(0.05)
shard.optimize()
shard.close()
"""


def optimize(folder: Path) -> None:
    """
    Optimize a collection that this process has not open.

    The engine holds Python's interpreter meanwhile, for minutes; a process of its own has one to spare.

    :param folder: The collection's folder.
    :raises HeldError: If another process has it open meanwhile, and does not close it.
    :raises RuntimeError: If that process fails.
    """
    command = [sys.executable, "-c", _OPTIMIZE, str(folder), str(os.getpid()), HELD, str(_ASKING)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = done.stderr.strip().rpartition("\n")[2]
        if is_held(told):
            raise explained(folder.parent, folder.name, told)
        msg = f"Qdrant Edge could not optimize the collection '{folder.name}' in {folder.parent}: {told}"
        raise RuntimeError(msg)
