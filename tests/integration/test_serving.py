import asyncio
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from chat_server import chatting
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hayhooks import create_app
from hayhooks.server.routers import deploy_router, draw_router, undeploy_router
from hayhooks.settings import settings
from haystack import Document, ExtractedAnswer, GeneratedAnswer, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ChatMessage
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from projects import edit
from rrra_training.studies import served_process
from rrra_training.studies.served_process import start, wait_for
from rrra_training.studies.serving_speed import load, time_query
from starlette.routing import Match

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient
from rrra_haystack import RRRARetriever
from rrra_haystack.indexing.index import index
from rrra_haystack.pipeline_files import read_pipeline
from rrra_haystack.reader.loading import load_reader
from rrra_haystack.serving import application
from rrra_haystack.serving.application import served
from rrra_haystack.serving.pipeline import ServedPipeline, as_text
from rrra_haystack.serving.turns import take_turns

PIPELINES = Path(__file__).parents[2] / "pipelines"
QUESTION = "When was the Golden Gate Bridge opened?"

# Its answers are what a component puts out whose output another component takes, under another name.
OWN = """
components:
  prompt_builder:
    type: haystack.components.builders.chat_prompt_builder.ChatPromptBuilder
    init_parameters: {template: [{role: user, content: [{text: "[1] {{ question }} [2]"}]}], required_variables: "*"}
  llm:
    type: haystack.components.generators.chat.openai.OpenAIChatGenerator
    init_parameters: {api_base_url: URL, model: any}
  answer_builder:
    type: haystack.components.builders.answer_builder.AnswerBuilder
    init_parameters: {}
connections:
  - {sender: prompt_builder.prompt, receiver: llm.messages}
  - {sender: llm.replies, receiver: answer_builder.replies}
inputs:
  question: [answer_builder.query, prompt_builder.question]
outputs:
  answers: llm.replies
"""


@contextmanager
def running(*command: str, folder: Path) -> Iterator[str]:
    """Run a server of this environment, and wait until it listens."""
    with served_process.server(folder, *command) as (address, process):
        wait_for(address, process, 120)
        yield address


def test_hayhooks_serves_the_pipelines_as_they_are(indexed: Path) -> None:
    with running("hayhooks", "run", folder=indexed) as server:
        assert set(httpx.get(f"{server}/status").json()["pipelines"]) == {
            "indexing", "search", "qa", "rag",
        }  # fmt: skip
        response = httpx.post(f"{server}/qa/run", json={"question": QUESTION}, timeout=60)
        assert response.status_code == 200, response.text
        assert "1937" in response.json()["result"]["reader"]["answers"][0]["data"]
        long = httpx.post(f"{server}/qa/run", json={"question": QUESTION + " Tell me." * 110_000}, timeout=120)
        assert long.status_code == 200


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server has its temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(indexed_once: Path, temporary: Path) -> Iterator[str]:
    """``rrra serve`` over a project's pipelines, with a model server for its RAG pipeline."""
    with chatting() as model, pytest.MonkeyPatch.context() as patch:
        patch.chdir(indexed_once)
        patch.setenv("OPENAI_API_KEY", "unused")
        patch.setenv("TMPDIR", str(temporary))
        edit("rag.yaml", "generator", api_base_url=model)
        Path("pipelines", "own.yaml").write_text(OWN.replace("URL", model))
        with running("rrra", "serve", "pipelines", "--allow-folder", ".", folder=indexed_once) as address:
            (folder,) = temporary.glob("rrra-serve-*")
            assert list(folder.iterdir()) == []
            yield address
        # A server that is ended leaves nothing behind.
        assert not folder.exists()


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
    file = indexed_once / "Drava.txt"
    file.write_text("The Drava rises in the Dolomites.")
    written = httpx.post(f"{server}/indexing/run", json={"sources": [str(file)]}, timeout=60)
    assert written.status_code == 200, written.text
    found = httpx.post(f"{server}/search/run", json={"question": "Where does the Drava rise?"}, timeout=60).json()
    document = found["result"]["ranker"]["documents"][0]
    assert (document["content"], document["meta"]["source"]) == (file.read_text(), str(file))


