import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import httpx
import openai
import pytest
from chat_server import chatting
from projects import edit
from rrra_training.serving_speed import load, start, time_query

QUESTION = "When was the Golden Gate Bridge opened?"


@contextmanager
def running(*command: str, folder: Path) -> Iterator[str]:
    """Run a server of this environment on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name(command[0])
    server = subprocess.Popen(
        [program, *command[1:], "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"{address}/status")
            break
        except httpx.ConnectError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    try:
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_hayhooks_serves_the_pipelines_as_they_are(indexed: Path) -> None:
    with running("hayhooks", "run", folder=indexed) as server:
        assert set(httpx.get(f"{server}/status").json()["pipelines"]) == {
            "indexing", "search", "qa", "rag", "hybrid", "indexing-hybrid",
        }  # fmt: skip
        response = httpx.post(f"{server}/qa/run", json={"question": QUESTION}, timeout=60)
        assert response.status_code == 200, response.text
        assert "1937" in response.json()["result"]["reader"]["answers"][0]["data"]
        long = httpx.post(f"{server}/qa/run", json={"question": QUESTION + " Tell me." * 110_000}, timeout=120)
        assert long.status_code == 200


@pytest.fixture(scope="module")
def server(indexed_once: Path) -> Iterator[str]:
    """``rrra serve`` over a project's pipelines, with a model server for its RAG pipeline."""
    with chatting() as model, pytest.MonkeyPatch.context() as patch:
        patch.chdir(indexed_once)
        patch.setenv("OPENAI_API_KEY", "unused")
        edit("rag.yaml", "generator", api_base_url=model)
        with running("rrra", "serve", "pipelines", folder=indexed_once) as address:
            yield address


def client(server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="unused", max_retries=0)


def test_several_pipelines_answer_over_one_embedded_store(server: str) -> None:
    answer = httpx.post(f"{server}/qa/run", json={"question": QUESTION}, timeout=60).json()
    assert "1937" in answer["result"]["reader"]["answers"][0]["data"]
    found = httpx.post(f"{server}/search/run", json={"question": QUESTION}, timeout=60).json()
    assert "Golden Gate" in found["result"]["ranker"]["documents"][0]["content"]
    written = httpx.post(f"{server}/rag/run", json={"question": QUESTION}, timeout=60).json()
    assert "1937" in written["result"]["answer_builder"]["answers"][0]["data"]


def test_a_file_that_is_indexed_over_http_is_found_at_once(server: str, indexed_once: Path) -> None:
    (indexed_once / "danube.txt").write_text("The Danube rises in the Black Forest.")
    sources = [str(indexed_once / "danube.txt")]
    written = httpx.post(f"{server}/indexing/run", json={"sources": sources}, timeout=60)
    assert written.status_code == 200, written.text
    answer = httpx.post(f"{server}/qa/run", json={"question": "Where does the Danube rise?"}, timeout=60).json()
    assert "Black Forest" in answer["result"]["reader"]["answers"][0]["data"]


@pytest.mark.parametrize("model", ["qa", "rag"])
@pytest.mark.parametrize("stream", [False, True])
def test_chat(server: str, model: str, stream: bool) -> None:
    messages = [
        {"role": "user", "content": "What makes bread rise?"},
        {"role": "assistant", "content": "Yeast."},
        {"role": "user", "content": QUESTION},
    ]
    reply = client(server).chat.completions.create(model=model, messages=messages, stream=stream)
    if stream:
        chunks = [chunk.choices[0].delta.content or "" for chunk in reply]
        assert "1937" in "".join(chunks)
        assert model == "qa" or sum(map(bool, chunks)) > 3
    else:
        assert "1937" in reply.choices[0].message.content


