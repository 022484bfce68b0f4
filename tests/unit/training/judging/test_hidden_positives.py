import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from facts import write_facts
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.candidates.shared_labels import SharedLabels, kept_labels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.judging.detector import Detector
from rrra_training.judging.examined import false_negatives, features_of
from rrra_training.judging.fitting_detection import fit_detection
from rrra_training.judging.hidden_positives import hide_positives
from rrra_training.judging.projecting import projected
from rrra_training.studies.detection_benchmark import app as benchmark
from rrra_training.studies.detection_figures import auroc_interval, measure, precision_at
from rrra_training.studies.detection_methods import Method, cross_validated
from rrra_training.studies.gradients import read_lists
from sentence_transformers import CrossEncoder
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from rrra_haystack.model.detection import SHARED_LABELS_WEIGHT, Detection
from rrra_haystack.model.encoder import native_dtype
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import resolve_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The invented towns, each passage told twice in other words, so that every question has two positives."""
    folder = write_facts(tmp_path_factory.mktemp("several") / "facts")
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    again = [
        row | {"_id": row["_id"] + "b", "text": f"The chronicle has it that {row['text'][0].lower()}{row['text'][1:]}"}
        for row in rows
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows + again))
    for path in (folder / "qrels").glob("*.tsv"):
        head, *pairs = path.read_text().splitlines()
        twice = [line for pair in pairs for line in (pair, pair.replace("\t1", "b\t1"))]
        path.write_text("\n".join([head, *twice]) + "\n")
    return folder


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory, model: RRRAModel) -> CandidateSet:
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "split": "train"})
    cache = tmp_path_factory.mktemp("cache")
    return prepare(config, model.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig())


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


def labelled(data: CandidateSet, pairs: list[tuple[int, int]]) -> CandidateSet:
    """The same queries and candidates with other labels, one pair of a query and a row after the other."""
    pairs = sorted(pairs)
    counts = np.bincount([query for query, _ in pairs], minlength=len(data))
    rows = np.array([row for _, row in pairs])
    return replace(data, positives=Positives(rows, np.ones_like(rows), np.cumsum(counts)))


def test_whoever_hides_positives_shows_no_hidden_label(
    data: CandidateSet, folder: Path, model: RRRAModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray | None] = []
    made = SharedLabels.__init__

    def watched(self: SharedLabels, data: CandidateSet, known: np.ndarray | None = None) -> None:
        seen.append(known)
        made(self, data, known)

    monkeypatch.setattr(SharedLabels, "__init__", watched)
    with Detector(model.adapter, model.projection, [data], tmp_path, seed=0):
        pass
    read_lists(data, model, tmp_path, seed=0)
    arguments = [f"{folder}:train", "--output", str(tmp_path / "out")]
    assert CliRunner().invoke(benchmark, arguments).exit_code == 0
    # Of each query one of two labels may be read.
    assert [None if known is None else int(known.sum()) for known in seen] == [len(data)] * 3


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


def test_labels_of_a_passage_are_drawn_evenly() -> None:
    rows = np.repeat([3, 5, 8], [2, 640, 64])
    kept = kept_labels(rows)
    assert np.bincount(rows[kept]).tolist() == [0, 0, 0, 2, 0, 64, 0, 0, 64]
    assert np.ptp(np.diff(np.flatnonzero(kept[rows == 5]))) == 0


def test_labels_of_others_speak_against_where_each_passage_has_one_query(data: CandidateSet) -> None:
    mined = np.asarray(data.mined.rows)
    own = {query: int(mined[query, 0]) for query in range(len(data))}
    alone = [(query, row) for query, row in own.items() if list(own.values()).count(row) == 1]
    shared = SharedLabels(labelled(data, alone))
    owner, row = alone[0]
    other = next(query for query in range(len(data)) if query != owner)
    unlabelled = next(place for place in range(len(data.passages)) if place not in own.values())
    found = shared.log_odds(np.array([other, owner, other]), np.array([row, row, unlabelled]))
    assert found[0] < -0.5
    # Its own label is no evidence, and neither is no label.
    assert found[1:].tolist() == [0, 0]


def test_labels_of_others_speak_for_it_where_near_queries_share_passages(data: CandidateSet) -> None:
    cosines = np.asarray(data.queries.pooled) @ np.asarray(data.queries.pooled).T
    np.fill_diagonal(cosines, -1)
    mined = np.asarray(data.mined.rows)
    # Every query is labelled with what its nearest other query finds first.
    pairs = {(query, int(mined[query, 0])) for query in range(len(data))}
    pairs |= {(int(cosines[query].argmax()), int(mined[query, 0])) for query in range(len(data))}
    shared = SharedLabels(labelled(data, list(pairs)))
    query, row = next(iter(pairs))
    sharing = [other for other, its in pairs if its == row and other != query]
    assert sharing
    assert shared.log_odds(np.array([query]), np.array([row]))[0] > 1


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
    # It was not trained, so its scores differ by little: the same format, and the same batches.
    cross_encoder.to(native_dtype(cross_encoder.device))
    said = cross_encoder.predict(pairs, batch_size=64, activation_fn=torch.nn.Identity())
    assert methods["cross-encoder"]["AUROC"] == pytest.approx(roc_auc_score(hidden.truth, said))