def test_another_process_is_told_that_the_folder_is_served(server: str, indexed_once: Path) -> None:
    assert httpx.post(f"{server}/search/run", json={"question": QUESTION}, timeout=60).status_code == 200
    command = [str(Path(sys.executable).with_name("rrra")), "index", "pipelines"]
    refused = subprocess.run(command, cwd=indexed_once, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    told = " ".join(refused.stderr.split())
    assert "is open in another process. Stop what has it open, as 'rrra serve' does, or use a Qdrant server" in told
    assert "Traceback" not in told


def test_a_file_that_is_indexed_in_both_ways_is_there_once(workspace: Path, files: Path) -> None:
    sources = sorted(map(str, files.iterdir()))

    def post(*sources: str) -> None:
        wrapper = ServedPipeline.from_file("pipelines/indexing.yaml")
        wrapper.setup()
        asyncio.run(wrapper.run_api_async(sources=list(sources)))
        wrapper.pipeline.close()

    def passages() -> set[str]:
        store = QdrantEdgeDocumentStore(".rrra/store", "rrra", embedding_dim=384, use_sparse_embeddings=True)
        held = {document.id for document in store.filter_documents()}
        store.close()
        return held

    post(*sources)
    posted = passages()
    report = index([files], read_pipeline(Path("pipelines/indexing.yaml"), "indexing.yaml", None))
    assert report.passages == len(posted) >= 4
    assert passages() == posted
    post(*(os.path.relpath(source) for source in sources))
    assert passages() == posted


def test_a_model_is_loaded_beside_the_event_loop(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded_in = []

    def load_here(*arguments: object) -> object:
        loaded_in.append(threading.current_thread())
        return load_reader(*arguments)

    monkeypatch.setattr("haystack_integrations.components.readers.rrra.reader.load_reader", load_here)
    wrapper = ServedPipeline.from_file("pipelines/qa.yaml")
    wrapper.setup()

    async def ask() -> list[dict]:
        asked = [wrapper.run_api_async(question=QUESTION) for _ in range(3)]
        messages = [{"role": "user", "content": QUESTION}]
        return await asyncio.gather(*asked, wrapper.run_chat_completion_async("qa", messages, {}))

    *answers, said = asyncio.run(ask())
    assert all("1937" in answer["reader"]["answers"][0].data for answer in answers)
    assert "1937" in said
    (thread,) = loaded_in
    assert thread is not threading.main_thread()
    wrapper.pipeline.close()


def test_searching_while_files_are_indexed(server: str, indexed_once: Path) -> None:
    folder = indexed_once / "many"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}.txt").write_text(f"House number {number} has a red door.")

    def index() -> list[int]:
        files = sorted(map(str, folder.iterdir()))
        parts = [files[number::5] for number in range(5)]
        return [
            httpx.post(f"{server}/indexing/run", json={"sources": part}, timeout=120).status_code for part in parts
        ]  # fmt: skip

    with ThreadPoolExecutor(5) as pool:
        indexing = pool.submit(index)

        def search(number: int) -> list[int]:
            found = []
            with httpx.Client(timeout=60) as web:
                while not indexing.done():
                    path = "qa/run" if number == 0 else "search/run"
                    found.append(web.post(f"{server}/{path}", json={"question": QUESTION}).status_code)
            return found

        searches = [pool.submit(search, number) for number in range(4)]
        assert set(indexing.result()) == {200}
        found = list(chain.from_iterable(one.result() for one in searches))
    assert set(found) == {200}
    assert len(found) >= 8
    answer = httpx.post(f"{server}/search/run", json={"question": "Which house is number 99?"}, timeout=60).json()
    assert "99" in answer["result"]["ranker"]["documents"][0]["content"]


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that change places after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def test_a_store_that_is_only_searched_is_left_alone() -> None:
    written, searched = (QdrantDocumentStore(":memory:", index=name, embedding_dim=8) for name in ("one", "other"))
    pipeline = Pipeline()
    parts = {"writer": DocumentWriter(written), "one": RRRARetriever(written), "other": RRRARetriever(searched)}
    for name, part in parts.items():
        pipeline.add_component(name, part)
    take_turns([pipeline])
    assert parts["other"].document_store is searched
    assert parts["one"].document_store is parts["writer"].document_store is not written


@pytest.mark.usefixtures("impatient_threads")
@pytest.mark.parametrize("engine", ["edge", "local"])
def test_threads_share_an_embedded_store(tmp_path: Path, engine: str) -> None:
    options = {"embedding_dim": 8, "progress_bar": False, "write_batch_size": 20}
    folder = str(tmp_path / "store")
    if engine == "edge":
        store: QdrantDocumentStore = QdrantEdgeDocumentStore(folder, "turns", **options)
    else:
        store = QdrantDocumentStore(path=folder, index="turns", force_disable_check_same_thread=True, **options)
    given = store
    searching, writing = Pipeline(), Pipeline()
    searching.add_component("retriever", RRRARetriever(store, top_k=10))
    writing.add_component("writer", DocumentWriter(store))
    take_turns([searching, writing])
    store = writing.get_component("writer").document_store
    assert (store is given) == (engine == "edge")
    assert searching.get_component("retriever").document_store is store

    def write(name: str, number: int) -> None:
        drawn = random.Random(name)
        passages = [
            Document(content=f"{name} {one}", embedding=[drawn.gauss(0, 1) for _ in range(8)]) for one in range(number)
        ]
        writing.run({"writer": {"documents": passages}})

    write("first", 100)
    with ThreadPoolExecutor(4) as pool:
        later = pool.submit(write, "second", 300)

        def search(number: int) -> None:
            while not later.done():
                found = searching.run({"retriever": {"query_embedding": [number + 1.0] * 8}})
                assert len(found["retriever"]["documents"]) == 10

        assert list(pool.map(search, range(3))) == [None] * 3
        later.result()
    assert store.count_documents() == 400
    store.close()


@pytest.mark.parametrize("model", ["qa", "rag", "own"])
@pytest.mark.parametrize("stream", [False, True])
def test_chat(server: str, model: str, stream: bool) -> None:
    messages = [
        {"role": "user", "content": "What makes bread rise?"},
        {"role": "assistant", "content": "Yeast."},
        {"role": "user", "content": QUESTION},
    ]
    expected = QUESTION if model == "own" else "1937"
    reply = client(server).chat.completions.create(model=model, messages=messages, stream=stream)
    if stream:
        chunks = [chunk.choices[0].delta.content or "" for chunk in reply]
        assert expected in "".join(chunks)
        assert model == "qa" or sum(map(bool, chunks)) > 3
    else:
        assert expected in reply.choices[0].message.content


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (
            [ExtractedAnswer("q", 1, data="1937", document=Document(content="", meta={"source": "a.txt"}))],
            "1937 (a.txt)",
        ),
        ([ExtractedAnswer("q", 1, data="1937")], "1937"),
        ([GeneratedAnswer("In 1937.", "q", []), GeneratedAnswer("Later.", "q", [])], "In 1937."),
        ([ChatMessage.from_assistant("In 1937.")], "In 1937."),
        (["In 1937."], "In 1937."),
        ("In 1937.", "In 1937."),
        ([ExtractedAnswer("q", 1)], "I found no answer in the documents."),
        ([], "I found no answer in the documents."),
        (None, "I found no answer in the documents."),
    ],
)
def test_an_answer_in_words(answers: object, text: str) -> None:
    assert as_text(answers) == text


