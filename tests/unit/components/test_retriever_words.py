import asyncio
from collections.abc import Iterator

import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRARetriever


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
