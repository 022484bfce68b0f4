"""What figures say of how they came about."""

from pathlib import Path

from facts import write_facts
from rich.console import Console
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.evaluation.tables import render
from rrra_training.report.page import write_report
from rrra_training.studies.benchmark_table import markdown

from rrra_haystack import RRRAModel, __version__


def test_figures_tell_what_was_measured_and_where(tmp_path: Path, model: RRRAModel) -> None:
    systems = ["match", "rrra", "hybrid", "untrained", "bm25", "more=all-MiniLM-L6-v2"]
    folder = write_facts(tmp_path / "facts")
    measured = evaluate(
        folder, model=model, systems=systems, codes=["int8", "float32"], limit=5, seed=3, ignore_identical=True
    )
    figures = measured.figures
    untrained = RRRAModel.untrained(model.encoder).config.code
    assert figures["codes"] == {
        "rrra": "int8", "match": "int8", "rrra-float32": "float32", "match-float32": "float32",
        "untrained": untrained, "more": untrained, "hybrid": "int8",
    }  # fmt: skip
    assert (figures["limit"], figures["seed"], figures["ignore_identical"]) == (5, 3, True)
    assert figures["rrra-haystack"] == __version__
    assert figures["processor"]
    assert figures["threads"] >= 1
    console = Console(width=170, record=True)
    console.print(render([measured]))
    write_report([measured], tmp_path / "report.html")
    told = {
        "table": console.export_text(),
        "page": (tmp_path / "report.html").read_text(),
        "note": markdown([measured]),
    }
    for where, text in told.items():
        plain = " ".join(text.split())
        assert f"{untrained} (untrained, more)" in plain, where
        assert "queries: 5" in plain, where
        assert "without passages that are the query" in plain, where
        assert f"threads: {figures['threads']}" in plain, where


def test_what_reads_no_codes_names_none(tmp_path: Path, model: RRRAModel) -> None:
    measured = evaluate(write_facts(tmp_path / "facts"), model=model, systems=["bm25"], limit=2)
    assert measured.figures["codes"] == {}
    assert measured.figures["limit"] == 2
    assert "codes" not in markdown([measured]).partition("facts test: ")[2].partition(".")[0]