def test_the_client_of_the_documentation(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    (snippet,) = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    snippet = snippet.replace("http://localhost:1416", server).replace("Who signed the contract?", QUESTION)
    exec(compile(snippet, "snippet", "exec"), {})
    assert "1937" in capsys.readouterr().out


def test_chat_in_parts(server: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "When was the Golden Gate"}, image, {"type": "text", "text": "Bridge opened?"}]
    reply = client(server).chat.completions.create(model="qa", messages=[{"role": "user", "content": parts}])
    assert "1937" in reply.choices[0].message.content
    with pytest.raises(openai.UnprocessableEntityError):
        client(server).chat.completions.create(model="qa", messages=[{"role": "user", "content": [image]}])


def test_models_are_the_pipelines_that_chat(server: str) -> None:
    assert {"qa", "rag", "own"} == {model.id for model in client(server).models.list()}


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
        ("indexing/run", b'{"sources": 5}', 422),
        ("deploy_files", b'{"name": "x", "files": {"pipeline_wrapper.py": "raise SystemExit"}}', 404),
        ("deploy-yaml", b'{"name": "x", "source_code": "components: {}"}', 404),
        ("undeploy/search", b"", 404),
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
    # httpx writes the header in small letters, whatever it is given.
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
    headers = {"Transfer-Encoding": "Chunked", "Content-Type": "application/json"}
    connection.request("POST", "/qa/run", iter([b'{"question": ', b'"What?"}']), headers, encode_chunked=True)
    assert connection.getresponse().status == 411
    connection.close()


