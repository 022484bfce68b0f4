"""Labels and corpora with flaws: told by every command before anything is encoded, or refused there."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData
from rrra_training.data.rows import tell_once
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.evaluation.splits import check_split
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import load_recipe
from rrra_training.runs.directory import RunDirectory
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.model.encoder import Encoder

PASSAGES = {
    "p1": "What makes dough rise?",
    "p2": "Why does dough rise?",
    "p3": "How is green tea steeped?",
    "p4": "Which moon is the largest?",
    "p5": "Which moon is the largest?",
}
# Questions are searched among questions, and each is there itself.
QUERIES = {"p1": ("What makes dough rise?", "p2"), "p3": ("How is green tea steeped?", "p5")}


@pytest.fixture(autouse=True)
def nothing_told_yet() -> None:
    tell_once.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "questions"
    (data / "qrels").mkdir(parents=True)
    rows = [{"_id": key, "title": "", "text": text} for key, text in PASSAGES.items()]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": key, "text": text} for key, (text, _) in QUERIES.items()]
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    labels = "".join(f"{key}\t{right}\t1\n" for key, (_, right) in QUERIES.items())
    for split in ("train", "dev", "test"):
        (data / "qrels" / f"{split}.tsv").write_text(labels)
    return data


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something was encoded")

    monkeypatch.setattr(Encoder, "encode", refuse)


def recipe(folder: Path) -> str:
    path = folder.parent / "recipe.yaml"
    split = f"{{data: {{format: beir, path: {folder}}}, split: %s}}"
    path.write_text(f"name: tiny\ntrain: [{split % 'train'}]\ndev: [{split % 'dev'}]\n")
    return str(path)


def test_a_query_that_is_a_passage_can_be_left_out_of_its_own_list(folder: Path) -> None:
    systems = ["bm25", "untrained", "match", "hybrid"]
    found = evaluate(folder, model="all-MiniLM-L6-v2", systems=systems)
    assert found.figures["systems"]["encoder"]["R@1"] == 0
    left_out = evaluate(folder, model="all-MiniLM-L6-v2", systems=systems, ignore_identical=True)
    for name, run in left_out.runs.items():
        assert "p1" not in run["p1"], name
        assert "p3" not in run["p3"], name
    assert left_out.figures["systems"]["encoder"]["R@1"] == 0.5


def test_what_is_labelled_relevant_stays_though_it_is_the_query_itself(folder: Path, tmp_path: Path) -> None:
    with (folder / "qrels" / "test.tsv").open("a") as labels:
        labels.write("p1\tp1\t1\np3\tp3\t0\n")
    found = evaluate(folder, model="all-MiniLM-L6-v2", systems=["bm25"], ignore_identical=True)
    for name, run in found.runs.items():
        assert ["p1" in run["p1"], "p3" in run["p3"]] == [True, False], name
    assert found.per_query["encoder"]["R@5"].tolist() == [1, 1]
    split = SplitConfig(data=BeirData(format="beir", path=folder), split="test", ignore_identical=True)
    encoder = Encoder("all-MiniLM-L6-v2")
    data = prepare(split, encoder, tmp_path / "cache", mining=MiningConfig(top_k=5), evidence=EvidenceConfig())
    ids = [[data.passages.ids[row] for row in own if row >= 0] for own in np.asarray(data.mined.rows)]
    assert ["p1" in ids[0], "p3" in ids[1]] == [True, False]


@pytest.mark.parametrize("is_left_out", [False, True])
def test_training_can_leave_a_query_out_of_its_own_candidates(folder: Path, tmp_path: Path, is_left_out: bool) -> None:
    split = SplitConfig(data=BeirData(format="beir", path=folder), ignore_identical=is_left_out)
    encoder = Encoder("all-MiniLM-L6-v2")
    data = prepare(split, encoder, tmp_path / "cache", mining=MiningConfig(top_k=5), evidence=EvidenceConfig())
    ids = [[data.passages.ids[row] for row in own if row >= 0] for own in np.asarray(data.mined.rows)]
    assert [len(own) for own in ids] == [5 - is_left_out] * 2
    assert ["p1" in ids[0], "p3" in ids[1]] == [not is_left_out] * 2


def test_an_audit_can_leave_a_query_out_of_its_own_suspects(folder: Path, tmp_path: Path) -> None:
    options = [str(folder), "--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "audit")]
    for further, is_suspected in (([], True), (["--ignore-identical"], False)):
        result = CliRunner().invoke(app, ["audit", *options, *further])
        assert result.exit_code == 0, result.output
        suspects = json.loads((tmp_path / "audit" / "audit.json").read_text())["suspects"]
        itself = [one for one in suspects if one["kind"] == "missing" and one["query"] == one["passage"]]
        assert bool(itself) == is_suspected


def test_what_is_odd_is_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        check_split(folder, "test")
    assert [record.message for record in caplog.records] == [
        "questions: 1 of 5 passages have the text of another one, first the passage number 5.",
        "questions test: 2 queries are themselves passages of the corpus, word for word.",
    ]


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("command", ["evaluate", "audit", "train", "train --dry-run"])
def test_labels_that_fit_no_passage_are_refused_before_anything_is_encoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("p1\tdoc-2\t1\np3\tdoc-5\t1\n")
    name, *options = command.split()
    target = recipe(folder) if name == "train" else str(folder)
    result = CliRunner().invoke(app, [name, target, *options])
    assert isinstance(result.exception, ValueError)
    assert "has a relevant passage in the corpus" in str(result.exception)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("command", ["evaluate --json", "evaluate --html", "audit --output", "mine --output"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_encoded(
    folder: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    name, option = command.split()
    result = CliRunner().invoke(app, [name, str(folder), option, str(tmp_path / "file" / "out.jsonl")])
    assert isinstance(result.exception, OSError)
    assert "cannot be written" in str(result.exception)


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "There is no .*scores.tsv, which evidence.teacher names"),
        ("p1\tp2\t0.5\np1\tp2\t5\n", "scores.tsv, line 2: expected 'query-id<TAB>corpus-id<TAB>probability"),
    ],
)
def test_the_file_of_a_teacher_is_looked_at_before_anything_is_encoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], held: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if held is not None:
        (folder / "scores.tsv").write_text(held)
    rooted = ["--set", f"data_root={folder}", "--set", "evidence.teacher=scores.tsv"]
    result = CliRunner().invoke(app, ["train", recipe(folder), *rooted, *options])
    assert isinstance(result.exception, ValueError if held else FileNotFoundError), result.output
    assert re.search(said, str(result.exception))


@pytest.mark.parametrize("is_below_the_root", [True, False])
def test_a_teacher_is_read_below_the_root_or_where_one_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_below_the_root: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    ((folder if is_below_the_root else tmp_path) / "scores.tsv").write_text("p1\tp4\t0.5\n")
    changes = [f"data_root={folder}", "evidence.teacher=scores.tsv", "evidence.teacher_confidence=1"]
    loaded = load_recipe(recipe(folder), changes)
    workshop = Workshop(loaded, RunDirectory(tmp_path / "run"), tmp_path / "cache", show_progress=False)
    (data,) = workshop.sets(Encoder(loaded.encoder), loaded.train)
    at = np.asarray(data.mined.rows)[0] == data.passages.row_of["p4"]
    assert data.labels.target[0][at] == pytest.approx([0.5])


def test_a_dry_run_shows_rows_and_tells_leaks(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = CliRunner().invoke(app, ["train", recipe(folder), "--dry-run"], catch_exceptions=False)
    assert "What makes dough rise?" in result.output
    assert "Why does dough rise?" in result.output
    told = [record.message for record in caplog.records]
    assert any("2 of 2 queries are asked in questions train too" in one for one in told)
    assert any("2 of 2 queries have a relevant passage that is one in questions train too" in one for one in told)


def test_a_dry_run_says_how_columns_were_understood(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("id,answer,question,context\n1,wool,what is warm,Wool is warm.\n")
    (tmp_path / "r.yaml").write_text(
        "name: tiny\ndata_root: " + str(tmp_path) + "\n"
        "train: [{data: {format: columns, splits: {train: pairs.csv}, name: a}}]\n"
        "dev: [{data: {format: columns, splits: {dev: pairs.csv}, name: b}, split: dev}]\n"
    )
    result = CliRunner().invoke(app, ["train", str(tmp_path / "r.yaml"), "--dry-run"], catch_exceptions=False)
    assert "query: question; positives: context; answers: answer; not read: id" in result.output
