"""What a client is told while the document store is held, missing or moved: no fault of its own, and no path."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from hayhooks.server.pipelines.registry import registry
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from rrra_haystack.serving.application import served
from rrra_haystack.serving.faults import told_of_stores

HOLD = """
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
store = QdrantEdgeDocumentStore(".rrra/store", "rrra", embedding_dim=384, use_sparse_embeddings=True)
print(store.count_documents(), flush=True)
input()
"""


@pytest.fixture
def web(indexed: Path) -> Iterator[TestClient]:
    (indexed / "pipelines" / "rag.yaml").unlink()
    with TestClient(served(indexed / "pipelines")) as client:
        yield client
    # Hayhooks keeps the pipelines of a process in one place.
    close()
    registry.clear()


def close() -> None:
    for name in registry.get_names():
        registry.get(name).pipeline.close()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The store open in another process."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline().strip().isdigit()
        yield
        other.communicate("\n")


def answers(web: TestClient) -> list[httpx.Response]:
    question = "What makes bread rise?"
    chat = {"model": "qa", "messages": [{"role": "user", "content": question}]}
    files = [("files", (name, f"{name} is about the Elbe.".encode())) for name in ("a.txt", "b.txt")]
    return [
        web.post("/indexing/run", files=files),
        web.post("/search/run", json={"question": question}),
        web.post("/qa/run", json={"question": question}),
        web.post("/v1/chat/completions", json=chat),
    ]


def check(web: TestClient, folder: Path, told: str) -> None:
    for answer in answers(web):
        assert answer.status_code == 503, answer.text
        assert told in answer.json()["detail"]
        assert str(folder) not in answer.text


def test_a_store_that_does_not_serve(web: TestClient, indexed: Path) -> None:
    assert [one.status_code for one in answers(web)] == [200] * 4
    store = indexed / ".rrra" / "store"
    for place in (store, store / "rrra"):
        place.rename(store.with_name("moved"))
        check(web, indexed, "The document store is missing")
        store.with_name("moved").rename(place)
        assert [one.status_code for one in answers(web)] == [200] * 4
    close()
    with held(indexed):
        check(web, indexed, "is open in another process")
    assert [one.status_code for one in answers(web)] == [200] * 4


def test_a_store_that_is_held_is_told_at_the_start(indexed: Path, caplog: pytest.LogCaptureFixture) -> None:
    with held(indexed), caplog.at_level(logging.WARNING):
        served(indexed / "pipelines")
    registry.clear()
    (told,) = [one.getMessage() for one in caplog.records if "Requests will fail" in one.getMessage()]
    assert "is open in another process" in told


def test_a_damaged_store_keeps_nothing_else_from_being_served(indexed: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in indexed.glob(".rrra/store/rrra/segments/*/vector_storage-text-sparse/deleted/status.dat"):
        file.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        app = served(indexed / "pipelines")
    (told,) = [one.getMessage() for one in caplog.records if "Requests will fail" in one.getMessage()]
    assert "Bring the folder back from a copy" in told
    with TestClient(app) as web:
        assert web.get("/status").status_code == 200
        answer = web.post("/search/run", json={"question": "What makes bread rise?"})
    assert (answer.status_code, "cannot be read" in answer.json()["detail"]) == (503, True)
    close()
    registry.clear()


def test_a_folder_of_local_mode_that_is_open_elsewhere(tmp_path: Path) -> None:
    holding, store = (QdrantDocumentStore(path=str(tmp_path / "store"), embedding_dim=3) for _ in range(2))
    assert holding.count_documents() == 0
    pipeline = Pipeline()
    pipeline.add_component("writer", DocumentWriter(store))
    with pytest.raises(HTTPException) as raised, told_of_stores(pipeline):
        pipeline.run({"writer": {"documents": [Document(content="d", embedding=[1.0, 0.0, 0.0])]}})
    assert (raised.value.status_code, "another process" in raised.value.detail) == (503, True)
    holding.close()
