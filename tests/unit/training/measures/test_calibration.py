import numpy as np
import pytest
from rrra_training.measures.calibration import equal_bins, expected_calibration_error


def test_calibration_error_on_hand_computed_numbers() -> None:
    probability = np.array([0.2] * 45 + [0.8] * 30)
    relevant = np.array([0] * 45 + [1] * 30)
    assert expected_calibration_error(probability, relevant) == pytest.approx(0.2)
    assert expected_calibration_error(relevant.astype(float), relevant) == pytest.approx(0)


def test_equal_probabilities_are_judged_together_in_whatever_order_they_come() -> None:
    relevant = np.repeat([1, 0], 750)
    probability = np.full(1500, 0.5)
    assert expected_calibration_error(probability, relevant) == pytest.approx(0)
    assert expected_calibration_error(probability, np.tile([1, 0], 750)) == pytest.approx(0)
    mixed = np.random.default_rng(0).integers(5, size=200) / 5
    order = np.random.default_rng(1).permutation(200)
    is_right = np.random.default_rng(2).random(200) < mixed
    whole = expected_calibration_error(mixed, is_right)
    assert expected_calibration_error(mixed[order], is_right[order]) == pytest.approx(whole)
    bins = equal_bins(mixed, 15)
    assert sorted(np.concatenate(bins).tolist()) == list(range(200))
    assert all(len(set(mixed[one].tolist())) == 1 for one in bins)


def test_bins_are_of_equally_many_where_all_differ() -> None:
    probability = np.random.default_rng(0).random(153)
    assert {len(one) for one in equal_bins(probability, 15)} == {10, 11}
    assert len(equal_bins(probability[:4], 15)) == 4
    assert equal_bins(probability[:0], 15) == []
