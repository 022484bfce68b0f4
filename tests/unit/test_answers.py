import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from rrra_haystack.answers import AnswerCalibration, logit

CALIBRATION = AnswerCalibration(bias=-1.0, span=0.5, relevance=2.0, bias_alone=-3.0, span_alone=0.25)


def test_the_probability_by_hand() -> None:
    # logit(0.75) = ln 3
    wanted = 1 / (1 + math.exp(1 - 0.5 * 4 - 2 * math.log(3)))
    assert CALIBRATION.probability(4.0, 0.75) == pytest.approx(wanted)
    assert CALIBRATION.probability(4.0, None) == pytest.approx(1 / (1 + math.exp(2)))


def test_extremes_stay_probabilities() -> None:
    assert 0 <= CALIBRATION.probability(-5000.0, 0.0) < 1e-6
    assert 1 - 1e-6 < CALIBRATION.probability(5000.0, 1.0) <= 1
    assert logit(0.5) == 0


def test_a_directory_without_a_calibration_and_with_a_damaged_one(tmp_path: Path) -> None:
    assert AnswerCalibration.load(tmp_path) is None
    (tmp_path / "answers.json").write_text(CALIBRATION.model_dump_json())
    assert AnswerCalibration.load(tmp_path) == CALIBRATION
    (tmp_path / "answers.json").write_text('{"bias": "much"}')
    with pytest.raises(ValidationError, match="bias"):
        AnswerCalibration.load(tmp_path)
