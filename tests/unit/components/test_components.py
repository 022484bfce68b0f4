"""What all components have in common: how they are written and read."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from haystack import Document, component
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRAReader, RRRARetriever

LOADING_A_MODEL = [RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRAReader]


@pytest.mark.parametrize("kind", [*LOADING_A_MODEL, RRRARetriever])
def test_what_is_read_is_left_as_it_is(kind: type) -> None:
    if kind is RRRARetriever:
        given = RRRARetriever(
            QdrantDocumentStore(":memory:", api_key=Secret.from_env_var("KEY", strict=False), metadata={"a": 1})
        )
    else:
        given = kind(
            device=ComponentDevice.from_str("cpu"),
            model_kwargs={"dtype": torch.float32, "nested": {"dtype": torch.float16}},
        )
    data = given.to_dict()
    before = deepcopy(data)
    first = kind.from_dict(data)
    assert data == before
    # What was read holds nothing of the dictionary, which can be read again.
    assert type(first) is kind
    assert kind.from_dict(data).to_dict() == first.to_dict() == before


@pytest.mark.parametrize("kind", LOADING_A_MODEL)
def test_what_is_written_is_left_as_it_is(kind: type) -> None:
    given = kind(model_kwargs={"dtype": torch.float32, "nested": {"dtype": torch.float16}})
    written = given.to_dict()["init_parameters"]["model_kwargs"]
    assert written == {"dtype": "torch.float32", "nested": {"dtype": "torch.float16"}}
    assert given.model_kwargs == {"dtype": torch.float32, "nested": {"dtype": torch.float16}}


@pytest.mark.parametrize("kind", [*LOADING_A_MODEL, RRRARetriever])
def test_another_components_data_is_refused(kind: type) -> None:
    with pytest.raises(Exception, match=f"can't be deserialized as '{kind.__name__}'"):
        kind.from_dict({"type": "haystack.Document", "init_parameters": {}})


def test_a_component_of_ones_own_keeps_its_parameters() -> None:
    @component
    class Shouting(RRRAEmbedder):
        def __init__(self, model: str = "all-MiniLM-L6-v2", mark: str = "!") -> None:
            RRRAEmbedder.__init__(self, model)
            self.mark = mark

        def run(self, text: str) -> dict:
            return RRRAEmbedder.run(self, text + self.mark)

    given = Shouting(mark="!!")
    data = given.to_dict()
    assert data["init_parameters"] == {"model": "all-MiniLM-L6-v2", "mark": "!!"}
    loaded = Shouting.from_dict(data)
    assert type(loaded) is Shouting
    assert loaded.run("Tea") == RRRAEmbedder("all-MiniLM-L6-v2").run("Tea!!")


@pytest.mark.parametrize("kind", [RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder])
def test_options_of_loading_reach_the_model(kind: type) -> None:
    given = kind("all-MiniLM-L6-v2", truncate_dim=64, model_kwargs={"dtype": torch.float32})
    given.warm_up()
    embeddings, _ = given._model.encode_documents(["Tea"])
    assert embeddings.shape == (1, 64)
    given.close()
    assert given._model is None


def test_components_are_told_apart_by_identity() -> None:
    one, other = RRRAEmbedder(), RRRAEmbedder()
    assert one != other
    assert len({one, other}) == 2
    assert "Inputs:\n  - text: str" in repr(one)


def test_documents_that_are_given_twice_are_ranked_once(embedded: list[Document]) -> None:
    one, other = embedded[:2]
    scores = [None, 0.1, 0.7, 0.2, 0.7]
    copies = [replace(one, score=score, meta={**one.meta, "copy": copy}) for copy, score in enumerate(scores)]
    documents = [copies[0], other, *copies[1:]]
    ranked = RRRAAdapterRanker().run(query="Where does the Danube begin?", documents=documents)["documents"]
    assert {document.id for document in ranked} == {one.id, other.id}
    assert next(document for document in ranked if document.id == one.id).meta["copy"] == 2
