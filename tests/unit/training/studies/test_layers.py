"""Hidden layers side by side, over an encoder with random weights."""

import pytest
import torch
from encoders import write_encoder
from rrra_training.data import Passage, Query
from rrra_training.evaluation.collection import Collection
from rrra_training.measures.ranking import per_query
from rrra_training.studies.layers import LayeredEncoder, measure, scale_of
from texts import TEXTS

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel

LAYERS = (-1, -2)
QUESTION = "Where does the Danube rise?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("layers") / "encoder"))


def test_the_layers_are_those_of_the_encoder(path: str) -> None:
    observed = LayeredEncoder(path, LAYERS)
    (batch,) = observed.encoder.encode([TEXTS[0]], task="document")
    for layer, states in zip(LAYERS, observed.split(batch.states), strict=True):
        (alone,) = Encoder(path, layer=layer).encode([TEXTS[0]], task="document")
        assert torch.allclose(states, alone.states.float())
        assert torch.allclose(batch.pooled, alone.pooled)


def test_a_layer_ranks_as_a_model_over_it(path: str) -> None:
    passages = [Passage(str(number), "", text) for number, text in enumerate(TEXTS)]
    judged = {"q": {"3": 2, "7": 1}}
    collection = Collection("tiny", passages, [Query("q", QUESTION)], judged)
    _, found = measure(LayeredEncoder(path, LAYERS), collection, "int8")
    for layer, figures in zip(LAYERS, found, strict=True):
        model = RRRAModel.untrained(Encoder(path, layer=layer))
        fused = model.score(model.encode_query(QUESTION), model.encode_documents(TEXTS, code="int8")[1]).fused
        run = {"q": {str(number): float(score) for number, score in enumerate(fused)}}
        assert figures.untrained == pytest.approx(per_query(judged, run)["nDCG@10"][0])


def test_the_scale_tells_what_is_common_and_what_is_large() -> None:
    assert scale_of(torch.eye(4)) == pytest.approx((0.25, 0.25))
    assert scale_of(torch.tensor([[3.0, 0.0], [5.0, 0.0]])) == pytest.approx((1.0, 1.0))
