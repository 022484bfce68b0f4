import numpy as np
import pytest
from rrra_training.measures.calibration import expected_calibration_error


def test_calibration_error_on_hand_computed_numbers() -> None:
    probability = np.array([0.2] * 45 + [0.8] * 30)
    relevant = np.array([0] * 45 + [1] * 30)
    assert expected_calibration_error(probability, relevant) == pytest.approx(0.2)
    assert expected_calibration_error(relevant.astype(float), relevant) == pytest.approx(0)
