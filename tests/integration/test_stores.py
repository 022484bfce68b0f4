"""The same documents give the same ranking, whatever store they lie in and whether or not they carry codes."""

from dataclasses import replace

import pytest
from haystack import Document
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from ranking import assert_same, ranking

from rrra_haystack import RRRAAdapterRanker, RRRAEmbedder, RRRARetriever

QUESTIONS = ["Where does the Danube rise?", "Why does bread rise?", "Which moon is the largest?"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_qdrant_and_in_memory_give_the_same_ranking(embedded: list[Document], question: str) -> None:
    qdrant = QdrantDocumentStore(":memory:", embedding_dim=384)
    memory = InMemoryDocumentStore(embedding_similarity_function="cosine")
    for store in (qdrant, memory):
        store.write_documents(embedded)
    embedding = RRRAEmbedder().run(question)["embedding"]
    from_qdrant = RRRARetriever(qdrant).run(query_embedding=embedding)["documents"]
    from_memory = InMemoryEmbeddingRetriever(memory, top_k=100).run(query_embedding=embedding)["documents"]
    assert_same(ranking(from_qdrant, question), ranking(from_memory, question))


@pytest.mark.parametrize("question", QUESTIONS)
def test_documents_without_codes_rank_as_those_with(embedded: list[Document], question: str) -> None:
    bare = [replace(document, meta={}) for document in embedded]
    # Another batch is padded differently, and bfloat16 rounds differently.
    assert_same(ranking(embedded, question), ranking(bare, question), tolerance=0.01)


def test_hits_of_bm25_are_reranked(embedded: list[Document]) -> None:
    store = InMemoryDocumentStore()
    store.write_documents(embedded)
    found = InMemoryBM25Retriever(store, top_k=5).run(query=QUESTIONS[0])["documents"]
    ranked = RRRAAdapterRanker().run(query=QUESTIONS[0], documents=found)["documents"]
    assert {document.id for document in ranked} == {document.id for document in found}
    assert all("rrra" in document.meta and "rrra_codes" not in document.meta for document in ranked)


def test_the_order_of_the_corpus_does_not_matter(embedded: list[Document]) -> None:
    assert_same(ranking(embedded, QUESTIONS[0]), ranking(embedded[::-1], QUESTIONS[0]))


def test_reranking_only_reorders(embedded: list[Document]) -> None:
    ranked = RRRAAdapterRanker(top_k=100).run(query=QUESTIONS[0], documents=embedded)["documents"]
    assert {document.id for document in ranked} == {document.id for document in embedded}
