"""Web pages of other origins, which send forms and texts without asking first, cannot use a server."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hayhooks.server.pipelines.registry import registry
from hayhooks.settings import settings

from rrra_haystack.serving.application import served
from rrra_haystack.serving.origins import OwnPages

# What a page may send without asking.
SIMPLE = {"Content-Type": "text/plain"}
OWN = "http://localhost:1416"
OTHER = "https://example.org"


def asked(host: str | None, base: str, origin: str | None, **headers: str) -> httpx.Response:
    app = FastAPI()
    app.add_api_route("/search/run", lambda: "found", methods=["POST"])
    app.add_middleware(OwnPages, host=host)
    headers |= {} if origin is None else {"Origin": origin}
    return TestClient(app, base_url=base).post("/search/run", headers=headers)


@pytest.fixture
def hayhooks() -> Iterator[None]:
    """Hayhooks as it was before: it keeps the pipelines of a process in one place."""
    yield
    registry.clear()


@pytest.fixture(autouse=True)
def no_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cors_allow_origins", [])


@pytest.mark.parametrize(
    ("host", "base", "origin"),
    [
        ("localhost", OWN, None),
        ("localhost", OWN, OWN),
        ("127.0.0.1", "http://127.0.0.1:1416", "http://127.0.0.1:1416"),
        ("::1", "http://[::1]:1416", None),
        ("localhost", "http://0.0.0.0:1416", "http://0.0.0.0:1416"),
        ("localhost", "http://[::]:1416", None),
        ("localhost", "http://rag.localhost:1416", "http://rag.localhost:1416"),
        ("localhost", "http://localhost.:1416", "http://localhost.:1416"),
        ("localhost", "http://127.0.0.1:1416", OWN),
        ("0.0.0.0", "http://rag.lan", None),
        ("0.0.0.0", "https://rag.example.com", "https://rag.example.com:443"),
        ("0.0.0.0", "http://rag.lan", "https://rag.lan"),
        (None, "http://testserver", None),
    ],
)
def test_its_own_pages_and_programs_are_answered(host: str, base: str, origin: str | None) -> None:
    assert asked(host, base, origin).status_code == 200


@pytest.mark.parametrize(
    ("host", "base", "origin", "told"),
    [
        ("localhost", OWN, OTHER, "Web pages of other origins"),
        ("localhost", OWN, "http://localhost:3000", "Web pages of other origins"),
        ("localhost", OWN, "http://127.0.0.1", "Web pages of other origins"),
        ("localhost", OWN, "http://localhost.example.org:1416", "Web pages of other origins"),
        ("0.0.0.0", "http://rag.lan", "http://localhost", "Web pages of other origins"),
        ("0.0.0.0", "http://rag.lan", "http://rag.lan:443", "Web pages of other origins"),
        ("localhost", "http://localhost.example.org:1416", None, "answers to 'localhost' alone"),
        ("0.0.0.0", OWN, "http://[", "Web pages of other origins"),
        ("0.0.0.0", OWN, "null", "Web pages of other origins"),
        ("localhost", "http://example.org:1416", "http://example.org:1416", "answers to 'localhost' alone"),
        ("127.0.0.1", "http://example.org:1416", None, "answers to 'localhost' alone"),
        ("::1", "http://127.0.0.1.example.org", None, "answers to 'localhost' alone"),
    ],
)
def test_those_of_others_are_not(host: str, base: str, origin: str | None, told: str) -> None:
    refused = asked(host, base, origin)
    assert refused.status_code == 403
    assert told in refused.json()["detail"]
    assert "HAYHOOKS_CORS_ALLOW_ORIGINS" in refused.json()["detail"]


def test_those_that_the_operator_names_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cors_allow_origins", [OTHER])
    assert asked("localhost", OWN, OTHER).status_code == 200
    # A proxy may pass its own name.
    assert asked("localhost", OTHER, OTHER).status_code == 200
    assert asked("localhost", OWN, "https://example.com").status_code == 403


@pytest.mark.parametrize(("host", "names"), [("0.0.0.0", []), ("localhost", ["https://rag.example.com"])])
def test_a_proxy_may_pass_the_port_that_browsers_leave_out(
    monkeypatch: pytest.MonkeyPatch, host: str, names: list[str]
) -> None:
    monkeypatch.setattr(settings, "cors_allow_origins", names)
    headers = {"Host": "rag.example.com:443", "Origin": "https://rag.example.com"}
    assert asked(host, OWN, None, **headers).status_code == 200


@pytest.mark.parametrize(
    ("base", "origin", "value"),
    [
        ("http://host.docker.internal:1416", None, "http://host.docker.internal:1416"),
        (OWN, OTHER, OTHER),
        (OWN, "https://a'$(id)", "https://rag.example.com"),
        (OWN, "null", "https://rag.example.com"),
    ],
)
def test_the_value_to_set_is_told_and_helps(
    monkeypatch: pytest.MonkeyPatch, base: str, origin: str | None, value: str
) -> None:
    told = f"""HAYHOOKS_CORS_ALLOW_ORIGINS='["{value}"]'"""
    assert told in asked("localhost", base, origin).json()["detail"]
    monkeypatch.setattr(settings, "cors_allow_origins", [value])
    assert asked("localhost", base, origin).status_code == (200 if value in (base, origin) else 403)


@pytest.mark.usefixtures("hayhooks")
def test_nothing_is_indexed_for_them(workspace: Path) -> None:
    (workspace / "notes.txt").write_text("The Elbe rises in the Giant Mountains.")
    named = json.dumps({"sources": [str(workspace / "notes.txt")]})
    with TestClient(served(workspace / "pipelines", [workspace], "localhost"), base_url=OWN) as web:
        for headers in ({"Origin": OTHER}, {"Origin": "null"}):
            assert web.post("/indexing/run", files={"files": ("a.txt", b"x")}, headers=headers).status_code == 403
            assert web.post("/indexing/run", content=named, headers={**SIMPLE, **headers}).status_code == 403
        for headers in (SIMPLE, {}, {"Content-Type": "application/x-www-form-urlencoded"}):
            refused = web.post("/indexing/run", content=named, headers=headers)
            assert refused.status_code == 415
            assert "application/json" in refused.json()["detail"]
        assert not (workspace / ".rrra" / "store").exists()
        headers = {"Content-Type": "Application/JSON; charset=utf-8", "Origin": OWN}
        assert web.post("/indexing/run", content=named, headers=headers).json()["result"]["writer"]
