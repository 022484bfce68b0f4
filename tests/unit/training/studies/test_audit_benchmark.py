import json
from pathlib import Path

from facts import write_facts
from rrra_training.studies.audit_benchmark import app
from typer.testing import CliRunner


def test_exchanged_labels_are_found_and_right_ones_believed(tmp_path: Path) -> None:
    write_facts(tmp_path / "facts")
    options = ["--limit", "40", "--passages", "50", "--seed", "3", "--seed", "4"]
    paths = ["--output", str(tmp_path / "figures.json"), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, [f"{tmp_path / 'facts'}:train", *options, *paths])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["seeds"] == [3, 4]
    figures = report["sets"]["facts:train"]
    assert (figures["labels"], figures["wrong"]) == (40, 2)
    for name in ("model", "audit"):
        # Two of twenty: all that there are.
        assert figures[f"precision at 20, {name}"] == 0.1
    assert figures["right ones doubted, audit"] <= figures["right ones doubted, model"]
    assert figures["right ones doubted, audit"] < 0.1
    # What is exchanged is the sample's own; the data stay as they are.
    assert len((tmp_path / "facts" / "qrels" / "train.tsv").read_text().splitlines()) == 61
