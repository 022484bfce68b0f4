"""What a client is told of an upload that cannot be kept."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rrra_haystack.serving.files import add_route
from rrra_haystack.serving.pipeline import ServedPipeline


@pytest.fixture
def web() -> TestClient:
    app = FastAPI()
    # The faults come before the pipeline is asked.
    add_route(app, "indexing", cast("ServedPipeline", SimpleNamespace()), [])
    return TestClient(app)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_fault_of_the_file(web: TestClient, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write_bytes(path: Path, data: Any) -> int:
        raise OSError(number, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    told = web.post("/indexing/run", files={"files": ("a.txt", b"The Elbe")})
    assert (told.status_code, told.json()) == (507, {"detail": "The disk that uploads are kept on is full."})


@pytest.mark.parametrize("name", ["a" * 300, "..", "C:\\x\\..", "a\x7f.txt"])
def test_a_name_that_no_file_can_have(web: TestClient, name: str) -> None:
    told = web.post("/indexing/run", files={"files": (name, b"The Elbe")})
    assert told.status_code == 422
    assert "no name that a file can have" in told.json()["detail"]
