"""Times of stages, and of whole queries."""

import json
from pathlib import Path

import pytest
from encoders import write_late_interaction
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.evaluation.figures import milliseconds, query_costs
from rrra_training.evaluation.rerankers.from_codes import CodeReranker

from rrra_haystack import RRRAModel


def test_stages_are_added_up_query_by_query() -> None:
    times = {"retrieve": [1.0, 1.0, 9.0], "rerank": [9.0, 1.0, 1.0]}
    figures = milliseconds(times, {"encoder": ["retrieve"], "rrra": ["retrieve", "rerank"]})
    assert figures["latency_ms"]["retrieve"]["p50"] == figures["latency_ms"]["rerank"]["p50"] == 1
    assert figures["query_ms"]["rrra"] == {"p50": 10, "p95": 10}
    assert figures["query_ms"]["encoder"] == figures["latency_ms"]["retrieve"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    (tmp_path / "set" / "corpus.jsonl").write_text(json.dumps({"_id": "a", "text": "Yeast makes dough rise."}) + "\n")
    (tmp_path / "set" / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "the"}) + "\n")
    (tmp_path / "set" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    return tmp_path / "set"


def test_what_a_reranker_makes_of_the_query_is_timed(
    data: Path, model: RRRAModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("rrra_training.evaluation.bench.time.perf_counter", lambda: clock[0])
    prepare = CodeReranker.prepare

    def slow(own: CodeReranker, query: object) -> object:
        clock[0] += 7
        return prepare(own, query)

    monkeypatch.setattr(CodeReranker, "prepare", slow)
    figures = evaluate(data, model=model, systems=["rrra", "hybrid"]).figures
    assert figures["latency_ms"]["rerank"]["p50"] == figures["latency_ms"]["hybrid"]["p50"] == 7000


def test_queries_for_which_nothing_is_found_have_times_too(data: Path, tmp_path: Path) -> None:
    late = str(write_late_interaction(tmp_path / "late"))
    figures = evaluate(data, model=late, systems=["rrra"]).figures
    assert query_costs(figures, "rrra")[1] == "0.0 (0.0)"
