import pytest
from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from rrra_haystack import RRRAAdapterRanker, RRRAEmbedder


@pytest.fixture
def store(embedded: list[Document]) -> QdrantDocumentStore:
    store = QdrantDocumentStore(":memory:", embedding_dim=384, progress_bar=False)
    store.write_documents(embedded)
    return store


@pytest.fixture(scope="session")
def query() -> list[float]:
    return RRRAEmbedder().run("Where does the Danube begin?")["embedding"]


@pytest.fixture(scope="module")
def ranker() -> RRRAAdapterRanker:
    return RRRAAdapterRanker()
