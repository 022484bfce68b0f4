"""What a client is told of uploads that cannot be read, or hold nothing."""

from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from threading import Thread

import pytest
from fastapi.testclient import TestClient
from hayhooks.server.pipelines.registry import registry
from haystack.dataclasses import ByteStream

from rrra_haystack import RRRAFileToDocument
from rrra_haystack.documents.failures import told_errors
from rrra_haystack.serving.application import served

PASSAGES = b'{"_id": "one", "text": "SECRET: the Danube rises."}\n{"_id": "two", "text": "The Rhine rises."}\n'
BROKEN = {
    "bad.pdf": (b"%PDF-1.4 and SECRET and nothing more", "PdfStreamError"),
    "bad.json": (b'{"SECRET": ', "ValueError"),
    "bad.docx": (b"SECRET", "BadZipFile"),
    "bytes.txt": (b"\x00\x01\x02" * 99, "ValueError"),
    "empty.txt": (b"", "no text was found in it"),
    "blank.html": (b"<html><body></body></html>", "no text was found in it"),
    "passages.jsonl": (PASSAGES, "its lines are passages with an _id: index it with 'rrra index'"),
}


@pytest.fixture
def web(workspace: Path) -> Iterator[TestClient]:
    for name in ("qa", "rag", "search"):
        Path("pipelines", f"{name}.yaml").unlink()
    with TestClient(served(Path("pipelines"), [workspace]), base_url="http://localhost") as client:
        yield client
    # Hayhooks keeps the pipelines of a process in one place.
    registry.get("indexing").pipeline.close()
    registry.clear()


def posted(web: TestClient, **files: bytes) -> dict:
    answer = web.post("/indexing/run", files=[("files", (name, data)) for name, data in files.items()])
    assert answer.status_code == 200, answer.text
    assert "SECRET" not in answer.text
    return answer.json()["result"]


def test_files_that_cannot_be_read_are_named(web: TestClient, workspace: Path) -> None:
    contents = {name: data for name, (data, _) in BROKEN.items()}
    result = posted(web, **contents, **{"good.txt": b"The Elbe rises.", "photo.bin": b"\xff\x00"})
    assert result["writer"]["documents_written"] == 1
    assert result["router"]["unclassified"] == ["photo.bin"]
    assert result["failed"] == {name: reason for name, (_, reason) in BROKEN.items()}
    for name in ("bad.json", "bad.docx", "bytes.txt"):
        assert posted(web, **{name: contents[name]})["failed"].keys() == {name}
    (workspace / "bad.json").write_bytes(contents["bad.json"])
    paths = [str(workspace / name) for name in ("bad.json", "nothing.txt")]
    result = web.post("/indexing/run", json={"sources": paths}).json()["result"]
    assert result["failed"].keys() == {paths[0]}
    assert result["router"]["failed"] == paths[1:]


def test_of_uploads_with_one_name_the_bad_one_is_told(web: TestClient) -> None:
    good, empty, broken = (("files", ("a.txt", data)) for data in (b"The Elbe rises.", b"", b"\x00\x01\x02" * 99))
    for bad, reason in ((empty, "no text was found in it"), (broken, "ValueError")):
        for files in ([good, bad], [bad, good]):
            result = web.post("/indexing/run", files=files).json()["result"]
            assert result["failed"] == {"a.txt": reason}
            assert result["writer"]["documents_written"] == 1
    assert "failed" not in web.post("/indexing/run", files=[good, good]).json()["result"]


def test_what_others_run_meanwhile_is_not_told() -> None:
    with told_errors(hidden=False) as mine:
        other = Thread(target=converted)
        other.start()
        other.join()
        assert mine == {}
        copy_context().run(converted)
    assert mine.keys() == {"a.pdf"}


def converted() -> None:
    stream = ByteStream(b"%PDF-1.4 and nothing more", meta={"source": "a.pdf"})
    assert RRRAFileToDocument().run([stream])["documents"] == []
