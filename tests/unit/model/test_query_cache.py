import pytest
import torch
from rrra_models import with_projection

from rrra_haystack.model.rrra_model import RRRAModel


def test_a_query_is_encoded_once(model: RRRAModel) -> None:
    assert model.encode_query("once") is model.encode_query("once")
    assert model.encode_query("once", prompt="query: ") is not model.encode_query("once")


def test_a_prompt_is_part_of_a_remembered_query(model: RRRAModel) -> None:
    plain, prompted = model.encode_query("tea"), model.encode_query("tea", prompt="Represent this query: ")
    assert not torch.allclose(plain.embedding, prompted.embedding, atol=0.01)
    assert plain.states.shape == prompted.states.shape


def test_only_the_last_queries_are_remembered(model: RRRAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.model.rrra_model._QUERIES_KEPT", 4)
    fresh = RRRAModel(model.encoder, model.config)
    first = fresh.encode_query("0")
    for number in range(1, 4):
        fresh.encode_query(str(number))
    assert fresh.encode_query("0") is first
    fresh.encode_query("4")
    assert len(fresh._queries) == 4
    assert fresh.encode_query("0") is first
    assert ("1", None) not in fresh._queries


def test_a_query_is_encoded_anew_after_the_weights_changed(model: RRRAModel) -> None:
    projected = with_projection(model)
    before = projected.encode_query("once").states
    with torch.no_grad():
        projected.projection.weight.mul_(2)
    projected.refresh()
    assert torch.allclose(projected.encode_query("once").states, 2 * before)
