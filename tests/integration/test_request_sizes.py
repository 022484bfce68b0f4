"""No request is larger than a Qdrant server takes, whoever writes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import SparseEmbedding
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_server import Server, qdrant_server

from rrra_haystack import RRRADocumentEmbedder
from rrra_haystack.enriching.adding_codes import enrich
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.qdrant.multivectors import create_collection, write_documents
from rrra_haystack.qdrant.requests import bounded, document_bytes
from rrra_haystack.serving.turns import bound_requests

MOST = 200_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that takes a hundredth of what real ones do, and writers that know."""
    monkeypatch.setattr("rrra_haystack.qdrant.requests.MAX_REQUEST_BYTES", MOST)
    with qdrant_server() as running:
        # What stands around documents is not counted.
        running.most = MOST + 1000
        yield running


@pytest.fixture(scope="module")
def coded(embedded: list[Document]) -> list[Document]:
    """Documents of some 60 kB each."""
    precise = RRRADocumentEmbedder(code="int8", progress_bar=False).run([replace(one, meta={}) for one in embedded])
    return [replace(one, meta={**one.meta, "text": "e" * 10_000}) for one in precise["documents"]]


def _store(server: Server, **further: object) -> QdrantDocumentStore:
    return QdrantDocumentStore(
        url=server.url, index="rrra", embedding_dim=384, progress_bar=False, return_embedding=False, **further
    )


def test_indexing(server: Server, coded: list[Document]) -> None:
    store = _store(server)
    units = StoredUnits(DocumentWriter(store))
    units.set_up()
    units.replace([], coded)
    assert units.count_passages() == len(coded)
    keys = [f"/documents/{number}" for number in range(20_000)]
    units.delete(keys)
    assert server.largest > MOST / 2


def test_serving(server: Server, coded: list[Document]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("writer", DocumentWriter(_store(server)))
    bound_requests([pipeline])
    assert pipeline.run({"writer": {"documents": coded}})["writer"]["documents_written"] == len(coded)
    assert server.largest > MOST / 2


def test_enriching(server: Server, coded: list[Document]) -> None:
    store = _store(server, write_batch_size=1)
    store.write_documents([replace(one, meta={}) for one in coded])
    long = [Document(content="The Danube rises in the Black Forest. " * 40, embedding=[0.5] * 384)]
    store.write_documents([replace(long[0], id=str(number)) for number in range(12)])
    server.largest = 0
    assert enrich(store, code="int8").written == len(coded) + 12
    assert server.largest > MOST / 2


def test_multivectors(server: Server, coded: list[Document]) -> None:
    store = _store(server, use_sparse_embeddings=True)
    create_collection(store)
    assert write_documents(store, coded) == len(coded)
    assert server.largest > MOST / 2


def test_what_is_too_large_alone_goes_alone() -> None:
    sizes = [3, 2**24, 1, 2**24 - 5, 1]
    assert list(bounded(sizes, lambda size: size)) == [[3], [2**24], [1, 2**24 - 5], [1]]
    assert list(bounded([], len)) == []


@pytest.mark.parametrize(
    "document",
    [
        Document(content="ä\n\"中😀" * 50, embedding=[-1.2345678901234567e-05] * 300, meta={"a": ["b", None, 1.5]}),
        Document(
            content=None, embedding=[0.1] * 4,
            sparse_embedding=SparseEmbedding(indices=[2**31 + n for n in range(500)], values=[1.2345678e-05] * 500),
        ),
    ],
)  # fmt: skip
def test_no_document_takes_more_than_is_counted(document: Document) -> None:
    with qdrant_server() as server:
        sparse = document.sparse_embedding is not None
        store = QdrantDocumentStore(
            url=server.url, index="rrra", embedding_dim=len(document.embedding or ()), use_sparse_embeddings=sparse,
            progress_bar=False,
        )  # fmt: skip
        store.count_documents()
        server.largest = 0
        store.write_documents([document])
        assert server.largest <= document_bytes(document) < 3 * server.largest
