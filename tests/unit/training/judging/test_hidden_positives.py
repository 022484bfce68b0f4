from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.judging.detector import Detector
from rrra_training.judging.examined import false_negatives, features_of
from rrra_training.judging.fitting_detection import fit_detection
from rrra_training.judging.hidden_positives import hide_positives
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge
from rrra_training.studies.detection_candidates import judge_split
from rrra_training.studies.gradients import read_lists
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rrra_haystack.model.detection import SHARED_LABELS_WEIGHT, Detection
from rrra_haystack.model.rrra_model import RRRAModel


def test_one_positive_is_kept_and_the_others_are_hidden(data: CandidateSet) -> None:
    hidden = hide_positives(data, seed=3)
    assert len(hidden) == len(data)
    mined = np.asarray(data.mined.rows)
    for place, query in enumerate(hidden.queries):
        kept = hidden.kept[place]
        assert kept in data.positives.of(query)
        assert not (mined[query][hidden.candidate[place]] == kept).any()
        assert set(mined[query][hidden.hidden[place]]) <= set(data.positives.of(query)) - {kept}
    assert hidden.truth.sum() == hidden.hidden.sum() > 0.9 * len(hidden)
    assert len(hide_positives(data, seed=3, limit=7)) == 7
    assert (hide_positives(data, seed=3).kept == hidden.kept).all()
    assert (hide_positives(data, seed=4).kept != hidden.kept).any()


def test_the_detector_finds_what_was_hidden(data: CandidateSet, model: RRRAModel, tmp_path: Path) -> None:
    hidden = hide_positives(data, seed=9)
    with Detector(model.adapter, model.projection, [data], tmp_path, seed=0) as detector:
        assert detector.detection != Detection()
        found = detector.probability(data, hidden.queries, hidden.kept).numpy()
    assert found.shape == data.mined.rows.shape
    assert (found[~hidden.candidate] == 0).all()
    best = found.argmax(axis=1)
    right = hidden.hidden[np.arange(len(hidden)), best]
    assert right.mean() > 0.9
    assert found[hidden.hidden].mean() > 0.5
    assert found[hidden.candidate & ~hidden.hidden].mean() < 0.05


def test_few_queries_leave_the_defaults(data: CandidateSet, model: RRRAModel, tmp_path: Path) -> None:
    with Detector(model.adapter, model.projection, [data], tmp_path, seed=0, limit=5) as detector:
        assert detector.detection == Detection()


