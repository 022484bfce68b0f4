"""Token codes in a multivector: what Qdrant ranks by is the token match over the codes of the payload."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import numpy as np
import pytest
import torch
from facts import write_facts
from haystack import Document, Pipeline
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client.http import models
from qdrant_client.http.exceptions import ResponseHandlingException
from qdrant_server import qdrant_server
from texts import TEXTS

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRAModel, RRRARetriever
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.words import word_codes
from rrra_haystack.qdrant.clients import open_client
from rrra_haystack.qdrant.collections import MULTIVECTOR_NAME
from rrra_haystack.qdrant.multivectors import create_collection, write_documents

QUESTIONS = ["Where does the Danube rise?", "Who founded Arlow?", "Which moon is the largest?"]
# Qdrant keeps 16 bits a dimension.
TOLERANCE = 5e-4
FOLDER = TemporaryDirectory()
VARIANTS = [
    ("rrra-minilm-l6", "int8"),
    ("rrra-minilm-l6", "2bit"),
    ("rrra-minilm-l6", "1bit"),
    ("all-MiniLM-L6-v2", "1bit"),
]


def new_store(**options: object) -> QdrantDocumentStore:
    """A store over the engine in a folder of its own, unless a server or memory is named."""
    common = {"embedding_dim": 384, "use_sparse_embeddings": True, "progress_bar": False, **options}
    if {"url", "location"} & common.keys():
        return QdrantDocumentStore(**common)
    return QdrantEdgeDocumentStore(str(Path(FOLDER.name) / uuid4().hex), **common)


def filled(documents: list[Document], model: str = "rrra-minilm-l6", **options: object) -> QdrantDocumentStore:
    store = new_store(**options)
    create_collection(store, model=model)
    assert write_documents(store, documents) == len(documents)
    return store


def asked(question: str, model: str = "rrra-minilm-l6") -> dict:
    output = RRRAEmbedder(model, multivector=True).run(question)
    return {"query_embedding": output["embedding"], "query_multivector": output["multivector"]}


def token_match(model: str, question: str, documents: list[Document]) -> dict[str, float]:
    """Mean match of the query tokens over the codes of the payload, by the model's weights without contrast."""
    loaded = RRRAModel.shared(model)
    query = loaded.encode_query(question)
    match = loaded.read_codes([document.meta["rrra_codes"] for document in documents]).match(query.states)
    states = query.states if loaded.config.adapter.query_dim is None else query.hidden
    with torch.inference_mode():
        learned = loaded.adapter.learned_weights(torch.nn.functional.normalize(states, dim=-1))
        scores = (match @ learned).tolist()
    return dict(zip([document.id for document in documents], scores, strict=True))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    folder = write_facts(tmp_path_factory.mktemp("multivectors") / "facts")
    facts = [json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text().splitlines()]
    return [Document(content=text, meta={"number": number}) for number, text in enumerate([*TEXTS, *facts])]


@pytest.fixture(scope="module")
def indexed(corpus: list[Document]) -> list[Document]:
    return RRRADocumentEmbedder(progress_bar=False).run(corpus)["documents"]


@pytest.fixture(scope="module")
def store(indexed: list[Document]) -> Iterator[QdrantDocumentStore]:
    store = filled(indexed)
    yield store
    store.close()


def test_local_mode_finds_the_same(store: QdrantDocumentStore, indexed: list[Document]) -> None:
    told = [
        [(one.id, one.meta) for one in RRRARetriever(own, top_k=5).run(**asked(QUESTIONS[1]))["documents"]]
        for own in (store, filled(indexed, location=":memory:"))
    ]
    assert [name for name, _ in told[0]] == [name for name, _ in told[1]]
    scores = [[meta["rrra"]["token_match"] for _, meta in own] for own in told]
    assert scores[0] == pytest.approx(scores[1], abs=TOLERANCE)


