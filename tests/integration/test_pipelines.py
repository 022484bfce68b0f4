import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import ChatServer, chatting
from documented import fences
from haystack import Document, Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from projects import edit, load

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.indexing.index import index
from rrra_haystack.pipeline_files import opened, read_pipeline
from rrra_haystack.qdrant.engines import Engine

QUESTION = "When was the Golden Gate Bridge opened?"
QA_INPUT = {"embedder": {"text": QUESTION}, "ranker": {"query": QUESTION}, "reader": {"query": QUESTION}}
SEARCH_INPUT = {"embedder": {"text": QUESTION}, "ranker": {"query": QUESTION}}
RAG_INPUT = {**SEARCH_INPUT, "prompt_builder": {"question": QUESTION}, "answer_builder": {"query": QUESTION}}


def test_indexing_reads_every_kind_of_file(indexed: Path) -> None:
    pipeline = load("indexing.yaml")
    documents = pipeline.get_component("writer").document_store.filter_documents()
    pipeline.close()
    assert {Path(document.meta["file_path"]).suffix for document in documents} == {".txt", ".md", ".html", ".pdf"}
    assert all(document.meta["rrra_codes"] for document in documents)


def test_search_puts_the_answer_first(indexed: Path) -> None:
    pipeline = load("search.yaml")
    documents = pipeline.run(SEARCH_INPUT)["ranker"]["documents"]
    pipeline.close()
    assert "Golden Gate" in documents[0].content
    scores = [document.score for document in documents]
    assert scores == sorted(scores, reverse=True)


def found(pipeline: Pipeline, question: str) -> list[str]:
    inputs = {"embedder": {"text": question}, "ranker": {"query": question}}
    return [one.content for one in pipeline.run(inputs)["ranker"]["documents"]]


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_search_finds_words_that_the_encoder_does_not_know(
    files: Path, tmp_path: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    (files / "parts.txt").write_text("\n\n".join(f"Part XK-{n * 37} fits the blue pump." for n in range(40)))
    index([files], read_pipeline(None, "indexing.yaml", str(tmp_path / "store"), engine))
    with opened(read_pipeline(None, "search.yaml", str(tmp_path / "store"))) as pipeline:
        pipeline.get_component("retriever").top_k = 6
        assert "XK-962" in found(pipeline, "XK-962")[0]
        assert "Swiss Alps" in found(pipeline, "Where does the Rhine rise?")[0]
    offers = [one for one in caplog.messages if f"rrra copy {tmp_path / 'store'} {tmp_path / 'store-edge'}" in one]
    assert len(offers) == (engine == "local")


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_a_store_without_the_words_is_taken_as_it_is(
    files: Path, tmp_path: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    place = str(tmp_path / "store")
    kind: Any = QdrantEdgeDocumentStore if engine == "edge" else QdrantDocumentStore
    store = kind(path=place, index="rrra", embedding_dim=384)
    assert store.count_documents() == 0
    store.close()
    assert index([files], read_pipeline(None, "indexing.yaml", place)).passages > 3
    assert "so what is written to it gets none" in caplog.text
    with opened(read_pipeline(None, "search.yaml", place)) as pipeline:
        assert "Swiss Alps" in found(pipeline, "Where does the Rhine rise?")[0]
    assert "its documents are found by their meaning alone" in caplog.text


def test_search_loads_and_runs_twice_in_one_process(indexed: Path) -> None:
    found = []
    for _ in range(2):
        pipeline = load("search.yaml")
        found.append([document.id for document in pipeline.run(SEARCH_INPUT)["ranker"]["documents"]])
        pipeline.close()
    assert found[0] == found[1]


def test_qa_answers_from_the_reranked_passages(indexed: Path) -> None:
    pipeline = load("qa.yaml")
    output = pipeline.run(QA_INPUT, include_outputs_from={"ranker"})
    pipeline.close()
    answer = output["reader"]["answers"][0]
    assert "1937" in answer.data
    assert answer.document.id in {document.id for document in output["ranker"]["documents"]}
    assert "rrra_codes" not in answer.document.meta


def test_qa_async_equals_sync(indexed: Path) -> None:
    pipeline = load("qa.yaml")
    answers = pipeline.run(QA_INPUT)["reader"]["answers"]

    async def ask() -> list[dict]:
        return await asyncio.gather(*(pipeline.run_async(QA_INPUT) for _ in range(3)))

    outputs = asyncio.run(ask())
    pipeline.close()
    for output in outputs:
        assert [answer.data for answer in output["reader"]["answers"]] == [answer.data for answer in answers]


def test_one_pipeline_serves_two_threads(indexed: Path) -> None:
    pipeline = load("search.yaml")
    questions = [QUESTION, "What makes bread rise?", "Which moon is the largest?", "Where does the Rhine rise?"] * 3

    def ask(question: str) -> list[str]:
        output = pipeline.run({"embedder": {"text": question}, "ranker": {"query": question}})
        return [document.id for document in output["ranker"]["documents"]]

    serial = [ask(question) for question in questions]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, questions)) == serial
    pipeline.close()


@pytest.fixture
def chat_server() -> Iterator[str]:
    with chatting() as address:
        yield address


@pytest.mark.parametrize("asynchronous", [False, True])
def test_rag_answers_with_the_documents_used(
    indexed: Path, chat_server: str, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    edit("rag.yaml", "generator", api_base_url=chat_server)
    pipeline = load("rag.yaml")
    output = asyncio.run(pipeline.run_async(RAG_INPUT)) if asynchronous else pipeline.run(RAG_INPUT)
    pipeline.close()
    (answer,) = output["answer_builder"]["answers"]
    assert "1937" in answer.data
    assert answer.query == QUESTION
    referenced = [document.meta["referenced"] for document in answer.documents]
    assert referenced == [True] + [False] * (len(referenced) - 1)
    assert len(referenced) > 1
    (request,) = ChatServer.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "llama3.2"
    prompt = request["messages"][-1]["content"]
    assert QUESTION in prompt
    assert prompt.index("Golden Gate") < prompt.index("[2]")


def test_a_passage_without_content_puts_no_word_into_the_prompt() -> None:
    ((_, text),) = [(page, text) for page, text in fences("yaml") if page == "highlights.md"]
    for components in (read_pipeline(None, "rag.yaml", None)["components"], yaml.safe_load(text)):
        builder = ChatPromptBuilder.from_dict(components["prompt_builder"])
        empty = Document(content=None, meta={"rrra": {"highlights": []}})
        prompt = builder.run(documents=[empty], question="Why?")["prompt"][-1].text
        assert prompt.split("[1]")[1].split() == ["Question:", "Why?"]


def test_rag_with_sentences_gives_the_generator_no_more(
    indexed: Path, chat_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    edit("rag.yaml", "generator", api_base_url=chat_server)
    ((_, text),) = [(page, text) for page, text in fences("yaml") if page == "highlights.md"]
    for name, own in yaml.safe_load(text).items():
        edit("rag.yaml", name, **own["init_parameters"])
    pipeline = load("rag.yaml")
    output = pipeline.run(RAG_INPUT, include_outputs_from={"ranker"})
    pipeline.close()
    assert "1937" in output["answer_builder"]["answers"][0].data
    first = output["ranker"]["documents"][0]
    sentences = [one["text"] for one in first.meta["rrra"]["highlights"]]
    prompt = ChatServer.requests[-1]["messages"][-1]["content"]
    given = prompt.split("[1]")[1].split("[2]")[0]
    assert sentences
    assert all(sentence in given for sentence in sentences)
    assert len(given.split()) == sum(len(sentence.split()) for sentence in sentences)
