"""A Qdrant behind HTTP: the same results as embedded, patience with faults, and clear errors."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_server import Server, qdrant_server

from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRARetriever
from rrra_haystack.enriching.adding_codes import enrich
from rrra_haystack.indexing import index as indexing
from rrra_haystack.indexing.index import index
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.pipeline_files import opened, read_pipeline

QUESTION = "Where does the Danube rise?"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("rrra_haystack.qdrant.patience._LONGEST_WAIT", 0.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with qdrant_server(key="secret") as running:
        yield running


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    return Secret.from_env_var("QDRANT_API_KEY")


def _store(server: Server, key: Secret | None, **further: object) -> QdrantDocumentStore:
    return QdrantDocumentStore(
        url=server.url, api_key=key, index="rrra", embedding_dim=384, progress_bar=False, **further
    )


def _ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def test_a_server_gives_what_an_embedded_qdrant_gives(server: Server, key: Secret, embedded: list[Document]) -> None:
    remote, local = _store(server, key), QdrantDocumentStore(":memory:", embedding_dim=384)
    for store in (remote, local):
        store.write_documents(embedded)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    expected = _ids(RRRARetriever(local).run(query_embedding=embedding)["documents"])
    retriever = RRRARetriever(remote)
    assert _ids(retriever.run(query_embedding=embedding)["documents"]) == expected

    async def ask() -> list[str]:
        found = (await retriever.run_async(query_embedding=embedding))["documents"]
        await retriever.close_async()
        return _ids(found)

    assert asyncio.run(ask()) == expected


def test_both_searches_at_a_server(server: Server, key: Secret, documents: list[Document]) -> None:
    store = _store(server, key, use_sparse_embeddings=True, sparse_idf=True)
    store.write_documents(RRRADocumentEmbedder(sparse=True, progress_bar=False).run(documents)["documents"])
    asked = RRRAEmbedder(sparse=True).run(documents[2].content)
    inputs = {"query_embedding": asked["embedding"], "query_sparse_embedding": asked["sparse_embedding"]}
    assert RRRARetriever(store).run(**inputs)["documents"][0].id == documents[2].id


@pytest.mark.parametrize("fault", [429, 503, 504])
def test_passing_faults_cost_time_alone(server: Server, key: Secret, embedded: list[Document], fault: int) -> None:
    store = _store(server, key)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    expected = _ids(retriever.run(query_embedding=embedding)["documents"])
    server.faults = [fault, fault]
    assert _ids(retriever.run(query_embedding=embedding)["documents"]) == expected
    assert not server.faults


def test_lasting_faults_are_told(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    retriever.run(query_embedding=embedding)
    server.faults = [503] * 20
    with pytest.raises(ConnectionError, match=r"answered 503 5 times"):
        retriever.run(query_embedding=embedding)
    assert len(server.faults) == 15
    # What is no passing fault is not tried again, unless the collection is another one.
    server.faults = [400]
    server.requests.clear()
    with pytest.raises(Exception, match="400"):
        retriever.run(query_embedding=embedding)
    assert len([one for one in server.requests if one.endswith("/points/query")]) == 1
    server.requests.clear()
    retriever.run(query_embedding=embedding)
    assert len(server.requests) == 1


async def test_both_ways_of_asking_look_at_a_collection_once(
    server: Server, key: Secret, embedded: list[Document]
) -> None:
    store = _store(server, key)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    for _ in range(2):
        server.requests.clear()
        for _ in range(3):
            found = retriever.run(query_embedding=embedding)["documents"]
            assert _ids((await retriever.run_async(query_embedding=embedding))["documents"]) == _ids(found)
    # A new client asks for the server's version in a thread of its own, which may take until now.
    asked = [request for request in server.requests if request != "GET /"]
    assert asked == ["POST /collections/rrra/points/query"] * 6
    await retriever.close_async()
    store.close()


async def test_a_collection_of_a_server_that_was_made_anew(
    server: Server, key: Secret, embedded: list[Document]
) -> None:
    store, other = _store(server, key), _store(server, key, use_sparse_embeddings=True)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    expected = _ids((await retriever.run_async(query_embedding=embedding))["documents"])
    server.client.delete_collection("rrra")
    other.write_documents(embedded)
    assert _ids((await retriever.run_async(query_embedding=embedding))["documents"]) == expected
    await retriever.close_async()


def test_a_slow_server(server: Server, key: Secret, embedded: list[Document]) -> None:
    _store(server, key).write_documents(embedded)
    # The client's timeouts are whole seconds; this one is set where it keeps them.
    hurried = RRRARetriever(_store(server, key))
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    hurried.run(query_embedding=embedding)
    hurried.document_store._client._client.openapi_client.client._client.timeout = 0.1
    server.faults = [0] * 5
    with pytest.raises(TimeoutError, match="did not answer in time"):
        hurried.run(query_embedding=embedding)


def test_no_server(embedded: list[Document]) -> None:
    with qdrant_server() as gone:
        url = gone.url
    store = QdrantDocumentStore(url=url, index="rrra", embedding_dim=384)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    with pytest.raises(ConnectionError, match=f"No Qdrant server answers at {url}"):
        RRRARetriever(store).run(query_embedding=embedding)


def test_a_missing_collection_leaves_the_store_closed(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    with pytest.raises(ValueError, match="has no collection 'rrra'"):
        enrich(store)
    # The store makes its collection when it is opened.
    assert store.write_documents(embedded) == len(embedded)


def test_a_cancelled_look_leaves_the_store_closed(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    server.faults, server.where = [0], "/collections/rrra/exists"

    def asked() -> None:
        end = time.monotonic() + 60
        while server.faults and time.monotonic() < end:
            time.sleep(0.01)
        assert not server.faults

    async def give_up() -> None:
        look = asyncio.create_task(RRRARetriever(store).run_async(query_embedding=embedding))
        await asyncio.to_thread(asked)
        # From here on the server takes half a second to answer.
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
        assert store._async_client is None

    asyncio.run(give_up())


def test_many_first_searches_share_one_client(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    store.write_documents(embedded)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    retrievers = [RRRARetriever(store) for _ in range(2)]

    async def ask() -> None:
        searches = [retrievers[number % 2].run_async(query_embedding=embedding) for number in range(6)]
        for found in await asyncio.gather(*searches):
            assert len(found["documents"]) == len(embedded)
        assert all(one._collection.seen_with_async is store._async_client for one in retrievers)
        await store.close_async()

    # A lock of one event loop is none for the next.
    for _ in range(2):
        server.requests.clear()
        asyncio.run(ask())
        # Each retriever looked once, one after the other, with one client.
        assert server.requests.count("GET /collections/rrra/exists") == 2


def test_a_failed_look_leaves_the_next_task_its_own(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    store.write_documents(embedded)
    retriever = RRRARetriever(store)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    server.faults, server.where = [400], "/collections/rrra/exists"

    async def ask() -> None:
        searches = [retriever.run_async(query_embedding=embedding) for _ in range(3)]
        found = await asyncio.gather(*searches, return_exceptions=True)
        assert sorted(isinstance(one, Exception) for one in found) == [False, False, True]
        await store.close_async()

    asyncio.run(ask())


def test_a_wrong_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "wrong")
    store = _store(server, Secret.from_env_var("QDRANT_API_KEY"))
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    with pytest.raises(PermissionError, match="refused the API key"):
        RRRARetriever(store).run(query_embedding=embedding)
    with pytest.raises(PermissionError, match="refused the API key"):
        asyncio.run(RRRARetriever(store).run_async(query_embedding=embedding))


def test_enriching_survives_faults(server: Server, key: Secret, embedded: list[Document]) -> None:
    store = _store(server, key)
    store.write_documents([replace(one, meta={}) for one in embedded])
    server.faults = [503, 503]
    done = enrich(store, batch_size=3)
    assert done.written == len(embedded)
    assert all("rrra_codes" in one.payload["meta"] for one in server.client.scroll("rrra", limit=100)[0])


def test_indexing_survives_faults_of_writing(
    key: Secret, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with qdrant_server() as server:
        server.faults, server.where = [503, 503], "PUT /collections/rrra/points"
        report = index([files], read_pipeline(None, "indexing.yaml", server.url))
        assert not server.faults
        assert report.added == 4
        stored, _ = server.client.scroll("rrra", limit=1000)
        assert len({one.payload["content"] for one in stored}) == len(stored) == report.passages


def test_deleting_finds_passages_by_an_index_and_counts_nothing(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with qdrant_server() as server:
        pipeline = read_pipeline(None, "indexing.yaml", server.url)
        counted = []
        for batch_bytes in (1, 2**20):
            monkeypatch.setattr(indexing, "_BATCH_BYTES", batch_bytes)
            for name in ("rivers.txt", "kitchen.md", "moons.html"):
                file = files / name
                file.write_text(f"{file.read_text()} {batch_bytes}")
            server.requests.clear()
            server.faults, server.where = [503], "PUT /collections/rrra/index"
            index([files], pipeline)
            assert not server.faults
            # One more after the fault.
            assert server.requests.count("PUT /collections/rrra/index") == 3
            counted.append(server.requests.count("POST /collections/rrra/points/count"))
        assert counted[0] == counted[1]


def test_nothing_is_lost_in_an_interrupted_indexing(
    key: Secret, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rrra_haystack.indexing.index._BATCH_BYTES", 1)
    with qdrant_server() as server:
        pipeline = read_pipeline(None, "indexing.yaml", server.url)
        index([files / "rivers.txt"], pipeline)
        whole = server.client.count("rrra").count
        server.requests.clear()

        written = []
        replace = StoredUnits.replace

        def counted(*arguments: object) -> list:
            written.append(arguments)
            if len(written) == 3:
                server.faults = [503] * 200
            return replace(*arguments)

        monkeypatch.setattr(StoredUnits, "replace", counted)
        with pytest.raises(Exception, match="503"):
            index([files], pipeline)
        monkeypatch.setattr(StoredUnits, "replace", replace)
        server.faults = []
        report = index([files], pipeline)
        assert report.unchanged == 3
        assert report.added == 1
        stored, _ = server.client.scroll("rrra", limit=1000)
        sources = [Path(one.payload["meta"]["source"]).name for one in stored]
        assert set(sources) == {"rivers.txt", "kitchen.md", "moons.html", "bridge.pdf"}
        assert sources.count("rivers.txt") == whole
        assert len({one.payload["content"] for one in stored}) == len(stored)
        with opened(read_pipeline(None, "search.yaml", server.url)) as search:
            inputs = {"embedder": {"text": QUESTION}, "ranker": {"query": QUESTION}}
            assert "Danube" in search.run(inputs)["ranker"]["documents"][0].content
