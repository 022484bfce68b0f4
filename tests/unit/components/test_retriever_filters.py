import pytest
from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client.http import models

from rrra_haystack import RRRARetriever


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


def test_a_filter_without_meta_at_init(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store, filters={"field": "number", "operator": "==", "value": 1})
    with pytest.raises(ValueError, match=r"The filter field 'number' would match nothing in Qdrant"):
        retriever.run(query_embedding=query)


def test_native_filters_cannot_be_merged(store: QdrantDocumentStore, query: list[float]) -> None:
    with pytest.raises(ValueError, match="filter_policy set to MERGE"):
        RRRARetriever(store, filter_policy="merge").run(query_embedding=query, filters=models.Filter())
    with pytest.raises(ValueError, match="filter_policy set to MERGE"):
        RRRARetriever(store, filters=models.Filter(), filter_policy="merge").run(query_embedding=query)


def test_an_unknown_policy() -> None:
    with pytest.raises(ValueError, match="Unknown FilterPolicy type 'both'"):
        RRRARetriever(QdrantDocumentStore(":memory:"), filter_policy="both")


def test_no_hit_in_a_filled_store_is_no_error(store: QdrantDocumentStore, query: list[float]) -> None:
    nothing = {"field": "meta.number", "operator": "==", "value": 99}
    assert RRRARetriever(store).run(query_embedding=query, filters=nothing) == {"documents": []}
