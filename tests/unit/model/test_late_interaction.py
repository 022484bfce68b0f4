import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import write_late_interaction
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling
from texts import TEXTS

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRAModel
from rrra_haystack.enriching.adding_codes import enrich
from rrra_haystack.model.adapter.observation import StateTokens
from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.model.segments import Segments

QUESTION = "Where does the Danube begin?"
EXPANSION = {"strategy": "fixed", "length": 24, "attend": False}
SHORT = [*TEXTS[:3], "Salt, yeast; flour!", "a"]


KNOBS = {
    "plain": {},
    "expanded": {"query_expansion": EXPANSION},
    "expanded and attended to": {"query_expansion": EXPANSION | {"attend": True}},
    "widened": {"query_expansion": EXPANSION | {"strategy": "min", "length": 12}},
    "skipping": {"skipped": string.punctuation, "document_length": 16},
}


@pytest.fixture(scope="module", params=KNOBS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RRRAModel, Any]:
    path = write_late_interaction(tmp_path_factory.mktemp("late") / "model", **KNOBS[request.param])
    model = RRRAModel.load(path, model_kwargs={"dtype": torch.float32}, device="cpu")
    return model, MultiVectorEncoder(str(path), device="cpu")


def max_sim(reference: Any, query: str = QUESTION) -> np.ndarray:
    """MaxSim of sentence-transformers as a mean over the query's vectors."""
    asked, read = reference.encode_query([query]), reference.encode_document(SHORT)
    return reference.similarity(asked, read)[0].numpy() / len(asked[0])


def test_token_states_are_those_of_sentence_transformers(pair: tuple[RRRAModel, Any]) -> None:
    model, reference = pair
    for task, encode in (("query", reference.encode_query), ("document", reference.encode_document)):
        for batch in model.encoder.encode(SHORT, task=task, tokens_per_batch=64):
            expected = torch.cat(encode([SHORT[index] for index in batch.indices]))
            assert torch.allclose(batch.states, expected, atol=2e-5)
            assert batch.pooled.shape == (len(batch.indices), 0)


@dataclass(frozen=True, kw_only=True)
class States(StateTokens):
    """Token states of candidates as they are."""

    pooled: torch.Tensor
    words: np.ndarray
    word_counts: np.ndarray


def test_the_score_of_states_as_they_are_is_max_sim(pair: tuple[RRRAModel, Any]) -> None:
    model, reference = pair
    states = [torch.nn.functional.pad(own, (0, 4)) for own in reference.encode_document(SHORT)]
    candidates = States(
        torch.cat(states),
        Segments(np.asarray([len(own) for own in states])),
        pooled=torch.zeros(len(SHORT), 0),
        words=np.zeros(0, np.uint16),
        word_counts=np.zeros(len(SHORT), np.int64),
    )
    assert model.score(model.encode_query(QUESTION), candidates).fused == pytest.approx(max_sim(reference), abs=2e-6)


@pytest.mark.parametrize(("code", "tolerance"), zip(sorted(KINDS), (0.15, 0.06, 0.03, 0.004), strict=True))
def test_the_score_is_max_sim(pair: tuple[RRRAModel, Any], code: str, tolerance: float) -> None:
    model, reference = pair
    codes = model.encode_documents(SHORT, code=code)[1]
    found = model.score(model.encode_query(QUESTION), codes)
    assert found.fused == pytest.approx(max_sim(reference), abs=tolerance)
    assert np.allclose(found.base, found.adapter)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_late_interaction(tmp_path_factory.mktemp("late") / "model", **KNOBS["expanded"]))


def test_components_rerank_by_it_and_leave_embeddings_alone(path: str) -> None:
    documents = [Document(content=text, embedding=[0.5, 1.0]) for text in SHORT]
    embedded = RRRADocumentEmbedder(path, progress_bar=False, code="int8").run(documents)["documents"]
    assert [one.embedding for one in embedded] == [one.embedding for one in documents]
    ranked = RRRAAdapterRanker(path).run(query=QUESTION, documents=embedded)["documents"]
    order = np.argsort(-max_sim(MultiVectorEncoder(path, device="cpu")))
    assert [one.content for one in ranked] == [SHORT[number] for number in order]
    without = RRRADocumentEmbedder(path, progress_bar=False).run([Document(content="Tea.")])["documents"][0]
    assert without.embedding is None


