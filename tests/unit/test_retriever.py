import asyncio
from pathlib import Path

import pytest
from haystack import Document, Pipeline
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client.http import models

from rrra_haystack import RRRAEmbedder, RRRARetriever

TYPE = "haystack_integrations.components.retrievers.rrra.retriever.RRRARetriever"


@pytest.fixture
def store(embedded: list[Document]) -> QdrantDocumentStore:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    return store


@pytest.fixture(scope="module")
def query() -> list[float]:
    return RRRAEmbedder().run("Where does the Danube begin?")["embedding"]


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


def test_search_params_are_passed_on(store: QdrantDocumentStore, query: list[float]) -> None:
    with pytest.warns(UserWarning, match="search_params"):  # the embedded Qdrant says that it ignores them
        RRRARetriever(store).run(query_embedding=query, search_params={"exact": True})


def test_async_equals_sync(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store)
    expected = [document.id for document in retriever.run(query_embedding=query)["documents"]]

    async def ask() -> list[dict]:
        return await asyncio.gather(*(retriever.run_async(query_embedding=query) for _ in range(4)))

    for output in asyncio.run(ask()):
        assert [document.id for document in output["documents"]] == expected


def test_another_dimension(store: QdrantDocumentStore) -> None:
    with pytest.raises(ValueError, match=r"has 3 dimensions, but the collection 'Document' holds embeddings of 384"):
        RRRARetriever(store).run(query_embedding=[0.1, 0.2, 0.3])


def test_a_missing_collection(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    path = str(tmp_path / "qdrant")
    filled = QdrantDocumentStore(path=path, index="right", embedding_dim=384, progress_bar=False)
    filled.write_documents(embedded)
    filled.close()
    retriever = RRRARetriever(QdrantDocumentStore(path=path, index="wrong", embedding_dim=384))
    with pytest.raises(ValueError, match=r"no collection 'wrong'\. It has: right\."):
        retriever.run(query_embedding=query)
    retriever.close()
    # Nothing was created by looking.
    again = RRRARetriever(QdrantDocumentStore(path=path, index="wrong", embedding_dim=384))
    with pytest.raises(ValueError, match=r"It has: right\."):
        asyncio.run(again.run_async(query_embedding=query))
    again.close()


def test_a_missing_folder_is_not_created(tmp_path: Path, query: list[float]) -> None:
    retriever = RRRARetriever(QdrantDocumentStore(path=str(tmp_path / "nowhere"), index="mine"))
    with pytest.raises(ValueError, match="has no collection 'mine'"):
        retriever.run(query_embedding=query)
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_store(query: list[float]) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384)
    assert store.count_documents() == 0
    with pytest.raises(ValueError, match=r"is empty\. Write documents"):
        RRRARetriever(store).run(query_embedding=query)


def test_no_hit_in_a_filled_store_is_no_error(store: QdrantDocumentStore, query: list[float]) -> None:
    nothing = {"field": "meta.number", "operator": "==", "value": 99}
    assert RRRARetriever(store).run(query_embedding=query, filters=nothing) == {"documents": []}


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "number", "operator": "==", "value": 1},
        {
            "operator": "AND",
            "conditions": [
                {"field": "meta.number", "operator": "==", "value": 1},
                {"operator": "NOT", "conditions": [{"field": "number", "operator": "==", "value": 1}]},
            ],
        },
    ],
)
def test_a_filter_without_meta(store: QdrantDocumentStore, query: list[float], filters: dict) -> None:
    with pytest.raises(ValueError, match=r"Write 'meta\.number'"):
        RRRARetriever(store).run(query_embedding=query, filters=filters)


def test_a_locked_folder(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    path = str(tmp_path / "qdrant")
    first = QdrantDocumentStore(path=path, embedding_dim=384, progress_bar=False)
    first.write_documents(embedded)
    second = RRRARetriever(QdrantDocumentStore(path=path, embedding_dim=384))
    with pytest.raises(ValueError, match="is open in another document store"):
        second.run(query_embedding=query)
    first.close()
    assert len(second.run(query_embedding=query)["documents"]) == 12
    second.close()


def test_looking_does_not_empty_a_store(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    path = str(tmp_path / "qdrant")
    filled = QdrantDocumentStore(path=path, embedding_dim=384, progress_bar=False)
    filled.write_documents(embedded)
    filled.close()
    retriever = RRRARetriever(QdrantDocumentStore(path=path, embedding_dim=384, recreate_index=True))
    for _ in range(2):
        assert len(retriever.run(query_embedding=query)["documents"]) == 12
        retriever.close()


def test_a_store_with_sparse_embeddings(embedded: list[Document], query: list[float]) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, use_sparse_embeddings=True, progress_bar=False)
    store.write_documents(embedded)
    assert len(RRRARetriever(store).run(query_embedding=query)["documents"]) == 12
    store.use_sparse_embeddings = False
    with pytest.raises(ValueError, match="Set use_sparse_embeddings=True"):
        RRRARetriever(store).run(query_embedding=query)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top_k must be > 0, but got 0"),
        ({"search_params": {"ef": 3}}, "search_params: ef: .* Qdrant knows: .*hnsw_ef"),
    ],
)
def test_impossible_parameters(store: QdrantDocumentStore, query: list[float], arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store, **arguments)
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store).run(query_embedding=query, **arguments)


def test_only_qdrant() -> None:
    with pytest.raises(ValueError, match="must be an instance of QdrantDocumentStore"):
        RRRARetriever(InMemoryDocumentStore())


def test_native_filters_cannot_be_merged(store: QdrantDocumentStore, query: list[float]) -> None:
    with pytest.raises(ValueError, match="filter_policy set to MERGE"):
        RRRARetriever(store, filter_policy="merge").run(query_embedding=query, filters=models.Filter())
