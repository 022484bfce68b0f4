"""Documents whose metadata are `None`, which Haystack takes for none."""

import pytest
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from ranking import QUESTION, run

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRARetriever
from rrra_haystack.documents.metadata import page_of, place_of
from rrra_haystack.enriching.adding_codes import enrich

BARE = Document(content="The Danube rises in the Black Forest.", meta=None)


def test_they_are_ranked(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    ranked = run(ranker, [*embedded[1:], BARE], highlights=True)
    assert ranked[0].id == BARE.id
    assert ranked[0].meta.keys() == {"rrra"}
    assert BARE.meta is None


def test_they_have_no_page_and_are_named_by_their_id() -> None:
    assert page_of(BARE) is None
    assert place_of(BARE) == BARE.id


@pytest.mark.parametrize("store", [InMemoryDocumentStore(), QdrantDocumentStore(":memory:", embedding_dim=384)])
def test_a_store_of_them_gets_codes_and_is_searched(store: InMemoryDocumentStore | QdrantDocumentStore) -> None:
    (coded,) = RRRADocumentEmbedder(progress_bar=False).run([BARE])["documents"]
    store.write_documents([Document(content=BARE.content, meta=None, embedding=coded.embedding)])
    if isinstance(store, QdrantDocumentStore):
        embedding = RRRAEmbedder().run(QUESTION)["embedding"]
        assert RRRARetriever(store).run(embedding)["documents"][0].content == BARE.content
    assert enrich(store, model="rrra-minilm-l6").written == 1
    assert enrich(store, model="rrra-minilm-l6").kept == 1
