import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from haystack import Document, Pipeline
from haystack.document_stores.types import FilterPolicy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client.http import models

from rrra_haystack import RRRARetriever

TYPE = "haystack_integrations.components.retrievers.rrra.retriever.RRRARetriever"


def test_to_dict_of_the_defaults() -> None:
    store = QdrantDocumentStore(":memory:")
    assert RRRARetriever(store).to_dict() == {
        "type": TYPE,
        "init_parameters": {
            "document_store": store.to_dict(),
            "filters": None,
            "top_k": 100,
            "scale_score": False,
            "return_embedding": False,
            "filter_policy": "replace",
            "score_threshold": None,
            "group_by": None,
            "group_size": None,
            "search_params": None,
            "prefetch_limit": 500,
            "return_codes": False,
            "sparse": True,
            "content_field": "content",
        },
    }


def test_round_trip_and_yaml() -> None:
    given = RRRARetriever(
        QdrantDocumentStore(":memory:", index="mine"),
        filters={"field": "meta.number", "operator": ">", "value": 3},
        top_k=7,
        filter_policy="merge",
        score_threshold=0.0,
        search_params={"hnsw_ef": 128, "exact": False, "quantization": {"rescore": True}},
    )
    assert RRRARetriever.from_dict(given.to_dict()).to_dict() == given.to_dict()
    pipeline = Pipeline()
    pipeline.add_component("retriever", given)
    assert Pipeline.loads(pipeline.dumps()).get_component("retriever").to_dict() == given.to_dict()


def test_it_retrieves_with_codes_and_without_embeddings(store: QdrantDocumentStore, query: list[float]) -> None:
    documents = RRRARetriever(store).run(query_embedding=query)["documents"]
    assert len(documents) == 12
    assert documents[0].content.startswith("The Danube rises")
    assert all(document.embedding is None and document.meta["rrra_codes"] for document in documents)
    scores = [document.score for document in documents]
    assert scores == sorted(scores, reverse=True)


def test_run_time_values_override_even_if_they_are_zero(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store, top_k=3, score_threshold=0.9, return_embedding=True, scale_score=True)
    assert retriever.run(query_embedding=query, scale_score=False)["documents"] == []
    found = retriever.run(query_embedding=query, score_threshold=0.0, return_embedding=False, scale_score=False)
    assert [document.embedding for document in found["documents"]] == [None] * 3
    assert len(retriever.run(query_embedding=query, score_threshold=-1.0, top_k=5)["documents"]) == 5


def test_filters_and_groups(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store)
    few = {"field": "meta.number", "operator": "<", "value": 3}
    found = retriever.run(query_embedding=query, filters=few)["documents"]
    assert sorted(document.meta["number"] for document in found) == [0, 1, 2]
    native = models.Filter(must=[models.FieldCondition(key="meta.number", match=models.MatchValue(value=4))])
    (only,) = retriever.run(query_embedding=query, filters=native)["documents"]
    assert only.meta["number"] == 4
    grouped = retriever.run(query_embedding=query, group_by="meta.number", group_size=1, top_k=2)["documents"]
    assert len(grouped) == 2


def test_init_defaults() -> None:
    store = QdrantDocumentStore(":memory:")
    retriever = RRRARetriever(store)
    assert retriever.document_store is store
    assert retriever.top_k == 100
    assert retriever.filter_policy == FilterPolicy.REPLACE
    assert retriever.return_embedding is False
    assert retriever.search_params is None


