"""The page that lists what a server can be asked."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from fastapi.testclient import TestClient
from hayhooks.server.pipelines.registry import registry

from rrra_haystack.serving.application import served

PIPELINES = Path(__file__).parents[2] / "pipelines"
NAME = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("served") / "pipelines"
    shutil.copytree(PIPELINES, folder)
    shutil.copy(folder / "search.yaml", folder / f"{NAME}.yaml")
    yield TestClient(served(folder), base_url="http://localhost")
    # Hayhooks keeps the pipelines of a process in one place.
    registry.clear()


def test_the_page_lists_what_can_be_asked(client: TestClient) -> None:
    shown = client.get("/")
    assert (shown.status_code, shown.url.path) == (200, "/docs")
    asked = re.findall(r"<h2>(.*?)</h2>", shown.text)
    described = client.get("/openapi.json").json()["paths"]
    assert len(asked) == sum(map(len, described.values()))
    assert {"POST /indexing/run", "POST /search/run", "POST /v1/chat/completions"} <= set(asked)
    # Pipelines come first, each with its keys.
    assert all(one.endswith("/run") for one in asked[:5])
    (search,) = re.findall(r"<h2>POST /search/run</h2>(.*?)</section>", shown.text, re.DOTALL)
    assert re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", search) == [
        ("question", "string"),
        ("filters", "object or null, may be left out"),
        ("top_k", "integer or null, may be left out"),
    ]
    (indexing,) = re.findall(r"<h2>POST /indexing/run</h2>(.*?)</section>", shown.text, re.DOTALL)
    assert "array of string" in indexing
    assert "multipart/form-data" in indexing


def test_the_page_runs_and_fetches_nothing(client: TestClient) -> None:
    shown = client.get("/docs")
    assert "<script" not in shown.text
    assert "<img" not in shown.text
    assert "&lt;img src=x" in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")
    for page in ("/redoc", "/docs/oauth2-redirect"):
        assert client.get(page).status_code == 404


def test_behind_a_proxy_the_way_to_the_page_has_its_prefix(client: TestClient) -> None:
    behind = TestClient(client.app, base_url="http://localhost", root_path="/rag")
    assert behind.get("/", follow_redirects=False).headers["location"] == "/rag/docs"


@needs_chromium
@pytest.mark.parametrize("width", [1400, 375])
def test_the_page_fits(client: TestClient, tmp_path: Path, width: int) -> None:
    page = tmp_path / "docs.html"
    page.write_text(client.get("/docs").text)
    with chromium(width, 800) as driver:
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