@pytest.fixture(scope="module")
def features(data: CandidateSet, model: RRRAModel, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Features of the candidates of all queries beside a kept positive, with adapter scores that say nothing."""
    hidden = hide_positives(data, seed=0)
    scores = np.zeros(data.mined.rows.shape, dtype=np.float32)
    with projected(data.passages, model.projection, tmp_path_factory.mktemp("projected")) as passages:
        return features_of(hidden, passages, SharedLabels(data, hidden.known), scores)


def test_what_is_fitted_is_the_regression(data: CandidateSet, features: np.ndarray) -> None:
    hidden = hide_positives(data, seed=0)
    detection = fit_detection([(features, hidden.truth)])
    # Scores that say nothing get no weight, and the mean probability is the share of hidden ones.
    assert detection.weights[8] == pytest.approx(0, abs=1e-6)
    assert detection.probability(torch.from_numpy(features)).mean() == pytest.approx(hidden.truth.mean(), rel=0.01)
    with pytest.raises(ValueError, match="no hidden positive"):
        fit_detection([(features, np.zeros_like(hidden.truth))])


def test_without_labels_of_others_it_is_the_usual_regression(data: CandidateSet, features: np.ndarray) -> None:
    truth = hide_positives(data, seed=0).truth
    silent = features.copy()
    silent[:, -1] = 0
    usual = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000, tol=1e-8)).fit(silent[:, :-1], truth)
    fitted = fit_detection([(silent, truth)])
    said = fitted.probability(torch.from_numpy(silent)).numpy()
    assert said == pytest.approx(usual.predict_proba(silent[:, :-1])[:, 1], abs=0.005)
    assert fitted.weights[-1] == SHARED_LABELS_WEIGHT


def test_labels_that_are_hidden_are_not_read(data: CandidateSet) -> None:
    hidden = hide_positives(data, seed=0, limit=5)
    known = hidden.known
    owner = np.repeat(np.arange(len(data)), data.positives.counts)
    for query in range(len(data)):
        rows = data.positives.rows[known & (owner == query)].tolist()
        place = np.flatnonzero(hidden.queries == query)
        assert rows == (hidden.kept[place].tolist() if len(place) else data.positives.of(query).tolist())


def test_whoever_hides_positives_shows_no_hidden_label(
    data: CandidateSet, folder: Path, model: RRRAModel, tmp_path: Path
) -> None:
    hidden = hide_positives(data, seed=0)
    queries, rows = np.repeat(hidden.queries, hidden.candidate.sum(axis=1)), hidden.mined[hidden.candidate]
    known, everything = SharedLabels(data, hidden.known), SharedLabels(data)
    assert (known.log_odds(queries, rows) != everything.log_odds(queries, rows)).any()
    with projected(data.passages, model.projection, tmp_path) as passages:
        scores = judge(model.adapter, model.projection, data, passages, "int8", lexical=None).adapter[hidden.queries]
        told, too_much = (features_of(hidden, passages, shared, scores) for shared in (known, everything))
        expected = false_negatives(model.config.detection, hidden, passages, known, scores)
    judged = judge_split(model, f"{folder}:train", tmp_path, seed=0, limit=None)
    assert judged.features == pytest.approx(told, abs=1e-4)
    assert judged.features != pytest.approx(too_much, abs=1e-4)
    found = read_lists(data, model, tmp_path, seed=0).candidates.false_negative
    assert found is not None
    assert found.numpy() == pytest.approx(expected, abs=1e-4)
    with Detector(model.adapter, model.projection, [data], tmp_path, seed=0) as detector:
        fitted = detector.detection
    assert fitted.weights == pytest.approx(fit_detection([(told, hidden.truth)]).weights, rel=1e-2, abs=1e-2)
    assert fitted.weights != pytest.approx(fit_detection([(too_much, hidden.truth)]).weights, rel=1e-2, abs=1e-2)


def test_restyled_queries_hide_nothing_and_tell_nothing(
    data: CandidateSet, folder: Path, model: RRRAModel, tmp_path: Path
) -> None:
    config = SplitConfig.model_validate(
        {"data": {"format": "beir", "path": folder}, "split": "train", "styles": {"keywords": 1}}
    )
    styled = prepare(config, model.encoder, tmp_path, mining=MiningConfig(), evidence=EvidenceConfig())
    again = [name for name in styled.queries.ids if name.endswith("#keywords")]
    assert styled.restyled == len(again) > 10
    hidden, plain = hide_positives(styled, seed=0), hide_positives(data, seed=0)
    assert (hidden.queries == plain.queries).all()
    assert (hidden.kept == plain.kept).all()
    # A restyled query has the label that is hidden from the query that it was made from.
    queries, rows = plain.queries.repeat(2), data.positives.rows
    expected = SharedLabels(data, plain.known).log_odds(queries, rows)
    assert (SharedLabels(styled, hidden.known).log_odds(queries, rows) == expected).all()


def test_a_query_without_candidates_has_no_features(data: CandidateSet, model: RRRAModel, tmp_path: Path) -> None:
    hidden = hide_positives(data, seed=0)
    candidate = hidden.candidate.copy()
    candidate[0] = False
    scores = np.zeros(data.mined.rows.shape, dtype=np.float32)
    with projected(data.passages, model.projection, tmp_path) as passages:
        lists = replace(hidden, candidate=candidate)
        found = false_negatives(Detection(), lists, passages, SharedLabels(data), scores)
    assert (found[0] == 0).all()
    assert (found[1:].max(axis=1) > 0).all()
