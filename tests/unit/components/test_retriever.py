import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, RLock

import pytest
from haystack import Document, Pipeline
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import FilterPolicy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRARetriever

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


def test_search_params_are_passed_on(
    store: QdrantDocumentStore, query: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = RRRARetriever(store, search_params={"hnsw_ef": 64})
    retriever.run(query_embedding=query)
    client, seen = store._client, []
    query_points = client.query_points

    def watch(**request: object) -> object:
        seen.append(request["search_params"])
        return query_points(**request)

    monkeypatch.setattr(client, "query_points", watch)
    retriever.run(query_embedding=query)
    retriever.run(query_embedding=query, search_params={"exact": True})
    assert seen == [models.SearchParams(hnsw_ef=64), models.SearchParams(exact=True)]


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


def test_eight_threads_open_a_store_at_once(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    folder = str(tmp_path / "store")
    filled = QdrantDocumentStore(path=folder, embedding_dim=384, progress_bar=False)
    filled.write_documents(embedded)
    filled.close()
    store = QdrantDocumentStore(path=folder, embedding_dim=384, force_disable_check_same_thread=True)
    retrievers = [RRRARetriever(store) for _ in range(2)]
    together = Barrier(8)

    def ask(number: int) -> int:
        together.wait()
        return len(retrievers[number % 2].run(query)["documents"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [len(embedded)] * 8
    store.close()


def test_an_interrupted_look_leaves_the_store_closed(
    embedded: list[Document], query: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(QdrantClient, "collection_exists", interrupt)
        with pytest.raises(KeyboardInterrupt):
            RRRARetriever(store).run(query_embedding=query)
    # The store makes its collection when it is opened.
    assert store.write_documents(embedded) == len(embedded)


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


@pytest.mark.parametrize("has_names", [False, True])
def test_vectors_are_named_as_the_collection_has_them(
    embedded: list[Document], query: list[float], has_names: bool
) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, use_sparse_embeddings=has_names, progress_bar=False)
    store.write_documents(embedded)
    store.use_sparse_embeddings = not has_names
    found = RRRARetriever(store, return_embedding=True).run(query_embedding=query)["documents"]
    assert len(found) == 12
    assert {len(one.embedding) for one in found} == {384}


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


def test_init_defaults() -> None:
    store = QdrantDocumentStore(":memory:")
    retriever = RRRARetriever(store)
    assert retriever.document_store is store
    assert retriever.top_k == 100
    assert retriever.filter_policy == FilterPolicy.REPLACE
    assert retriever.return_embedding is False
    assert retriever.search_params is None


def test_to_dict_of_other_values() -> None:
    store = QdrantDocumentStore(":memory:", index="mine")
    filters = {"field": "meta.number", "operator": ">", "value": 3}
    retriever = RRRARetriever(
        store,
        filters=filters,
        top_k=7,
        scale_score=True,
        return_embedding=True,
        filter_policy=FilterPolicy.MERGE,
        score_threshold=0.0,
        group_by="meta.number",
        group_size=2,
        search_params={"hnsw_ef": 128},
        prefetch_limit=20,
        return_codes=True,
        sparse=False,
        content_field="text",
    )
    data = {
        "type": TYPE,
        "init_parameters": {
            "document_store": store.to_dict(),
            "filters": filters,
            "top_k": 7,
            "scale_score": True,
            "return_embedding": True,
            "filter_policy": "merge",
            "score_threshold": 0.0,
            "group_by": "meta.number",
            "group_size": 2,
            "search_params": {"hnsw_ef": 128},
            "prefetch_limit": 20,
            "return_codes": True,
            "sparse": False,
            "content_field": "text",
        },
    }
    assert retriever.to_dict() == data
    loaded = RRRARetriever.from_dict(retriever.to_dict())
    assert loaded.to_dict() == data
    assert loaded.filter_policy == FilterPolicy.MERGE
    assert isinstance(loaded.document_store, QdrantDocumentStore)


def test_an_unknown_policy() -> None:
    with pytest.raises(ValueError, match="Unknown FilterPolicy type 'both'"):
        RRRARetriever(QdrantDocumentStore(":memory:"), filter_policy="both")


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


def test_closing_frees_the_folder_and_is_not_the_end(
    tmp_path: Path, embedded: list[Document], query: list[float]
) -> None:
    path = str(tmp_path / "qdrant")
    store = QdrantDocumentStore(path=path, embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    first = [document.id for document in retriever.run(query_embedding=query)["documents"]]
    retriever.close()
    retriever.close()
    other = QdrantDocumentStore(path=path, embedding_dim=384)
    assert other.count_documents() == 12
    other.close()
    assert [document.id for document in retriever.run(query_embedding=query)["documents"]] == first
    retriever.close()


def test_retrieved_embeddings_are_those_of_the_documents(
    store: QdrantDocumentStore, query: list[float], embedded: list[Document]
) -> None:
    by_id = {document.id: document for document in embedded}
    for document in RRRARetriever(store).run(query_embedding=query, return_embedding=True)["documents"]:
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


def numbers(output: dict) -> list[int]:
    return sorted(document.meta["number"] for document in output["documents"])


def test_filters_replace_or_merge(store: QdrantDocumentStore, query: list[float], embedded: list[Document]) -> None:
    below = {"field": "meta.number", "operator": "<", "value": 6}
    few = {"field": "id", "operator": "in", "value": [embedded[i].id for i in (4, 5, 9)]}
    replacing = RRRARetriever(store, filters=below)
    assert numbers(replacing.run(query_embedding=query)) == [0, 1, 2, 3, 4, 5]
    assert numbers(replacing.run(query_embedding=query, filters=few)) == [4, 5, 9]
    merging = RRRARetriever(store, filters=below, filter_policy="merge")
    assert numbers(merging.run(query_embedding=query, filters=few)) == [4, 5]
    native = models.Filter(must=[models.FieldCondition(key="meta.number", range=models.Range(gte=10))])
    assert numbers(RRRARetriever(store, filters=native).run(query_embedding=query)) == [10, 11]


def test_nested_filters_and_the_documents_own_fields(
    store: QdrantDocumentStore, query: list[float], embedded: list[Document]
) -> None:
    filters = {
        "operator": "OR",
        "conditions": [
            {"field": "id", "operator": "==", "value": embedded[9].id},
            {
                "operator": "AND",
                "conditions": [
                    {"field": "meta.number", "operator": ">=", "value": 2},
                    {"operator": "NOT", "conditions": [{"field": "meta.number", "operator": ">", "value": 3}]},
                ],
            },
        ],
    }
    assert numbers(RRRARetriever(store).run(query_embedding=query, filters=filters)) == [2, 3, 9]


def test_a_filter_without_meta_at_init(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store, filters={"field": "number", "operator": "==", "value": 1})
    with pytest.raises(ValueError, match=r"The filter field 'number' would match nothing in Qdrant"):
        retriever.run(query_embedding=query)


def test_native_filters_at_init_cannot_be_merged(store: QdrantDocumentStore, query: list[float]) -> None:
    with pytest.raises(ValueError, match="filter_policy set to MERGE"):
        RRRARetriever(store, filters=models.Filter(), filter_policy="merge").run(query_embedding=query)


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
def test_unknown_search_params(store: QdrantDocumentStore, search_params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store, search_params=search_params)


@pytest.mark.parametrize("store", [None, "a store", QdrantDocumentStore])
def test_only_a_qdrant_document_store(store: object) -> None:
    with pytest.raises(ValueError, match="document_store must be an instance of QdrantDocumentStore"):
        RRRARetriever(store)


@pytest.mark.parametrize("wrong", [0, -1])
def test_top_k_must_be_positive(store: QdrantDocumentStore, query: list[float], wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRARetriever(store, top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        asyncio.run(RRRARetriever(store).run_async(query_embedding=query, top_k=wrong))


def test_a_store_that_nothing_was_written_to(query: list[float]) -> None:
    retriever = RRRARetriever(QdrantDocumentStore(":memory:", embedding_dim=384))
    with pytest.raises(ValueError, match=r"at :memory: has no collection 'Document'\. It has no collections at all\."):
        retriever.run(query_embedding=query)
    # Looking made none.
    with pytest.raises(ValueError, match="It has no collections at all"):
        retriever.run(query_embedding=query)


def test_a_dimension_is_checked_at_every_run(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store)
    assert len(retriever.run(query_embedding=query, top_k=1)["documents"]) == 1
    with pytest.raises(ValueError, match=r"has 64 dimensions, .* embedding_dim=64\."):
        retriever.run(query_embedding=query[:64])
    with pytest.raises(ValueError, match="has 64 dimensions"):
        asyncio.run(retriever.run_async(query_embedding=query[:64]))


def test_documents_written_after_an_empty_search_are_found(embedded: list[Document], query: list[float]) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    assert store.count_documents() == 0
    retriever = RRRARetriever(store)
    with pytest.raises(ValueError, match="is empty"):
        retriever.run(query_embedding=query)
    store.write_documents(embedded)
    assert len(retriever.run(query_embedding=query)["documents"]) == 12


def test_documents_can_be_written_after_a_search_found_no_collection(
    embedded: list[Document], query: list[float]
) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    retriever = RRRARetriever(store)
    with pytest.raises(ValueError, match="write documents first"):
        retriever.run(query_embedding=query)
    assert store.write_documents(embedded) == 12
    assert len(retriever.run(query_embedding=query)["documents"]) == 12


def test_async_on_a_folder(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    path = str(tmp_path / "qdrant")
    store = QdrantDocumentStore(path=path, embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    store.close()
    retriever = RRRARetriever(QdrantDocumentStore(path=path, embedding_dim=384))

    async def ask() -> dict:
        output = await retriever.run_async(
            query_embedding=query,
            filters={"field": "meta.number", "operator": "<", "value": 5},
            top_k=3,
            scale_score=True,
            return_embedding=True,
            score_threshold=0.0,
        )
        await retriever.close_async()
        return output

    found = asyncio.run(ask())
    reopened = RRRARetriever(
        QdrantDocumentStore(path=path, embedding_dim=384),
        filters={"field": "meta.number", "operator": "<", "value": 5},
        top_k=3,
        scale_score=True,
        return_embedding=True,
        score_threshold=0.0,
    )
    assert reopened.run(query_embedding=query) == found
    assert len(found["documents"]) == 3
    reopened.close()


def test_async_errors_are_those_of_sync(store: QdrantDocumentStore, query: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Write 'meta\.number'"):
        asyncio.run(
            RRRARetriever(store).run_async(
                query_embedding=query, filters={"field": "number", "operator": "==", "value": 1}
            )
        )
    missing = RRRARetriever(QdrantDocumentStore(":memory:", index="wrong", embedding_dim=384))
    with pytest.raises(ValueError, match="no collection 'wrong'"):
        asyncio.run(missing.run_async(query_embedding=query))


async def remote(embedded: list[Document]) -> QdrantDocumentStore:
    """A store of a server's address, with an asynchronous client that holds the documents in this process."""
    store = QdrantDocumentStore(url="http://127.0.0.1:6333", embedding_dim=384, progress_bar=False)
    store._async_client = AsyncQdrantClient(":memory:")
    await store.recreate_collection_async(store.index, models.Distance.COSINE, 384)
    if embedded:
        await store.write_documents_async(embedded)
    return store


async def test_the_asynchronous_client_gives_the_same(
    store: QdrantDocumentStore, embedded: list[Document], query: list[float]
) -> None:
    expected = RRRARetriever(store).run(query_embedding=query)["documents"]
    retriever = RRRARetriever(await remote(embedded))
    found = (await retriever.run_async(query_embedding=query))["documents"]
    assert [document.id for document in found] == [document.id for document in expected]
    few = {"field": "meta.number", "operator": "<", "value": 3}
    found = (await retriever.run_async(query_embedding=query, filters=few, group_by="meta.number"))["documents"]
    assert sorted(document.meta["number"] for document in found) == [0, 1, 2]
    with pytest.raises(ValueError, match="has 3 dimensions"):
        await retriever.run_async(query_embedding=[0.1, 0.2, 0.3])
    await retriever.close_async()


async def test_the_asynchronous_client_says_what_is_wrong(query: list[float]) -> None:
    empty = await remote([])
    with pytest.raises(ValueError, match=r"is empty\. Write documents"):
        await RRRARetriever(empty).run_async(query_embedding=query)
    empty.index = "other"
    with pytest.raises(ValueError, match=r"no collection 'other'\. It has: Document\."):
        await RRRARetriever(empty).run_async(query_embedding=query)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, documents: list[Document]) -> Iterator[QdrantEdgeDocumentStore]:
    folder = str(tmp_path_factory.mktemp("edge"))
    store = QdrantEdgeDocumentStore(folder, embedding_dim=384, use_sparse_embeddings=True, sparse_idf=True)
    store.write_documents(RRRADocumentEmbedder(sparse=True, progress_bar=False).run(documents)["documents"])
    yield store
    store.close()


def test_both_searches_together(edge: QdrantEdgeDocumentStore, documents: list[Document]) -> None:
    retriever = RRRARetriever(edge, top_k=2)
    meaning = RRRAEmbedder().run(documents[0].content)
    words = RRRAEmbedder(sparse=True).run(documents[3].content)["sparse_embedding"]
    alone = retriever.run(query_embedding=meaning["embedding"])["documents"]
    both = retriever.run(query_embedding=meaning["embedding"], query_sparse_embedding=words)["documents"]
    assert documents[3].id not in {one.id for one in alone}
    assert {one.id for one in both} == {documents[0].id, documents[3].id}
    assert all("rrra_codes" in one.meta for one in both)
    by_meaning = RRRARetriever(edge, top_k=2, sparse=False)
    found = by_meaning.run(query_embedding=meaning["embedding"], query_sparse_embedding=words)["documents"]
    assert [one.id for one in found] == [one.id for one in alone]


def test_both_searches_keep_filters_and_agree_async(edge: QdrantEdgeDocumentStore, documents: list[Document]) -> None:
    retriever = RRRARetriever(edge, filters={"field": "meta.number", "operator": ">", "value": 1})
    asked = RRRAEmbedder(sparse=True).run(documents[0].content)
    inputs = {"query_embedding": asked["embedding"], "query_sparse_embedding": asked["sparse_embedding"]}
    found = retriever.run(**inputs)["documents"]
    assert {one.meta["number"] for one in found} == set(range(2, len(documents)))
    later = asyncio.run(retriever.run_async(**inputs))["documents"]
    assert [one.id for one in later] == [one.id for one in found]
    as_one = RRRAEmbedder(sparse=True, as_one=True).run(documents[0].content)["query"]
    assert retriever.run(query_embedding=as_one)["documents"] == found
    assert asyncio.run(retriever.run_async(query_embedding=as_one))["documents"] == found


@pytest.mark.parametrize("use_sparse", [False, True])
def test_without_sparse_documents_the_embedding_is_enough(
    store: QdrantDocumentStore, query: list[float], use_sparse: bool, caplog: pytest.LogCaptureFixture
) -> None:
    words = SparseEmbedding(indices=[7], values=[1.0])
    expected = [one.id for one in RRRARetriever(store).run(query_embedding=query)["documents"]]
    store.use_sparse_embeddings = use_sparse
    retriever = RRRARetriever(store)
    for _ in range(2):
        found = retriever.run(query_embedding=query, query_sparse_embedding=words)["documents"]
        assert [one.id for one in found] == expected
    (told,) = caplog.records
    assert "has no sparse embeddings" in told.getMessage()


@pytest.mark.parametrize("is_async", [False, True])
def test_searches_wait_for_a_lock_that_was_asked_for(
    store: QdrantDocumentStore, query: list[float], is_async: bool
) -> None:
    retriever, lock = RRRARetriever(store), RLock()
    written = retriever.to_dict()
    retriever.take_turns(lock)
    assert retriever.to_dict() == written

    def search() -> int:
        if is_async:
            return len(asyncio.run(retriever.run_async(query_embedding=query))["documents"])
        return len(retriever.run(query_embedding=query)["documents"])

    with ThreadPoolExecutor(1) as pool:
        with lock:
            waiting = pool.submit(search)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=10) == 12