def test_the_client_of_the_documentation(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    (snippet,) = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    snippet = snippet.replace("http://localhost:1416", server).replace("Who signed the contract?", QUESTION)
    exec(compile(snippet, "snippet", "exec"), {})
    assert "1937" in capsys.readouterr().out


def test_models_are_the_pipelines(server: str) -> None:
    assert {"qa", "rag", "search"} <= {model.id for model in client(server).models.list()}


@pytest.mark.parametrize(
    "question", [None, 5, ["a list"], "", " \n ", "long " * 2000], ids=["null", "int", "list", "empty", "blank", "long"]
)
@pytest.mark.parametrize("pipeline", ["qa", "search", "rag"])
def test_a_bad_question_is_refused(server: str, pipeline: str, question: object) -> None:
    response = httpx.post(f"{server}/{pipeline}/run", json={"question": question})
    assert response.status_code == 422
    (detail,) = response.json()["detail"]
    assert detail["loc"] == ["body", "question"]
    assert detail["msg"]
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("qa/run", b"{}", 422),
        ("qa/run", b"no json", 422),
        ("unknown/run", b'{"question": "What?"}', 404),
        ("qa/run", b'{"question": "' + b"a" * 2**20 + b'"}', 413),
        ("v1/chat/completions", b'{"model": "qa", "messages": []}', 422),
        ("v1/chat/completions", b'{"model": "qa", "messages": [{"role": "user", "content": " "}]}', 422),
        ("v1/chat/completions", b'{"model": "search", "messages": [{"role": "user", "content": "What?"}]}', 400),
        ("v1/chat/completions", b'{"model": "unknown", "messages": [{"role": "user", "content": "What?"}]}', 404),
        ("v1/chat/completions", b'{"messages": 5}', 422),
    ],
)
def test_a_bad_request_is_refused(server: str, path: str, content: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{server}/{path}", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["detail"]
    assert len(response.content) < 2000


def test_a_body_of_unknown_length_is_refused(server: str) -> None:
    response = httpx.post(f"{server}/qa/run", content=iter([b'{"question": ', b'"What?"}']))
    assert response.status_code == 411


def test_eight_clients_at_once(server: str) -> None:
    deadline = time.monotonic() + 5
    questions = [QUESTION, "What makes bread rise?", "Which moon is the largest?", "Where does the Rhine rise?"]

    def ask(number: int) -> list[int]:
        found = []
        with httpx.Client(timeout=60) as web:
            while time.monotonic() < deadline:
                body = {"question": "" if number == 7 else questions[number % 4]}
                found.append(web.post(f"{server}/qa/run", json=body).status_code)
                time.sleep(0.05 if number == 7 else 0)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert set(found[7]) == {422}
    answered = list(chain.from_iterable(found[:7]))
    assert set(answered) == {200}
    assert len(answered) >= 16


def test_the_load_is_measured(server: str) -> None:
    figures = load(f"{server}/search/run", [QUESTION], clients=2, seconds=1)
    assert figures["errors"] == 0
    assert figures["requests"] >= 2
    assert 0 < figures["milliseconds"]["p50"] <= figures["milliseconds"]["p95"]
    refused = load(f"{server}/search/run", [""], clients=1, seconds=0.2)
    assert refused["errors"] == refused["requests"] > 0


def test_the_start_is_measured(indexed: Path) -> None:
    figures = start(indexed, indexed / "pipelines", QUESTION)
    assert 0 < figures["seconds until it listens"] < figures["seconds until the first answer"]
    assert figures["bytes"] > 100 * 2**20


def test_a_query_is_measured_by_component(indexed: Path) -> None:
    figures = time_query(".rrra/store", [QUESTION] * 3, warm_up=1)
    times = figures["milliseconds"]
    assert set(times) == {"whole", "embedder", "retriever", "ranker", "copies by Haystack"}
    parts = sum(own["p50"] for name, own in times.items() if name != "whole")
    assert 0 < parts <= 1.5 * times["whole"]["p50"]
    assert 0 < figures["share of the ranker"] < 1


def test_serving_a_folder_without_pipelines(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("rrra")
    done = subprocess.run([program, "serve", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "There is no pipeline YAML in" in " ".join(done.stderr.split())
    (tmp_path / "broken.yaml").write_text(json.dumps({"components": 5}))
    done = subprocess.run([program, "serve", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "broken.yaml cannot be served" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
