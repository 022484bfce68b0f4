"""The engine's index is built, and about how long that takes is told."""

import json
from pathlib import Path

import pytest
from haystack import Document
from rich.progress import Progress

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.qdrant import optimizing


def test_the_rate_of_the_last_time_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "_LEAST_SECONDS", 0.0)
    store = QdrantEdgeDocumentStore(
        str(tmp_path), embedding_dim=3, progress_bar=False, optimizers_config={"indexing_threshold": 1}
    )
    store.write_documents([Document(content=str(one), embedding=[1.0, one / 100, 0.3]) for one in range(300)])
    path = tmp_path / "Document-optimize.json"
    path.write_text("{}")
    assert (optimizing._rate(path), optimizing._counted(store)) == (optimizing._RATE, (300, 300))
    optimizing.optimize(store)
    kept = path.read_text()
    assert optimizing._rate(path) == next(iter(json.loads(kept).values())) != optimizing._RATE
    assert optimizing._counted(store) == (300, 0)
    # There is nothing to do, and so nothing to learn.
    optimizing.optimize(store)
    assert path.read_text() == kept


def test_the_time_left_is_told_as_reckoned() -> None:
    now = 0.0
    progress = Progress(get_time=lambda: now)
    number = progress.add_task("")
    task = progress.tasks[number]
    about = optimizing._About(80.0)
    now = 20.0
    assert about.render(task).plain == "about 25%, 0:01:00 left"
    now = 81.0
    assert about.render(task).plain == "longer than reckoned"
