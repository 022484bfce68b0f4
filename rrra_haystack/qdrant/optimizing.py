"""Lets the embedded engine build its index, and says about how long that takes."""

import json
import math
import time
from datetime import timedelta
from pathlib import Path

from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.explaining import HeldError, UnopenedError
from rrra_haystack.files import write_json
from rrra_haystack.qdrant.clients import open_client

# Seconds of a passage for each doubling of their number, as a core of an EPYC takes, until this machine has done it.
_RATE = 3e-5
_KEY = "seconds of a passage and doubling"
# What is done faster than this tells of no rate.
_LEAST_SECONDS = 2.0


def optimize(store: QdrantEdgeDocumentStore, *, show_progress: bool = False) -> None:
    """
    Let the engine index what was written.

    It does not tell how far it is. The time left is reckoned from the passages that are not indexed and from the rate
    of the last time, which is kept beside the collection.

    :param store: The document store.
    :param show_progress: Show for how long the engine has been at it, and about how long it still takes.
    :raises RuntimeError: If the engine fails, or the collection is open in another process.
    """
    path = Path(str(store.path)) / f"{store.index}-optimize.json"
    # Opens the store.
    store.count_documents()
    passages, waiting = _counted(store)
    reckoned = _rate(path) * _work(waiting)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), _About(reckoned))
    begin = time.monotonic()
    with Progress(*columns, disable=not show_progress, transient=True) as progress:
        progress.add_task(f"Building the search index over {passages:,} passages")
        try:
            store.optimize()
        except (OSError, RuntimeError, UnopenedError) as error:
            # Of a collection that cannot be opened, the last sentence says how Python mends it.
            why = str(error).rpartition(". ")[0] if isinstance(error, UnopenedError) else str(error)
            msg = (
                f"All passages are written and are found; only the engine's search index is not built ({why}). The "
                "same command builds it."
            )
            raise RuntimeError(msg) from error
    seconds = time.monotonic() - begin
    try:
        done = waiting - _counted(store)[1]
    except HeldError:
        # The index is built, and somebody asks it already.
        return
    if done > 0 and seconds >= _LEAST_SECONDS:
        write_json(path, {_KEY: seconds / _work(done)})


class _About(ProgressColumn):
    """The share that is done and the time left, as they are reckoned."""

    # Time passes although nothing is reported.
    max_refresh = None

    def __init__(self, reckoned: float) -> None:
        self._reckoned = reckoned
        super().__init__()

    def render(self, task: Task) -> Text:
        """What is left, or that it takes longer."""
        elapsed = task.elapsed or 0.0
        if elapsed >= self._reckoned:
            return Text("longer than reckoned" if elapsed > _LEAST_SECONDS else "")
        left = timedelta(seconds=math.ceil(self._reckoned - elapsed))
        return Text(f"about {elapsed / self._reckoned:.0%}, {left} left")


def _counted(store: QdrantEdgeDocumentStore) -> tuple[int, int]:
    """Passages, and those whose vectors are not all indexed."""
    told = open_client(store).get_collection(store.index)
    params, passages = told.config.params, told.points_count or 0
    vectors = len(params.vectors) if isinstance(params.vectors, dict) else 1
    vectors += len(params.sparse_vectors or {})
    return passages, max(vectors * passages - (told.indexed_vectors_count or 0), 0)


def _work(passages: int) -> float:
    """Each passage looks for its neighbours on a way that grows with the logarithm of their number."""
    return passages * math.log2(passages + 1)


def _rate(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))[_KEY])
    except (OSError, KeyError, TypeError, ValueError):
        return _RATE
