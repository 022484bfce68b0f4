"""The folders that this process has, each opened once for all its document stores."""

import copyreg
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from haystack_integrations.document_stores.qdrant_edge.shards import Shards

_SHARED: WeakValueDictionary[Path, Shards] = WeakValueDictionary()
_LOOKING = Lock()


def shards_in(path: str) -> Shards:
    """
    The shards in a folder, the same ones for all of this process: the engine opens a folder only once.

    :param path: The folder; it is made with the first collection.
    """
    with _LOOKING:
        place = Path(path).resolve()
        shards = _SHARED.get(place)
        if shards is None:
            shards = _SHARED[place] = Shards(str(place))
        return shards


def _copied(shards: Shards) -> tuple[Callable[[str], Shards], tuple[str]]:
    return shards_in, (str(shards.path),)


# A store that is copied, with a pipeline, or sent to another process uses what is open there.
copyreg.pickle(Shards, _copied)


def _leave_to_parent() -> None:
    for shards in list(_SHARED.values()):
        shards.leave_to_parent()
    _LOOKING.release()


# Windows forks no processes. A lock that another thread held at the fork would never be free again in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOOKING.acquire, after_in_parent=_LOOKING.release, after_in_child=_leave_to_parent)