def test_fewer_bits_are_matched_approximately(store: QdrantDocumentStore, indexed: list[Document]) -> None:
    small = new_store()
    create_collection(small, datatype=models.Datatype.TURBO8)
    write_documents(small, indexed)
    exact, approximate = (RRRARetriever(own, top_k=5).run(**asked(QUESTIONS[1]))["documents"] for own in (store, small))
    assert exact[0].id == approximate[0].id
    scores = [[one.score for one in own] for own in (exact, approximate)]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    small.close()


def test_quantised_tokens_are_matched_approximately(indexed: list[Document]) -> None:
    int8 = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
    store = new_store(optimizers_config={"indexing_threshold": 1})
    create_collection(store, quantization=int8)
    write_documents(store, indexed)
    store.optimize()
    exact, approximate = (
        RRRARetriever(store, top_k=5, search_params={"quantization": own}).run(**asked(QUESTIONS[1]))["documents"]
        for own in ({"ignore": True}, {"rescore": False})
    )
    assert exact[0].id == approximate[0].id
    scores = [[one.score for one in own] for own in (exact, approximate)]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    store.close()


@pytest.mark.parametrize(("model", "code"), VARIANTS)
def test_the_ranking_is_the_token_match_over_codes_of_the_payload(
    corpus: list[Document], model: str, code: str
) -> None:
    documents = RRRADocumentEmbedder(model, code=code, progress_bar=False).run(corpus)["documents"]
    retriever = RRRARetriever(filled(documents, model))
    for question in QUESTIONS:
        expected = token_match(model, question, documents)
        found = retriever.run(**asked(question, model))["documents"]
        scores = np.array([expected[document.id] for document in found])
        assert len(found) == len(documents)
        assert [document.score for document in found] == pytest.approx(scores.tolist(), abs=TOLERANCE)
        # The same order; what is closer together than the tolerance may change places.
        assert (np.diff(scores) <= TOLERANCE).all()
        assert found[0].id == max(expected, key=expected.__getitem__)
        assert [document.meta["rrra"]["token_match"] for document in found] == [document.score for document in found]


@pytest.mark.parametrize(("model", "code"), VARIANTS)
def test_returned_codes_are_those_that_were_made(corpus: list[Document], model: str, code: str) -> None:
    documents = RRRADocumentEmbedder(model, code=code, progress_bar=False).run(corpus)["documents"]
    retriever = RRRARetriever(filled(documents, model), return_codes=True)
    found = {one.id: one for one in retriever.run(**asked(QUESTIONS[0], model))["documents"]}
    same = [found[document.id] for document in documents]
    assert [one.meta["rrra_codes"] for one in same] == [one.meta["rrra_codes"] for one in documents]
    ranker = RRRAAdapterRanker(model, top_k=100)
    ranked, expected = (ranker.run(query=QUESTIONS[0], documents=own)["documents"] for own in (same, documents))
    assert [(one.id, one.score, one.meta) for one in ranked] == [(one.id, one.score, one.meta) for one in expected]


def test_the_payload_has_no_codes(store: QdrantDocumentStore, indexed: list[Document]) -> None:
    points, _ = store._client.scroll(store.index, limit=100, with_vectors=True)
    assert len(points) == len(indexed)
    for point in points:
        assert "rrra_codes" not in point.payload["meta"]
        # Head, pooled code and words, nothing of the tokens.
        head = 40 + 384 + 2 * len(word_codes(point.payload["content"]))
        assert len(point.payload["meta"]["rrra_head"]) <= -(-head // 3) * 4
        assert len(point.vector[MULTIVECTOR_NAME][0]) == 128
    for output in ({"query_embedding": [0.1] * 384}, asked(QUESTIONS[0])):
        found = RRRARetriever(store).run(**output)["documents"]
        assert not any({"rrra_codes", "rrra_head"} & document.meta.keys() for document in found)
        assert all(document.embedding is None for document in found)


def test_the_collection_is_made_as_asked() -> None:
    store = new_store(location=":memory:", similarity="dot_product", sparse_idf=True)
    quantization = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
    create_collection(store, on_disk=True, quantization=quantization)
    params = store._client.get_collection(store.index).config.params
    tokens = params.vectors[MULTIVECTOR_NAME]
    assert (tokens.size, tokens.distance, tokens.datatype) == (128, models.Distance.DOT, models.Datatype.FLOAT16)
    assert tokens.multivector_config.comparator == models.MultiVectorComparator.MAX_SIM
    assert (tokens.hnsw_config.m, tokens.on_disk, tokens.quantization_config) == (0, True, quantization)
    assert (params.vectors["text-dense"].size, params.vectors["text-dense"].distance) == (384, models.Distance.DOT)
    assert params.sparse_vectors["text-sparse"].modifier == models.Modifier.IDF


def test_payload_indexes_that_a_kill_left_out_are_made(tmp_path: Path) -> None:
    options = {"embedding_dim": 384, "use_sparse_embeddings": True}
    create_collection(QdrantEdgeDocumentStore(str(tmp_path / "edge"), **options))
    fields = [{"field_name": "meta.kind", "field_schema": "keyword"}]
    store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), payload_fields_to_index=fields, **options)
    for _ in range(2):
        create_collection(store)
        assert store._client.get_collection(store.index).payload_schema.keys() == {"meta.kind"}


