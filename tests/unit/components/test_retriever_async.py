import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from threading import RLock

import pytest
from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import AsyncQdrantClient
from qdrant_client.http import models

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRARetriever


def test_async_equals_sync(store: QdrantDocumentStore, query: list[float]) -> None:
    retriever = RRRARetriever(store)
    expected = [document.id for document in retriever.run(query_embedding=query)["documents"]]

    async def ask() -> list[dict]:
        return await asyncio.gather(*(retriever.run_async(query_embedding=query) for _ in range(4)))

    for output in asyncio.run(ask()):
        assert [document.id for document in output["documents"]] == expected


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


@pytest.mark.parametrize("copied", [deepcopy, lambda retriever: pickle.loads(pickle.dumps(retriever))])
async def test_a_retriever_that_was_asked_is_copied(
    embedded: list[Document], query: list[float], tmp_path: Path, copied: Callable[[RRRARetriever], RRRARetriever]
) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    retriever, lock = RRRARetriever(store), RLock()
    retriever.take_turns(lock)
    expected = [document.id for document in (await retriever.run_async(query))["documents"]]
    other = copied(retriever)
    # The copy waits for a lock of nobody.
    with ThreadPoolExecutor(1) as pool, lock:
        found = pool.submit(other.run, query).result(timeout=10)["documents"]
    assert [document.id for document in found] == expected
    store.close()
