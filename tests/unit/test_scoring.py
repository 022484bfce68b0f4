import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.scoring import Calibration, check_fusion_weight, reranking_score, resampling_score

cosines = st.floats(-1, 1, width=32)
weights = st.floats(0, 20)


@given(
    base=st.lists(cosines, min_size=2, max_size=8), adapter=st.lists(cosines, min_size=8, max_size=8), weight=weights
)
def test_order_is_that_of_the_published_product(base: list[float], adapter: list[float], weight: float) -> None:
    fused = reranking_score(torch.tensor(base), torch.tensor(adapter[: len(base)]), weight).tolist()
    product = [math.exp(b) * math.exp(a) ** weight for b, a in zip(base, adapter, strict=False)]
    for i in range(len(base)):
        for j in range(len(base)):
            if product[i] > product[j] * (1 + 1e-4):
                assert fused[i] > fused[j]


@given(base=cosines, adapter=cosines, step=st.floats(0.01, 1), weight=st.floats(0.01, 20))
def test_a_higher_score_never_lowers_the_result(base: float, adapter: float, step: float, weight: float) -> None:
    score = reranking_score(
        torch.tensor([base, base + step, base]), torch.tensor([adapter, adapter, adapter + step]), weight
    )
    assert score[1] > score[0]
    assert score[2] > score[0]


def test_weight_zero_is_the_encoder() -> None:
    base = torch.tensor([0.3, -0.2, 0.9])
    assert torch.equal(reranking_score(base, torch.tensor([-1.0, 1.0, 0.0]), 0), base)


def test_scores_stay_on_the_scale_of_cosines() -> None:
    assert reranking_score(torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0]), 3).tolist() == [1, -1]


def test_resampling_on_hand_computed_numbers() -> None:
    hard, false = torch.tensor([0.8, 0.8, 0.8, 0.5]), torch.tensor([0.0, 0.5, 1.0, 0.2])
    assert resampling_score(hard, false, 2).tolist() == pytest.approx([0.8, 0.2, 0.0, 0.32])
    assert torch.equal(resampling_score(hard, false, 0), hard)


def test_calibration_on_hand_computed_numbers() -> None:
    calibration = Calibration(slope=2, gap_slope=4, intercept=-1)
    found = calibration.probability(torch.tensor([0.5, 0.25])).tolist()
    assert found == pytest.approx([1 / (1 + math.exp(0)), 1 / (1 + math.exp(1.5))])
    assert calibration.probability(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, True, "1", None])
def test_impossible_fusion_weights(wrong: object) -> None:
    with pytest.raises(ValueError, match="fusion_weight must be a number >= 0"):
        check_fusion_weight(wrong)


def test_possible_fusion_weights() -> None:
    assert check_fusion_weight(0) == 0
    assert check_fusion_weight(2.5) == 2.5