def test_one_request_with_a_dense_prefetch(store: QdrantDocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client, seen = store._client, []
    query_points = client.query_points
    monkeypatch.setattr(client, "query_points", lambda **request: seen.append(request) or query_points(**request))
    query = asked(QUESTIONS[0])
    retriever = RRRARetriever(store, top_k=3, prefetch_limit=7, search_params={"hnsw_ef": 64})
    found = retriever.run(**query)["documents"]
    (request,) = seen
    (dense,) = request["prefetch"]
    assert (dense.using, dense.limit, dense.params.hnsw_ef) == ("text-dense", 7, 64)
    assert (request["using"], request["limit"], request["query"]) == (MULTIVECTOR_NAME, 3, query["query_multivector"])
    near = RRRARetriever(store, top_k=7).run(query_embedding=query["query_embedding"])["documents"]
    assert len(found) == 3
    assert {document.id for document in found} <= {document.id for document in near}
    # Never fewer candidates than are to be returned.
    assert len(RRRARetriever(store, top_k=20, prefetch_limit=1).run(**query)["documents"]) == 20


def test_filters_thresholds_groups_and_embeddings(store: QdrantDocumentStore) -> None:
    query = asked(QUESTIONS[0])
    few = {"field": "meta.number", "operator": "<", "value": 3}
    retriever = RRRARetriever(store, prefetch_limit=3)
    found = retriever.run(**query, filters=few)["documents"]
    assert sorted(document.meta["number"] for document in found) == [0, 1, 2]
    best = found[0].score
    assert len(retriever.run(**query, score_threshold=best - 1e-3)["documents"]) == 1
    assert retriever.run(**query, score_threshold=best + 1e-3)["documents"] == []
    (scaled,) = retriever.run(**query, top_k=1, scale_score=True)["documents"]
    assert (scaled.score, scaled.meta["rrra"]["token_match"]) == (pytest.approx((best + 1) / 2), pytest.approx(best))
    grouped = RRRARetriever(store).run(**query, group_by="meta.number", group_size=1, top_k=2)["documents"]
    assert [document.score for document in grouped] == [found[0].score, grouped[1].score]
    (one,) = retriever.run(**query, top_k=1, return_embedding=True)["documents"]
    assert len(one.embedding) == 384


def test_candidates_of_both_searches(corpus: list[Document]) -> None:
    documents = RRRADocumentEmbedder(sparse=True, progress_bar=False).run(corpus)["documents"]
    retriever = RRRARetriever(filled(documents, sparse_idf=True), prefetch_limit=1, top_k=1)
    dense = asked("How does one make tea?")
    words = RRRAEmbedder(sparse=True).run("Szent-Gyorgyi")["sparse_embedding"]
    tokens = asked("Who isolated vitamin C?")["query_multivector"]
    (found,) = retriever.run(dense["query_embedding"], query_sparse_embedding=words, query_multivector=tokens)[
        "documents"
    ]
    assert found.content.startswith("Vitamin C")


def test_async_equals_sync_and_a_query_without_tokens_is_a_dense_search(store: QdrantDocumentStore) -> None:
    query = asked(QUESTIONS[0])
    retriever = RRRARetriever(store)
    assert asyncio.run(retriever.run_async(**query)) == retriever.run(**query)
    dense = retriever.run(query["query_embedding"])
    assert retriever.run(query["query_embedding"], query_multivector=[]) == dense
    assert not any("rrra" in document.meta for document in dense["documents"])


def test_documents_without_tokens_are_written_and_never_matched(indexed: list[Document]) -> None:
    (empty,) = RRRADocumentEmbedder(progress_bar=False).run([Document(id="empty", content="")])["documents"]
    store = filled([*indexed[:2], empty])
    retriever = RRRARetriever(store)
    query = asked(QUESTIONS[0])
    assert {document.id for document in retriever.run(**query)["documents"]} == {one.id for one in indexed[:2]}
    assert len(retriever.run(query["query_embedding"])["documents"]) == 3


def test_policies_and_large_batches(indexed: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.qdrant.requests.MAX_REQUEST_BYTES", 100_000)
    store = filled(indexed)
    assert store.count_documents() == len(indexed)
    assert write_documents(store, indexed, DuplicatePolicy.SKIP) == 0
    changed = replace(indexed[0], meta=indexed[0].meta | {"number": 100})
    assert write_documents(store, [changed], DuplicatePolicy.OVERWRITE) == 1
    assert RRRARetriever(store, top_k=1).run(**asked(QUESTIONS[0]))["documents"][0].meta["number"] == 100


def test_through_http(indexed: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    with qdrant_server(key="secret") as server:
        remote = filled(indexed, url=server.url, api_key=Secret.from_env_var("QDRANT_API_KEY"))
        query = asked(QUESTIONS[1])
        retriever = RRRARetriever(remote, top_k=5, return_codes=True)
        expected = RRRARetriever(filled(indexed, location=":memory:"), top_k=5, return_codes=True).run(**query)[
            "documents"
        ]
        for found in (retriever.run(**query), asyncio.run(_run_and_close(retriever, query))):
            assert [one.meta for one in found["documents"]] == [one.meta for one in expected]


async def _run_and_close(retriever: RRRARetriever, query: dict) -> dict:
    found = await retriever.run_async(**query)
    await retriever.close_async()
    return found


def test_a_pipeline_from_yaml(store: QdrantDocumentStore, indexed: list[Document]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embedder", RRRAEmbedder(multivector=True, as_one=True))
    pipeline.add_component("retriever", RRRARetriever(store, top_k=10, prefetch_limit=20, return_codes=True))
    pipeline.add_component("ranker", RRRAAdapterRanker(top_k=3))
    pipeline.connect("embedder.query", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")
    loaded = Pipeline.loads(pipeline.dumps())
    assert loaded.dumps() == pipeline.dumps()
    result = pipeline.run({"embedder": {"text": QUESTIONS[0]}, "ranker": {"query": QUESTIONS[0]}})
    assert result["ranker"]["documents"][0].id == indexed[0].id


# --- what is wrong is said in one sentence ---


def test_a_collection_without_the_multivector(indexed: list[Document]) -> None:
    plain = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    plain.write_documents(indexed)
    named = new_store()
    named.write_documents(indexed)
    query = asked(QUESTIONS[0])
    for store in (plain, named):
        with pytest.raises(ValueError, match=r"'Document' has no multivector 'rrra_tokens'\. Create it with create_"):
            RRRARetriever(store).run(**query)
        with pytest.raises(ValueError, match="has no multivector"):
            RRRARetriever(store, return_codes=True).run(query["query_embedding"])
        with pytest.raises(ValueError, match="has no multivector"):
            write_documents(store, indexed)
    with pytest.raises(ValueError, match="use_sparse_embeddings=True"):
        create_collection(plain)
    with pytest.raises(ValueError, match=r"exists, and its multivector 'rrra_tokens' has no dimensions"):
        create_collection(named)


def test_a_missing_collection_is_not_made_by_writing(indexed: list[Document]) -> None:
    store = new_store()
    with pytest.raises(ValueError, match="has no multivector"):
        write_documents(store, indexed)
    create_collection(store)
    create_collection(store)
    assert write_documents(store, indexed) == len(indexed)


def test_a_failed_check_leaves_the_store_closed(indexed: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server() as server:
        store = new_store(url=server.url)
        with pytest.raises(ValueError, match="has no multivector"):
            write_documents(store, indexed)
        # The store makes its collection when it is opened.
        assert store.write_documents(indexed) == len(indexed)


def test_creating_survives_faults_and_a_lost_answer(indexed: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server() as server:
        server.faults, server.where = [503], "PUT /collections/Document"
        store = new_store(url=server.url)
        create_collection(store)
        assert not server.faults
        assert write_documents(store, indexed) == len(indexed)
        # The server made it, and its answer was lost.
        other = new_store(url=server.url, index="other")
        client = open_client(other)
        create = client.create_collection

        def lost(*arguments: object, **named: object) -> None:
            create(*arguments, **named)
            raise ResponseHandlingException(httpx.ReadTimeout("lost"))

        monkeypatch.setattr(client, "create_collection", lost)
        create_collection(other)
        assert write_documents(other, indexed) == len(indexed)


def test_another_model(store: QdrantDocumentStore) -> None:
    with pytest.raises(ValueError, match=r"tokens have 384 dimensions, but .* holds 128"):
        RRRARetriever(store).run(**asked(QUESTIONS[0], "all-MiniLM-L6-v2"))
    with pytest.raises(ValueError, match=r"has 128 dimensions where .* needs 384"):
        create_collection(store, model="all-MiniLM-L6-v2")


def test_documents_without_codes_or_with_damaged_ones(store: QdrantDocumentStore, indexed: list[Document]) -> None:
    bare = Document(id="bare", content="Tea", embedding=[0.1] * 384)
    with pytest.raises(ValueError, match="Document bare has no token codes"):
        write_documents(store, [bare])
    sound = indexed[0].meta["rrra_codes"]
    for codes in ("nonsense", sound[:40], sound[:41], f"{sound[:20]}!{sound[21:]}", sound[:-32], 5):
        with pytest.raises(InvalidCodesError, match="document bare"):
            write_documents(store, [replace(bare, meta={"rrra_codes": codes})])


def test_vectors_that_were_changed_are_noticed(indexed: list[Document]) -> None:
    store = filled(indexed[:2])
    (point,) = store._client.scroll(store.index, limit=1, with_vectors=True)[0]
    point.vector[MULTIVECTOR_NAME][0][0] += 0.1
    changed = models.PointStruct(id=point.id, vector=point.vector, payload=point.payload)
    store._client.upsert(store.index, [changed])
    found = RRRARetriever(store, return_codes=True).run(**asked(QUESTIONS[0]))["documents"]
    with pytest.raises(InvalidCodesError, match="check sum is wrong"):
        RRRAAdapterRanker().run(query=QUESTIONS[0], documents=found)


def test_a_head_that_was_changed_is_noticed(indexed: list[Document]) -> None:
    store = filled(indexed[:1])
    (point,) = store._client.scroll(store.index, limit=1)[0]
    sound = point.payload["meta"]["rrra_head"]
    for head in (sound[:41], f"{sound[:8]}!{sound[9:]}", sound[:-4], "nonsense"):
        store._client.set_payload(store.index, {"rrra_head": head}, [point.id], key="meta")
        with pytest.raises(InvalidCodesError, match=f"document {indexed[0].id} are damaged"):
            RRRARetriever(store, return_codes=True).run(**asked(QUESTIONS[0]))


def test_prefetch_limit_must_be_positive(store: QdrantDocumentStore) -> None:
    with pytest.raises(ValueError, match="prefetch_limit must be > 0, but got 0"):
        RRRARetriever(store, prefetch_limit=0)