def test_a_file_that_is_not_there_is_not_indexed(server: str, indexed_once: Path) -> None:
    response = httpx.post(f"{server}/indexing/run", json={"sources": [str(indexed_once / "nothing.txt")]}, timeout=60)
    assert response.status_code == 200
    assert response.json()["result"] == {"router": {"failed": [str(indexed_once / "nothing.txt")]}}


@pytest.mark.parametrize("name", [".env", "key.pem", "photo.bin", "notes.txt"])
def test_nothing_of_a_file_of_the_server_is_returned(
    server: str, indexed_once: Path, tmp_path: Path, name: str
) -> None:
    for folder, status in ((indexed_once, 200), (tmp_path, 403)):
        secret = folder / name
        secret.write_bytes(b"SECRET\xff\x00\xfe")
        (indexed_once / f"link-{name}").unlink(missing_ok=True)
        (indexed_once / f"link-{name}").symlink_to(secret)
        roundabout = f"{indexed_once}/{os.path.relpath(secret, indexed_once)}"
        for path in (str(secret), str(indexed_once / f"link-{name}"), roundabout):
            response = httpx.post(f"{server}/indexing/run", json={"sources": [path]}, timeout=60)
            assert response.status_code == status, response.text
            assert "SECRET" not in response.text
            if status == 200 and name != "notes.txt":
                assert response.json()["result"] == {"router": {"unclassified": [str(secret)]}}


def test_uploads_are_indexed(server: str) -> None:
    files = [
        ("files", ("../Elbe.txt", b"The Elbe rises in the Giant Mountains.", "application/octet-stream")),
        ("files", ("photo.bin", b"SECRET\xff\x00", "text/plain")),
        ("files", ("Elbe.txt", b"The Elbe ends in the North Sea. " * 80_000, "text/plain")),
    ]
    written = httpx.post(f"{server}/indexing/run", files=files[:2], timeout=60)
    assert written.status_code == 200, written.text
    result = written.json()["result"]
    assert result == {"writer": {"documents_written": 1}, "router": {"unclassified": ["photo.bin"]}}
    found = httpx.post(f"{server}/search/run", json={"question": "Where does the Elbe rise?"}, timeout=60).json()
    document = found["result"]["ranker"]["documents"][0]
    assert document["content"] == "The Elbe rises in the Giant Mountains."
    assert document["meta"]["source"] == "Elbe.txt"
    assert len(files[2][1][1]) > 2**20
    for wrong in ({"files": {"other": b"x"}}, {"data": {"files": "text"}, "files": {"files": ("a.txt", b"a")}}):
        assert httpx.post(f"{server}/indexing/run", **wrong, timeout=60).status_code == 422
    assert httpx.post(f"{server}/v1/files", files=files[:1], data={"purpose": "any"}).status_code == 404
    assert "/v1/files" not in httpx.get(f"{server}/openapi.json").json()["paths"]


