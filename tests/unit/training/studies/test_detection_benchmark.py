import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.splits import SplitConfig
from rrra_training.judging.hidden_positives import hide_positives
from rrra_training.studies.detection_benchmark import app as benchmark
from rrra_training.studies.detection_figures import auroc_interval, measure, precision_at
from rrra_training.studies.detection_methods import Method, cross_validated
from sentence_transformers import CrossEncoder
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.weights import cast_weights, native_dtype
from rrra_haystack.pretrained import resolve_encoder


def test_figures_on_hand_computed_numbers() -> None:
    truth, owner = np.array([True, False, False, True, False]), np.array([0, 0, 0, 1, 1])
    score = np.array([0.9, 0.1, 0.95, 0.8, 0.2])
    found = measure(Method(score, score > 0.5, score), truth, owner)
    # Of six pairs of a hidden positive and another, two are the wrong way round; by query 1 of 2, and 1 of 1.
    assert found["AUROC"] == pytest.approx(4 / 6)
    assert found["AUROC by query"] == pytest.approx(0.75)
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 3), 1)
    assert found["Brier"] == pytest.approx((0.01 + 0.01 + 0.9025 + 0.04 + 0.04) / 5)
    assert precision_at(score, truth, 0.5) == pytest.approx(2 / 3)
    interval = auroc_interval(score, score, truth, owner, seed=0, draws=20)
    assert interval == {"difference": 0, "low": 0, "high": 0}


def test_the_difference_of_two_areas_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, owner = generator.random(200) < 0.2, np.repeat(np.arange(20), 10)
    # Rounded, so that there are ties.
    system, baseline = generator.random((2, 200)).round(1)
    interval = auroc_interval(system, baseline, truth, owner, seed=0, draws=50)
    expected = roc_auc_score(truth, system) - roc_auc_score(truth, baseline)
    assert interval["difference"] == pytest.approx(expected, abs=1e-12)
    assert interval["low"] < expected < interval["high"]


def test_folds_never_see_their_own_query() -> None:
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(20), 5)
    # The feature is the query's number: a regression that saw the query would know its rate.
    truth = np.repeat(generator.random(20) > 0.5, 5)
    truth[0] = not truth[0]
    features = np.eye(20)[owner]
    assert np.ptp(cross_validated(features, truth, owner)[owner == 3]) == 0
    assert abs(np.corrcoef(cross_validated(features, truth, owner), truth)[0, 1]) < 0.5


def test_too_few_queries_to_measure_by(folder: Path, tmp_path: Path) -> None:
    arguments = [f"{folder}:test", "--limit", "2", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(benchmark, arguments)
    assert "are among the candidates of 2 queries" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_benchmark_writes_figures_and_a_plot(folder: Path, model: RRRAModel, tmp_path: Path) -> None:
    torch.manual_seed(0)
    # Its first layer, for the sake of time.
    cross_encoder = CrossEncoder(
        resolve_encoder("all-MiniLM-L6-v2"), num_labels=1, config_kwargs={"num_hidden_layers": 1}
    )
    cross_encoder.save(str(tmp_path / "cross-encoder"))
    arguments = [f"{folder}:test", "--fit", f"{folder}:train", "--output", str(tmp_path / "out"), "--seed", "1"]
    arguments += ["--cross-encoder", str(tmp_path / "cross-encoder")]
    result = CliRunner().invoke(benchmark, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert (report["data"], report["queries"]) == (["facts:test"], 10)
    methods = report["methods"]
    assert methods["RRRA, detection"]["AUROC"] > 0.95
    assert methods["RRRA, detection"]["precision"] > 0.5
    assert 0 < methods["TopK-PercPos"]["recall"] <= 1
    for form, over in report["auroc_over_baseline"].items():
        gain = methods[form]["AUROC"] - methods["logistic regression on 8 features"]["AUROC"]
        assert over["difference"] == pytest.approx(gain)
    knowing = methods["RRRA, detection"]["AUROC"] - methods["the same and labels of other queries"]["AUROC"]
    assert report["auroc_over_baseline_with_labels"]["difference"] == pytest.approx(knowing)
    assert (tmp_path / "out" / "reliability.png").stat().st_size > 10_000
    assert "TopK-PercPos" in result.output
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "split": "test"})
    asked = prepare(config, model.encoder, tmp_path / "cache", mining=MiningConfig(), evidence=EvidenceConfig())
    hidden = hide_positives(asked, seed=1)
    pairs = []
    for query, own in zip(hidden.queries, hidden.candidate, strict=True):
        passages = [asked.passages.text(row) for row in asked.mined.rows[query][own]]
        pairs += [(asked.queries.text(query), passage) for passage in passages]
    # It was not trained, so its scores differ by little: the same format, and the same batches. Some processors still
    # turn two round that are all but equal, by where they stand in their batch.
    cast_weights(cross_encoder, native_dtype(cross_encoder.device))
    said = cross_encoder.predict(pairs, batch_size=64, activation_fn=torch.nn.Identity())
    assert methods["cross-encoder"]["AUROC"] == pytest.approx(roc_auc_score(hidden.truth, said), abs=0.005)
