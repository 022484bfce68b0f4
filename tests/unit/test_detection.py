import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rrra_haystack.detection import FEATURES, Detection, list_features
from rrra_haystack.model import RRRAModel


def test_list_features_on_hand_computed_numbers() -> None:
    query, contexts = torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    found = list_features(query, contexts, torch.tensor([0.6, 0.8]), torch.tensor([0.3, 0.1]))
    half = 0.5**0.5
    expected = [[1, 1, 0, 0.6, half, half, 0.4, 0.6, 1, -1], [0, -1, 0.5, 0.8, half, half, -0.6, 0.6, -1, 1]]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert found.shape[1] == len(FEATURES)


def test_no_candidates_no_features() -> None:
    assert list_features(torch.ones(2), torch.ones(0, 2), torch.ones(2), torch.ones(0)).shape == (0, 10)


def test_the_order_of_the_candidates_does_not_matter() -> None:
    torch.manual_seed(0)
    query, contexts, positive, adapter = torch.randn(8), torch.randn(20, 8), torch.randn(8), torch.randn(20)
    order = torch.randperm(20)
    found = list_features(query, contexts, positive, adapter)
    assert torch.allclose(list_features(query, contexts[order], positive, adapter[order]), found[order], atol=1e-5)


def test_probability_is_the_logistic_function_of_the_weighted_features() -> None:
    detection = Detection(weights=(1.0, *[0.0] * 9), intercept=-1.0)
    features = torch.zeros(2, 10)
    features[1, 0] = 2.0
    assert detection.probability(features).tolist() == pytest.approx([1 / (1 + np.e), 1 / (1 + np.exp(-1))])


def test_there_is_one_weight_a_feature() -> None:
    with pytest.raises(ValidationError, match="weights"):
        Detection(weights=(1.0, 2.0))


def test_a_paraphrase_of_the_positive_is_a_probable_false_negative(model: RRRAModel) -> None:
    texts = [
        "Yeast turns sugar into carbon dioxide, and the gas makes the dough rise.",
        "The Danube rises in the Black Forest.",
        "Green tea is steeped at 75 degrees.",
        "The sun rises in the east.",
        "Bread is sold at the bakery around the corner.",
    ]
    embeddings, _ = model.encode_documents(["Dough rises because yeast makes carbon dioxide out of sugar."])
    _, codes = model.encode_documents(texts)
    found = model.false_negatives(model.encode_query("What makes dough rise?"), codes, torch.from_numpy(embeddings[0]))
    assert found.argmax() == 0
    assert found[0] > 10 * found[1:].max()
    assert ((found >= 0) & (found <= 1)).all()
