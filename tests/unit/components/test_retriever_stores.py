import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRARetriever


@pytest.mark.parametrize("store", [None, "a store", QdrantDocumentStore, InMemoryDocumentStore()])
def test_only_a_qdrant_document_store(store: object) -> None:
    with pytest.raises(ValueError, match="document_store must be an instance of QdrantDocumentStore"):
        RRRARetriever(store)


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


def test_a_store_that_nothing_was_written_to(query: list[float]) -> None:
    retriever = RRRARetriever(QdrantDocumentStore(":memory:", embedding_dim=384))
    with pytest.raises(ValueError, match=r"at :memory: has no collection 'Document'\. It has no collections at all\."):
        retriever.run(query_embedding=query)
    # Looking made none.
    with pytest.raises(ValueError, match="It has no collections at all"):
        retriever.run(query_embedding=query)


def test_documents_written_after_an_empty_search_are_found(embedded: list[Document], query: list[float]) -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    assert store.count_documents() == 0
    retriever = RRRARetriever(store)
    with pytest.raises(ValueError, match=r"is empty\. Write documents"):
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


def test_looking_does_not_empty_a_store(tmp_path: Path, embedded: list[Document], query: list[float]) -> None:
    path = str(tmp_path / "qdrant")
    filled = QdrantDocumentStore(path=path, embedding_dim=384, progress_bar=False)
    filled.write_documents(embedded)
    filled.close()
    retriever = RRRARetriever(QdrantDocumentStore(path=path, embedding_dim=384, recreate_index=True))
    for _ in range(2):
        assert len(retriever.run(query_embedding=query)["documents"]) == 12
        retriever.close()


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


def test_a_dimension_is_checked_at_every_run(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store)
    assert len(retriever.run(query_embedding=query, top_k=1)["documents"]) == 1
    with pytest.raises(
        ValueError,
        match=r"has 64 dimensions, but the collection 'Document' holds embeddings of 384.* embedding_dim=64\.",
    ):
        retriever.run(query_embedding=query[:64])
    with pytest.raises(ValueError, match="has 64 dimensions"):
        asyncio.run(retriever.run_async(query_embedding=query[:64]))


async def test_a_collection_that_was_made_anew_is_looked_at_again(tmp_path: Path) -> None:
    def edge(dimension: int, **options: object) -> QdrantEdgeDocumentStore:
        path = str(tmp_path / "edge")
        return QdrantEdgeDocumentStore(path, embedding_dim=dimension, progress_bar=False, **options)

    def fill(store: QdrantEdgeDocumentStore) -> None:
        embedding = [1.0] * store.embedding_dim
        words = SparseEmbedding(indices=[1], values=[1.0])
        store.write_documents([Document(id="1", content="one", embedding=embedding, sparse_embedding=words)])

    fill(edge(3))
    retriever = RRRARetriever(edge(3))
    later = RRRARetriever(edge(3))
    assert len(retriever.run(query_embedding=[1.0] * 3)["documents"]) == 1
    assert len((await later.run_async(query_embedding=[1.0] * 3))["documents"]) == 1
    fill(edge(4, recreate_index=True))
    assert len(retriever.run(query_embedding=[1.0] * 4)["documents"]) == 1
    assert len((await later.run_async(query_embedding=[1.0] * 4))["documents"]) == 1
    with pytest.raises(ValueError, match=r"has 3 dimensions, but the collection 'Document' holds embeddings of 4"):
        retriever.run(query_embedding=[1.0] * 3)
    fill(edge(4, recreate_index=True, use_sparse_embeddings=True))
    # Vectors of other names are noticed by the engine alone.
    assert len(retriever.run(query_embedding=[1.0] * 4)["documents"]) == 1
    assert len((await later.run_async(query_embedding=[1.0] * 4))["documents"]) == 1
    edge(4).new_client().delete_collection("Document")
    with pytest.raises(ValueError, match="has no collection 'Document'"):
        retriever.run(query_embedding=[1.0] * 4)


async def test_a_collection_of_a_client_that_was_made_anew_is_looked_at_again() -> None:
    store = QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False)
    document = Document(id="1", content="one", embedding=[1.0] * 3)
    store.write_documents([document])
    retriever = RRRARetriever(store)
    assert len(retriever.run(query_embedding=[1.0] * 3)["documents"]) == 1
    for has_names in (True, False):
        store.use_sparse_embeddings = has_names
        store.recreate_collection("Document", store.get_distance("cosine"), 3, use_sparse_embeddings=has_names)
        store.write_documents([document])
        if has_names:
            assert len(retriever.run(query_embedding=[1.0] * 3)["documents"]) == 1
        assert len((await retriever.run_async(query_embedding=[1.0] * 3))["documents"]) == 1
