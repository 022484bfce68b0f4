import math
from pathlib import Path

import pytest

from rrra_haystack.reader.answers import AnswerCalibration, AnswerRegression, logit

CALIBRATION = AnswerCalibration(
    right=AnswerRegression(bias=-1.0, span=0.5, relevance=2.0),
    none=AnswerRegression(bias=1.0, span=-0.25, relevance=-1.0),
    right_alone=AnswerRegression(bias=-3.0, span=0.25),
    none_alone=AnswerRegression(bias=0.0, span=0.0),
)


def test_the_probabilities_by_hand() -> None:
    # logit(0.75) = ln 3; the best of the two answers says whether there is one.
    none = 1 / (1 + math.exp(-1 + 0.25 * 4 + math.log(3)))
    best = 1 / (1 + math.exp(1 - 0.5 * 4 - 2 * math.log(3)))
    worse = math.sqrt(1 - best) / (1 + math.exp(1))
    right, said_none = CALIBRATION.probabilities([(0.0, 0.5), (4.0, 0.75)])
    assert said_none == pytest.approx(none)
    assert right == pytest.approx([(1 - none) * worse, (1 - none) * best])
    right, said_none = CALIBRATION.probabilities([(4.0, None)])
    assert said_none == 0.5
    assert right == pytest.approx([0.5 / (1 + math.exp(2))])
    assert CALIBRATION.probabilities([]) == ([], 1.0)


def test_extremes_stay_probabilities() -> None:
    (low, high), _ = CALIBRATION.probabilities([(-5000.0, 0.0), (5000.0, 1.0)])
    assert 0 <= low < 1e-6
    assert 1 - 1e-6 < high <= 1
    assert logit(0.5) == 0


def test_a_directory_without_a_calibration_and_with_a_damaged_one(tmp_path: Path) -> None:
    assert AnswerCalibration.load(tmp_path) is None
    (tmp_path / "answers.json").write_text(CALIBRATION.model_dump_json())
    assert AnswerCalibration.load(tmp_path) == CALIBRATION
    for damaged, told in (
        ('{"right": "much"}', r"answers\.json is no calibration of answers \(right: .*Fit it again"),
        ('{"right": ', r"answers\.json is not valid JSON \(.*, line 1\)\. Fit it again"),
    ):
        (tmp_path / "answers.json").write_text(damaged)
        with pytest.raises(ValueError, match=told):
            AnswerCalibration.load(tmp_path)