@pytest.mark.parametrize("pipeline", ["search", "qa", "rag"])
def test_filters_and_top_k(server: str, pipeline: str) -> None:
    def ask(**options: object) -> httpx.Response:
        return httpx.post(f"{server}/{pipeline}/run", json={"question": QUESTION, **options}, timeout=60)

    def documents(response: httpx.Response) -> list[dict]:
        assert response.status_code == 200, response.text
        (held,) = response.json()["result"].values()
        if pipeline == "search":
            return held["documents"]
        if pipeline == "qa":
            return [one["document"] for one in held["answers"] if one["document"]]
        return held["answers"][0]["documents"]

    usual = documents(ask())
    best = usual[0]["id"]
    one = {"field": "id", "operator": "==", "value": best}
    assert {each["id"] for each in documents(ask(filters=one))} == {best}
    others = documents(ask(filters={**one, "operator": "!="}))
    assert others
    assert best not in {each["id"] for each in others}
    assert len(documents(ask(top_k=1))) <= 1 < len(usual)
    assert documents(ask(top_k=None, filters=None))[0]["id"] == best
    unknown = {"field": "source", "operator": "==", "value": 1}
    filters = [{"filters": "all"}, {"filters": {"field": "source"}}, {"filters": unknown}]
    for wrong in ({"top_k": 0}, {"top_k": "3"}, *filters, {"topk": 3}, {"k" * 5000: 1}):
        refused = ask(**wrong)
        assert refused.status_code == 422, refused.text
        assert len(refused.content) < 1000
    leaf = {"field": "meta.page", "operator": "==", "value": 1}
    assert documents(
        ask(filters={"field": "meta.split_id", "operator": "not in", "value": list(range(10**6, 10**6 + 1000))})
    )
    negated = {"operator": "NOT", "conditions": [leaf]}
    for joined in (leaf, negated):
        assert ask(filters={"operator": "OR", "conditions": [joined] * 100}).status_code == 200
    nested = leaf
    for _ in range(201):
        nested = {"operator": "AND", "conditions": [nested]}
    assert ask(filters=nested["conditions"][0]).status_code == 200
    joined = {"operator": "OR", "conditions": [leaf] * 101}
    for many in ({**leaf, "operator": "in", "value": [1] * 1001}, joined, nested):
        refused = ask(filters=many)
        assert refused.status_code == 422
        assert "more than 100 conditions, 200 of AND, OR and NOT, or 1,000 values" in refused.json()["detail"][0]["msg"]
        assert len(refused.content) < 1000
    bracket, half = {"field": "meta.a[", "value": 1}, {"field": "meta.a", "value": "\ud800"}
    wrong = [{"filters": {"operator": "=="} | one} for one in (bracket, half, {**half, "operator": "\ud800"})]
    for body in (*wrong, {"\ud800": 1}, {"question": "\ud800"}):
        content = json.dumps({"question": QUESTION, **body})
        refused = httpx.post(f"{server}/{pipeline}/run", content=content, timeout=60)
        assert refused.status_code == 422, (body, refused.text)


def test_a_client_cannot_change_what_is_served(server: str, indexed_once: Path) -> None:
    (indexed_once / "search").mkdir()
    kept = [indexed_once / "search" / "notes.txt", indexed_once / "search.yaml"]
    for file in kept:
        file.write_text("Mine.")
    for path in ("undeploy/search", "undeploy/search/", "/undeploy/search", "undeploy%2Fsearch"):
        assert httpx.post(f"{server}/{path}", follow_redirects=True).status_code == 404
    assert httpx.get(f"{server}/draw/search").status_code == 404
    assert all(file.exists() for file in kept)
    assert "search" in httpx.get(f"{server}/status").json()["pipelines"]
    paths = httpx.get(f"{server}/openapi.json").json()["paths"]
    assert "/search/run" in paths
    assert not [path for path in paths if "deploy" in path or "draw" in path]


def test_the_routes_of_hayhooks_are_its_own() -> None:
    """An application of ours lacks what changes the pipelines; one of Hayhooks in the same process has it."""
    routers = (deploy_router, undeploy_router, draw_router)

    def answered(app: FastAPI) -> list[bool]:
        paths = [(route.path, method) for router in routers for route in router.routes for method in route.methods]
        asked = [
            {"type": "http", "method": method, "path": path, "root_path": "", "headers": []} for path, method in paths
        ]
        return [any(one.matches(each)[0] is Match.FULL for one in app.router.routes) for each in asked]

    app, theirs = application._bare_app(), create_app()
    assert not any(answered(app))
    assert all(answered(theirs))
    assert len(answered(theirs)) >= 4
    with TestClient(app) as web:
        assert web.get("/status").json()["pipelines"] == []
        assert web.get("/v1/models").status_code == 200
        assert web.post("/deploy_files", json={}).status_code == 404
        # What it deploys at its start is nothing, and what it may delete is nobody's.
        folder = Path(settings.pipelines_dir)
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_web_pages_of_other_origins_may_not_call(server: str) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert httpx.options(f"{server}/search/run", headers=headers).status_code == 400
    assert "access-control-allow-origin" not in httpx.get(f"{server}/status", headers=headers).headers


