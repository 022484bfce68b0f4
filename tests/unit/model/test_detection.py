import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rrra_haystack.model.detection import FEATURES, Detection, list_features
from rrra_haystack.model.rrra_model import RRRAModel


def test_list_features_on_hand_computed_numbers() -> None:
    query, contexts = torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    adapter, words, shared = torch.tensor([0.3, 0.1]), torch.tensor([0.0, 0.5]), torch.tensor([0.0, -2.0])
    found = list_features(query, contexts, torch.tensor([0.6, 0.8]), adapter, words, shared)
    half = 0.5**0.5
    # The centroid of the adapter's top 5, here both, and the positive is (0.5, 0.5) + (0.6, 0.8), at any length.
    length = (1.1**2 + 1.3**2) ** 0.5
    expected = [
        [1, 1, 0, 0.6, half, half, 0.4, 0.6, 1, -1, 0.3, 1.1 / length, 0, -1, 0],
        [0, -1, 0.5, 0.8, half, half, -0.6, 0.6, -1, 1, 0.4, 1.3 / length, 0, 1, -2],
    ]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert found.shape[1] == len(FEATURES)


def test_neighbours_are_those_in_the_list() -> None:
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 3.0])
    contexts = torch.stack([angles.cos(), angles.sin()], dim=1)
    nothing = torch.zeros(8)
    # The positive lies at 0.25.
    found = list_features(contexts[0], contexts, torch.tensor([0.25, 0.0]).exp(), nothing, nothing)
    positive = torch.tensor([0.25, 0.0]).exp()
    at = float(torch.atan2(positive[1], positive[0]))
    for place, own in enumerate(angles.tolist()):
        others = [abs(own - other) for other in angles.tolist() if other != own]
        nearest = sorted([*others, abs(own - at)])[:5]
        assert float(found[place, 10]) == pytest.approx(np.cos(nearest).mean(), abs=1e-5)
        assert float(found[place, 12]) == sum(other < abs(own - at) for other in others) / 8
    assert (found[:, 13:] == 0).all()


def test_no_candidates_no_features() -> None:
    nothing = torch.ones(0)
    assert list_features(torch.ones(2), torch.ones(0, 2), torch.ones(2), nothing, nothing).shape == (0, 15)


def test_one_candidate_has_features() -> None:
    one = torch.ones(1)
    assert list_features(torch.ones(2), torch.ones(1, 2), torch.ones(2), one, one).isfinite().all()


def test_the_order_of_the_candidates_does_not_matter() -> None:
    torch.manual_seed(0)
    query, contexts, positive = torch.randn(8), torch.randn(20, 8), torch.randn(8)
    adapter, words, shared = torch.randn(3, 20)
    order = torch.randperm(20)
    found = list_features(query, contexts, positive, adapter, words, shared)
    again = list_features(query, contexts[order], positive, adapter[order], words[order], shared[order])
    assert torch.allclose(again, found[order], atol=1e-5)


def test_probability_is_the_logistic_function_of_the_weighted_features() -> None:
    detection = Detection(weights=(1.0, *[0.0] * 14), intercept=-1.0)
    features = torch.zeros(2, 15)
    features[1, 0] = 2.0
    assert detection.probability(features).tolist() == pytest.approx([1 / (1 + np.e), 1 / (1 + np.exp(-1))])


def test_there_is_one_weight_a_feature() -> None:
    with pytest.raises(ValidationError, match="15 weights, one a feature, but 2 were given"):
        Detection(weights=(1.0, 2.0))


def test_a_paraphrase_of_the_positive_is_a_probable_false_negative(model: RRRAModel) -> None:
    texts = [
        "Yeast turns sugar into carbon dioxide, and the gas makes the dough rise.",
        "The Danube rises in the Black Forest.",
        "Green tea is steeped at 75 degrees.",
        "The sun rises in the east.",
        "Bread is sold at the bakery around the corner.",
    ]
    _, labelled = model.encode_documents(["Dough rises because yeast makes carbon dioxide out of sugar."])
    _, codes = model.encode_documents(texts)
    found = model.false_negatives(model.encode_query("What makes dough rise?"), codes, labelled[0])
    assert found.argmax() == 0
    assert found[0] > 10 * found[1:].max()
    assert ((found >= 0) & (found <= 1)).all()
