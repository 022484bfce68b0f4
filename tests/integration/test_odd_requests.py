"""Requests that nobody sends by intent: each is answered, and none by an error of the server's own."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from hayhooks import YAMLPipelineWrapper
from hayhooks.server.pipelines.registry import registry
from hayhooks.settings import settings

from rrra_haystack.serving.application import served
from rrra_haystack.serving.pipeline import ServedPipeline


@pytest.fixture
def web(workspace: Path) -> Iterator[TestClient]:
    with TestClient(served(workspace / "pipelines", [workspace]), raise_server_exceptions=False) as client:
        yield client
    registry.get("indexing").pipeline.close()
    registry.clear()


def chat(model: str, content: str) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]})


DEEP = '{"operator": "NOT", "conditions": [' * 3000 + "{}" + "]}" * 3000


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("v1/chat/completions", chat("\ud800", "What?"), 404),
        ("v1/chat/completions", chat("qa", "\u200b"), 422),
        ("search/run", json.dumps({"question": "\u200b"}), 422),
        ("search/run", json.dumps({"question": "\u0000 \u00ad\ufeff"}), 422),
        ("search/run", b'{"question": "\xff\xfe"}', 400),
        ("search/run", '{"question": "a", "top_k": ' + "9" * 5000 + "}", 400),
        ("search/run", '{"question": "a", "filters": ' + DEEP + "}", 400),
        ("indexing/run", b'{"sources": ["\xff"]}', 422),
    ],
)
def test_an_odd_body_is_refused(web: TestClient, path: str, content: str | bytes, status: int) -> None:
    refused = web.post(f"/{path}", content=content, headers={"Content-Type": "application/json"})
    assert refused.status_code == status, refused.text
    assert refused.json()["detail"]
    assert len(refused.content) < 1000


def upload(web: TestClient, name: str, kind: str = "multipart/form-data") -> httpx.Response:
    head = f'--XX\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + b"The Elbe rises in the Giant Mountains.\r\n--XX--\r\n"
    return web.post("/indexing/run", content=body, headers={"Content-Type": f"{kind}; boundary=XX"})


def test_a_key_that_is_missing_belongs_to_the_server(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    question = json.dumps({"question": "Where does the Danube rise?"})
    for path, content in (("rag/run", question), ("v1/chat/completions", chat("rag", "Where does the Danube rise?"))):
        response = web.post(f"/{path}", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 503
        assert "start 'rrra serve' with OPENAI_API_KEY in its environment" in response.text


def test_a_question_that_nobody_sees_is_told_in_words(web: TestClient) -> None:
    response = web.post(
        "/v1/chat/completions", content=chat("qa", "\u200b"), headers={"Content-Type": "application/json"}
    )
    assert response.json()["detail"].endswith(": The question has no letter that could be seen. Write one.")


def test_odd_names_of_files(web: TestClient, workspace: Path) -> None:
    for sent, kept in (
        ("a:b.txt", "a:b.txt"),
        ("C:\\\\x\\\\y.bin", "y.bin"),
        ("..\\\\x.bin", "x.bin"),
        ("/x/z.bin", "z.bin"),
    ):
        told = upload(web, sent).json()["result"]
        assert told in ({"writer": {"documents_written": 1}}, {"router": {"unclassified": [kept]}})
    assert upload(web, "notes.bin", "Multipart/Form-Data").json()["result"] == {
        "router": {"unclassified": ["notes.bin"]}
    }
    for sent in ("a\x00.txt", "a\tb.txt"):
        assert upload(web, sent).status_code == 422
    long = str(workspace / ("x" * 300))
    told = web.post("/indexing/run", json={"sources": [long]})
    assert (told.status_code, told.json()["result"]) == (200, {"failed": {long: "it is no file"}})
    many = [("files", (f"{number}.bin", b"x")) for number in range(1001)]
    assert web.post("/indexing/run", files=many).status_code == 400


def test_the_models_that_chat_are_listed(web: TestClient) -> None:
    for path in ("/v1/models", "/models"):
        assert sorted(model["id"] for model in web.get(path).json()["data"]) == ["qa", "rag"]


def test_an_upload_below_a_root_path(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "root_path", "/rag")
    large = {"files": ("notes.bin", b"x" * 1_500_000)}
    with TestClient(served(workspace / "pipelines")) as web:
        for path in ("/rag/indexing/run", "/indexing/run"):
            assert web.post(path, files=large).json()["result"] == {"router": {"unclassified": ["notes.bin"]}}
    registry.clear()


def test_hayhooks_looks_where_we_say_that_a_pipeline_chats(workspace: Path) -> None:
    file = workspace / "pipelines" / "qa.yaml"
    told = [
        kind.from_file(file)._is_run_chat_completion_async_implemented for kind in (YAMLPipelineWrapper, ServedPipeline)
    ]
    assert told == [False, True]