def test_a_full_store_is_given_its_codes(path: str) -> None:
    store = InMemoryDocumentStore()
    store.write_documents([Document(content=text, embedding=[0.5, 1.0]) for text in SHORT])
    assert enrich(store, model=path, code="int8").written == len(SHORT)
    found = RRRAAdapterRanker(path).run(query=QUESTION, documents=store.filter_documents())["documents"]
    assert found[0].content == SHORT[int(max_sim(MultiVectorEncoder(path, device="cpu")).argmax())]
    assert found[0].embedding == [0.5, 1.0]


def test_it_is_said_what_to_retrieve_with(path: str) -> None:
    with pytest.raises(ValueError, match="no embedding of a query to retrieve by: retrieve with another embedder"):
        RRRAEmbedder(path).run(QUESTION)


def test_a_late_interaction_model_is_saved_and_loaded(path: str, tmp_path: Path) -> None:
    model = RRRAModel.load(path)
    codes = model.encode_documents(SHORT)[1]
    model.save(tmp_path / "saved")
    again = RRRAModel.load(tmp_path / "saved")
    assert np.array_equal(
        again.score(again.encode_query(QUESTION), codes).fused, model.score(model.encode_query(QUESTION), codes).fused
    )


def test_pooled_tokens_are_kept(tmp_path: Path) -> None:
    path = write_late_interaction(tmp_path / "pooled", HierarchicalTokenPooling(2))
    model = RRRAModel.load(path, model_kwargs={"dtype": torch.float32})
    codes = model.encode_documents(SHORT, code="int8")[1]
    expected = max_sim(MultiVectorEncoder(str(path), device="cpu"))
    assert model.score(model.encode_query(QUESTION), codes).fused == pytest.approx(expected, abs=0.005)


def test_what_is_no_cosine_or_has_no_embedding_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="does not scale its token states to length 1"):
        RRRAModel.load(write_late_interaction(tmp_path / "long", normalise=False))
    with pytest.raises(ValueError, match="no embedding of a text to truncate"):
        RRRAModel.load(path, truncate_dim=16)


@pytest.mark.parametrize("name", ["rrra-minilm-l6", "all-MiniLM-L6-v2"])
def test_the_token_match_opens_in_sentence_transformers(name: str, tmp_path: Path) -> None:
    model = RRRAModel.shared(name, model_kwargs={"dtype": torch.float32}, device="cpu")
    model.save(tmp_path / "multi", format="multi-vector")
    opened = MultiVectorEncoder(str(tmp_path / "multi"), device="cpu")
    query = model.encode_query(QUESTION)
    (batch,) = model.encoder.encode(SHORT, task="document")
    states = torch.nn.functional.normalize(model.project(batch.states), dim=-1).split(batch.lengths.tolist())
    by_text = dict(zip(batch.indices.tolist(), states, strict=True))
    tokens = torch.nn.functional.normalize(query.states, dim=-1)
    expected = [float((tokens @ by_text[number].T).amax(dim=1).mean()) for number in range(len(SHORT))]
    assert max_sim(opened) == pytest.approx(expected, abs=1e-5)
    # And back again.
    again = RRRAModel.load(tmp_path / "multi", model_kwargs={"dtype": torch.float32})
    codes = again.encode_documents(SHORT, code="int8")[1]
    assert again.score(again.encode_query(QUESTION), codes).fused == pytest.approx(expected, abs=0.005)


def test_what_a_multi_vector_encoder_cannot_have_is_refused(tmp_path: Path) -> None:
    model = RRRAModel.load("all-MiniLM-L6-v2", device="cpu")
    model.encoder.transformer.prompts["query"] = "query: "
    with pytest.raises(ValueError, match="its prompt 'query: ' do not count here, and would there"):
        model.save(tmp_path / "model", format="multi-vector")
    assert not (tmp_path / "model").exists()