def test_eight_clients_at_once(server: str) -> None:
    questions = [QUESTION, "What makes bread rise?", "Which moon is the largest?"]

    def ask(number: int) -> list[int]:
        asked = ["", " ", None] if number == 7 else questions
        with httpx.Client(timeout=120) as web:
            return [web.post(f"{server}/qa/run", json={"question": one}).status_code for one in asked]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[200, 200, 200]] * 7 + [[422, 422, 422]]


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
    assert figures["memory"]["own"] > 100 * 2**20


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signal")
def test_a_terminal_that_is_closed_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "pipelines").mkdir()
    shutil.copy(PIPELINES / "search.yaml", tmp_path / "pipelines")
    # Under nohup a process ignores it, and so do those that it starts.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with served_process.server(tmp_path, "rrra", "serve", "pipelines") as (address, process):
        signal.signal(signal.SIGHUP, before)
        wait_for(address, process, 120)
        assert list(tmp_path.glob("rrra-serve-*"))
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=30)
    assert not list(tmp_path.glob("rrra-serve-*"))


def test_a_start_without_end(indexed: Path, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"The server did not answer in 0\.5 seconds"):
        start(indexed, indexed / "pipelines", QUESTION, patience=0.5)
    with pytest.raises(RuntimeError, match="The server ended before it answered"):
        start(tmp_path, tmp_path / "nothing", QUESTION)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "search.yaml").write_text((indexed / "pipelines" / "search.yaml").read_text())
    with pytest.raises(RuntimeError, match="The server answered the question with an error"):
        start(tmp_path, tmp_path / "pipelines", QUESTION)


def test_a_query_is_measured_by_component(indexed: Path) -> None:
    questions = [QUESTION, "What makes bread rise?", "Which moon is the largest?"]
    figures = time_query(".rrra/store", questions, warm_up=1)
    assert figures["questions"] == 2
    times = figures["milliseconds"]
    assert set(times) == {"whole", "embedder", "retriever", "ranker", "copies by Haystack"}
    parts = sum(own["p50"] for name, own in times.items() if name != "whole")
    assert 0 < parts <= 1.5 * times["whole"]["p50"]
    assert 0 < figures["share of the ranker"] < 1
    assert figures["memory"]["own"] > 100 * 2**20
    with pytest.raises(ValueError, match="There are 3 questions, and the first 3 only warm up"):
        time_query(".rrra/store", questions, warm_up=3)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_query_is_measured_with_words_or_without(
    indexed: Path, monkeypatch: pytest.MonkeyPatch, *, sparse: bool
) -> None:
    seen, search = [], EdgeClient.query_points

    def query_points(client: EdgeClient, *given: Any, **options: Any) -> Any:
        seen.append("prefetch" in options)
        return search(client, *given, **options)

    monkeypatch.setattr(EdgeClient, "query_points", query_points)
    time_query(".rrra/store", [QUESTION, "What makes bread rise?"], warm_up=1, sparse=sparse)
    assert seen == [sparse, sparse]


def test_serving_a_folder_without_pipelines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no pipeline YAML in"):
        served(tmp_path)
    shutil.copy(PIPELINES / "search.yaml", tmp_path)
    shutil.copy(tmp_path / "search.yaml", tmp_path / "search.yml")
    with pytest.raises(ValueError, match=r"search\.yml cannot be served beside search\.yaml"):
        served(tmp_path)
    (tmp_path / "broken.yaml").write_text(json.dumps({"components": 5}))
    with pytest.raises(ValueError, match=r"broken\.yaml cannot be served"):
        served(tmp_path)
