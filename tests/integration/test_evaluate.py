import json
from pathlib import Path

import numpy as np
import pytest
from rrra_training.evaluation import evaluate
from rrra_training.metrics import paired_interval, per_query
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.model import RRRAModel

PASSAGES = {
    "danube": "The Danube rises in the Black Forest and flows to the Black Sea.",
    "rhine": "The Rhine rises in the Swiss Alps and flows to the North Sea.",
    "bread": "Bread rises because yeast turns sugar into carbon dioxide.",
    "tea": "Green tea is steeped at 75 degrees, because boiling water makes it bitter.",
    "moon": "Ganymede is the largest moon of the Solar System.",
    "bridge": "The Golden Gate Bridge was opened in May 1937.",
}
QUERIES = {
    "q1": ("Where does the Danube begin?", "danube"),
    "q2": ("Why does dough rise?", "bread"),
    "q3": ("When was the bridge in San Francisco opened?", "bridge"),
    "q4": ("Which moon is the biggest?", "moon"),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in PASSAGES.items())
    )
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, (text, _) in QUERIES.items())
    )
    rows = "".join(f"{key}\t{right}\t1\n" for key, (_, right) in QUERIES.items())
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def test_the_json_has_the_promised_keys(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "figures.json"
    result = CliRunner().invoke(app, ["evaluate", str(data), "--json", str(file), "--seed", "3"])
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    assert figures["dataset"] == "tiny"
    assert (figures["split"], figures["queries"], figures["documents"]) == ("test", 4, 6)
    for system in ("encoder", "match", "rrra"):
        assert set(figures["systems"][system]) == {"R@1", "R@5", "R@20", "R@100", "MRR@10", "nDCG@10"}
        assert all(0 <= value <= 1 for value in figures["systems"][system].values())
    assert set(figures["latency_ms"]) == {"retrieve", "rerank"}
    assert set(figures["latency_ms"]["rerank"]) == {"p50", "p95"}
    assert figures["bytes_per_document"]["embedding"] == 4 * 384
    assert figures["bytes_per_document"]["codes"] > 0


def test_every_kind_of_codes_is_measured(data: Path, model: RRRAModel) -> None:
    figures = evaluate(data, model=model, codes=["float32", "int8", "1bit"])
    assert {"rrra", "rrra-int8", "rrra-1bit", "match", "match-int8", "match-1bit"} < set(figures["systems"])
    assert figures["systems"]["rrra"]["R@1"] == 1
    sizes = figures["bytes_per_document"]
    assert sizes["codes-1bit"] < sizes["codes-int8"] < sizes["codes"] * 4 / 3


def test_reranking_cannot_change_the_recall_of_the_whole_list(data: Path, model: RRRAModel) -> None:
    systems = evaluate(data, model=model)["systems"]
    assert systems["rrra"]["R@100"] == systems["encoder"]["R@100"] == 1


def test_limit_draws_the_same_queries_for_a_seed(data: Path, model: RRRAModel) -> None:
    first, again = (evaluate(data, model=model, limit=2, seed=5) for _ in range(2))
    assert first["queries"] == 2
    assert first["systems"] == again["systems"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"split": "dev"}, "has no split 'dev'"), ({"codes": ["2bit"]}, "Unknown kind of codes '2bit'")],
)
def test_errors(data: Path, model: RRRAModel, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(data, model=model, **arguments)


def test_metrics_on_hand_computed_numbers() -> None:
    qrels = {"a": {"x": 1}, "b": {"y": 1, "z": 1}, "c": {"w": 1}}
    run = {"a": {"y": 2.0, "x": 1.0}, "b": {"y": 3.0, "w": 2.0, "z": 1.0}}
    values = per_query(qrels, run)
    assert values["R@1"].tolist() == [0, 0.5, 0]
    assert values["MRR@10"].tolist() == [0.5, 1, 0]
    ideal = 1 + 1 / np.log2(3)
    assert values["nDCG@10"] == pytest.approx([1 / np.log2(3), (1 + 1 / np.log2(4)) / ideal, 0])


def test_an_interval_holds_the_difference() -> None:
    rng = np.random.default_rng(0)
    baseline = rng.random(200)
    low, high = paired_interval(baseline + 0.1 + rng.normal(0, 0.05, 200), baseline, seed=1)
    assert low < 0.1 < high
    assert paired_interval(baseline, baseline, seed=1) == (0, 0)