def test_a_pipeline_from_yaml_searches(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    store = QdrantDocumentStore(path=str(tmp_path / "qdrant"), embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    store.close()
    pipeline = Pipeline()
    pipeline.add_component("retriever", RRRARetriever(store, top_k=3))
    loaded = Pipeline.loads(pipeline.dumps())
    found = loaded.run({"retriever": {"query_embedding": query}})["retriever"]["documents"]
    assert found[0].content.startswith("The Danube rises")
    assert len(found) == 3
    loaded.close()


def test_retrieved_embeddings_are_those_of_the_documents(
    store: QdrantDocumentStore, query: list[float], embedded: list[Document]
) -> None:
    by_id = {document.id: document for document in embedded}
    found = RRRARetriever(store).run(query_embedding=query, return_embedding=True)["documents"]
    assert {document.id for document in found} == by_id.keys()
    for document in found:
        assert document.embedding == pytest.approx(by_id[document.id].embedding, abs=0.01)
        assert document.meta == by_id[document.id].meta


def test_scaled_scores(store: QdrantDocumentStore, query: list[float]) -> None:
    plain = RRRARetriever(store).run(query_embedding=query)["documents"]
    scaled = RRRARetriever(store, scale_score=True).run(query_embedding=query)["documents"]
    assert [d.score for d in scaled] == pytest.approx([(d.score + 1) / 2 for d in plain])
    assert [d.id for d in scaled] == [d.id for d in plain]


def test_a_threshold_at_init(store: QdrantDocumentStore, query: list[float]) -> None:
    scores = [document.score for document in RRRARetriever(store).run(query_embedding=query)["documents"]]
    cut = (scores[2] + scores[3]) / 2
    assert len(RRRARetriever(store, score_threshold=cut).run(query_embedding=query)["documents"]) == 3


def test_groups(embedded: list[Document], query: list[float]) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    store.write_documents([replace(d, meta={**d.meta, "parity": d.meta["number"] % 2}) for d in embedded])

    def sizes(retriever: RRRARetriever, **options: object) -> list[int]:
        found = retriever.run(query_embedding=query, **options)["documents"]
        parities = [document.meta["parity"] for document in found]
        return sorted(parities.count(parity) for parity in set(parities))

    assert sizes(RRRARetriever(store, group_by="meta.parity")) == [3, 3]
    assert sizes(RRRARetriever(store, group_by="meta.parity", group_size=1)) == [1, 1]
    assert sizes(RRRARetriever(store, group_by="meta.parity", group_size=1), group_size=5) == [5, 5]
    assert sizes(RRRARetriever(store), group_by="meta.parity", group_size=2, top_k=1) == [2]


@pytest.mark.filterwarnings("ignore:.*search_params")  # the embedded Qdrant says that it ignores them
@pytest.mark.parametrize(
    "search_params",
    [{"hnsw_ef": 128}, {"exact": True}, {"exact": False}, {"quantization": {"rescore": True, "oversampling": 2.0}}],
)
def test_known_search_params(
    store: QdrantDocumentStore, query: list[float], search_params: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [document.id for document in RRRARetriever(store).run(query_embedding=query)["documents"]]
    at_init = RRRARetriever(store, search_params=search_params)
    assert [document.id for document in at_init.run(query_embedding=query)["documents"]] == expected
    at_run = RRRARetriever(store, search_params={"hnsw_ef": 7})
    output = at_run.run(query_embedding=query, search_params=search_params)
    assert [document.id for document in output["documents"]] == expected
    asked = []
    query_points = store._client.query_points
    monkeypatch.setattr(store._client, "query_points", lambda **asking: asked.append(asking) or query_points(**asking))
    at_init.run(query_embedding=query)
    at_run.run(query_embedding=query, search_params=search_params)
    assert [one["search_params"] for one in asked] == [models.SearchParams(**search_params)] * 2


@pytest.mark.parametrize(
    ("search_params", "message"),
    [
        ({"ef": 3}, "search_params: ef: .* Qdrant knows: acorn, .*exact, hnsw_ef"),
        ({"hnsw_ef": "many"}, "search_params: hnsw_ef: "),
        ({"quantization": {"rescoring": True}}, "search_params: quantization.rescoring: "),
    ],
)
def test_unknown_search_params(
    store: QdrantDocumentStore, query: list[float], search_params: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store, search_params=search_params)
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store).run(query_embedding=query, search_params=search_params)


@pytest.mark.parametrize("wrong", [0, -1])
def test_top_k_must_be_positive(store: QdrantDocumentStore, query: list[float], wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRARetriever(store, top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRARetriever(store).run(query_embedding=query, top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        asyncio.run(RRRARetriever(store).run_async(query_embedding=query, top_k=wrong))
