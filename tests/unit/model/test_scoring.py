import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rrra_haystack.model.scoring import Calibration, check_fusion_weight, reranking_score, resampling_score

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


@pytest.mark.parametrize("weight", [1e9, 1e39, 1e308])
def test_a_huge_weight_is_the_adapter(weight: float) -> None:
    adapter = torch.tensor([-1.0, 1.0, 7.0])
    assert torch.equal(reranking_score(torch.tensor([0.3, -0.2, 0.9]), adapter, weight), adapter)


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
    assert type(check_fusion_weight(np.float32(2.5))) is float


def test_negative_cosines_do_not_turn_the_order_round() -> None:
    # As plain products, -0.2 * -0.5 > -0.2 * 0.1 and -0.4 * -0.4 > -0.1 * -0.1: the worse candidate would win.
    base, adapter = torch.tensor([-0.2, -0.2, -0.4, -0.1]), torch.tensor([-0.5, 0.1, -0.4, -0.1])
    fused = reranking_score(base, adapter, 1.0)
    assert fused.tolist() == pytest.approx([-0.35, -0.05, -0.4, -0.1])


@given(base=cosines, adapter=cosines, weight=weights)
def test_a_reranking_score_lies_between_its_parts(base: float, adapter: float, weight: float) -> None:
    fused = reranking_score(torch.tensor([base]), torch.tensor([adapter]), weight).item()
    assert min(base, adapter) - 1e-5 <= fused <= max(base, adapter) + 1e-5


@given(hard=st.floats(0.01, 1), p=st.floats(0, 0.98), step=st.floats(0.01, 0.5), gamma=st.floats(0.1, 5))
def test_a_probable_false_negative_is_drawn_less(hard: float, p: float, step: float, gamma: float) -> None:
    score = resampling_score(torch.tensor([hard, hard]), torch.tensor([p, min(p + step, 1)]), gamma)
    assert score[0] > score[1] >= 0


def test_a_probability_rounded_above_one_weighs_nothing() -> None:
    assert resampling_score(torch.tensor([0.5]), torch.tensor([1.0001]), 0.5).item() == 0


@given(scores=st.lists(cosines, min_size=1, max_size=10), gap_slope=st.floats(0, 30), intercept=st.floats(-5, 5))
def test_calibration_keeps_the_order(scores: list[float], gap_slope: float, intercept: float) -> None:
    found = Calibration(slope=5, gap_slope=gap_slope, intercept=intercept).probability(torch.tensor(scores))
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[torch.tensor(scores).argsort()].diff() >= 0).all()


def test_the_same_score_means_less_beside_a_higher_one() -> None:
    calibration = Calibration(slope=5, gap_slope=10, intercept=0)
    alone = calibration.probability(torch.tensor([0.4]))[0]
    beaten = calibration.probability(torch.tensor([0.4, 0.7]))[0]
    assert alone > beaten


@pytest.mark.parametrize(
    "wrong",
    [{"slope": 0.0}, {"slope": -1.0}, {"gap_slope": -0.1}, {"intercept": None}, {"temperature": 1.0}],
)
def test_impossible_calibrations(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Calibration(**({"slope": 1.0, "gap_slope": 1.0, "intercept": 0.0} | wrong))
