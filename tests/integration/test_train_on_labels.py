import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from facts import write_facts
from rrra_training.choosing import choosing, held_out, plan
from rrra_training.choosing.deciding import Decision
from rrra_training.data import Passage, Query
from rrra_training.data.writing import write_beir
from rrra_training.runs.checkpoints import Checkpoints
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from rrra_haystack import RRRAModel
from rrra_haystack.cli import app

FEW = ["--set", "start_steps=4", "--set", "adapter.save_steps=2", "--set", "adapter.batch_size=4"]
MODEL = "rrra-minilm-l6"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("labels") / "facts", train=90)


def train(data: Path, output: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["train", str(data), "--output", str(output), *options])


def test_labels_are_all_it_takes(facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (facts / "qrels" / "test.tsv").write_text("not to be read")
    run, cache = facts.parent / "run", ["--cache", str(facts.parent / "cache")]
    # Whatever these few steps are worth.
    monkeypatch.setattr(choosing, "decide", lambda *_, **__: Decision("trained", "it is tested."))
    result = train(facts, run, *FEW, *cache)
    assert result.exit_code == 0, result.output
    assert "Kept: trained, because it is tested" in result.output
    assert "Its probabilities are fitted to your labels." in " ".join(result.output.split())
    figures = json.loads((run / "chosen.json").read_text())
    assert list(figures["systems"]) == ["bm25", "encoder", "untrained", MODEL, "refitted", "trained"]
    assert figures["queries"] == 110
    assert figures["systems"][MODEL]["nDCG@10"] >= figures["systems"]["encoder"]["nDCG@10"]
    assert figures["systems"]["refitted"]["over_start"]["low"] <= figures["systems"]["refitted"]["over_start"]["high"]

    made, begun = RRRAModel.load(run / "model"), RRRAModel.load(MODEL)
    steps = figures["choices"]["trained"]["steps"]
    assert json.loads((run / "phases" / "adapter.json").read_text())["steps"] == steps
    weights = made.adapter.state_dict()
    assert any(not torch.equal(weights[name], tensor) for name, tensor in begun.adapter.state_dict().items())
    _, codes = begun.encode_documents(["Rosk was founded in 1300.", "Yarm lies on the river Enz."])
    # The codes of an index stay what they are.
    assert made.score(made.encode_query("Who founded Rosk?"), codes).fused.argmax() == 0
    assert f"| {MODEL} |" in (run / "model" / "README.md").read_text()


@contextmanager
def interrupted_when_it_saves() -> Iterator[None]:
    """A training is interrupted once its first checkpoint is written."""
    save = Checkpoints.save

    def interrupted(checkpoints: Checkpoints, *given: Any) -> None:
        save(checkpoints, *given)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "save", interrupted)
        yield


def test_many_labels_are_held_out_for_good_and_an_interrupted_run_goes_on(
    facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = facts.parent / "many", [*FEW, "--cache", str(facts.parent / "cache")]
    monkeypatch.setattr(choosing, "decide", lambda *_, **__: Decision("trained", "it is tested."))
    monkeypatch.setattr(plan, "_THOUSANDS", 100)
    # 22 are held out, about fewer passages.
    monkeypatch.setattr(held_out, "LEAST_QUERIES", 10)
    with interrupted_when_it_saves():
        assert train(facts, run, *options).exit_code
    assert not (run / "model").exists()
    assert isinstance(train(facts, run, *options).exception, FileExistsError)
    resumed = train(facts, run, *options, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    figures = json.loads((run / "chosen.json").read_text())
    assert 20 <= figures["queries"] <= 22
    # The model is the adapter of the best look.
    look = load_file(run / "looks" / f"adapter-{figures['choices']['trained']['steps']}.safetensors")
    made = load_file(run / "model" / "rrra" / "adapter.safetensors")
    assert all(torch.equal(look[f"weights/{name}"].half(), tensor) for name, tensor in made.items())
    told = train(facts, run, *options, "--resume")
    assert told.exit_code == 0
    assert "Kept: trained" in told.output
    # What is finished is not taken for what other labels would give.
    with (facts / "qrels" / "train.tsv").open("a") as labels:
        labels.write("q1\tp3\t1\n")
    assert "begun with other data" in str(train(facts, run, *options, "--resume").exception)


def test_a_run_goes_on_with_its_own_data_alone(tmp_path: Path) -> None:
    data, run = write_facts(tmp_path / "facts", train=90), tmp_path / "run"
    with interrupted_when_it_saves():
        assert train(data, run, *FEW).exit_code
    labels = data / "qrels" / "train.tsv"
    header, *rows = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join([header, *reversed(rows)]))
    queries = data / "queries.jsonl"
    queries.write_text("".join(reversed(queries.read_text().splitlines(keepends=True))))
    refused = train(data, run, *FEW, "--resume")
    assert "begun with other data: queries, labels or passages of facts" in str(refused.exception)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("Who founded the town",), "10 queries are too few to choose by"),
        (("Who founded the town", "By whom was it founded, the town"), "20 queries, of which 10 differ in what they"),
    ],
)
def test_few_pairs_fit_nothing_and_nothing_worse_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, asked: tuple[str, ...], reason: str
) -> None:
    caplog.set_level("INFO")
    rows = [
        {"question": f"{words} {name}?", "positive": f"{name} was founded in 1300 by Otto Pihl."}
        for words in asked
        for name in ("Arlow", "Bexley", "Corvan", "Dunmere", "Elstow", "Farrow", "Hexby", "Ilmere", "Jarrow", "Kestle")
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train(tmp_path / "pairs.jsonl", tmp_path / "run")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "run" / "chosen.json").read_text())
    assert figures["kept"] == MODEL
    assert reason in figures["because"]
    assert "Nothing is fitted to the labels." in caplog.text
    assert "are fitted to" not in caplog.text
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert f"Nothing is fitted to the labels. Kept: rrra-minilm-l6, because {reason}" in card
    assert "fitted to" not in card.replace("Nothing is fitted to the labels.", "")
    assert "trained" not in figures["systems"]
    made, begun = (RRRAModel.load(model).config for model in (tmp_path / "run" / "model", MODEL))
    assert made.model_copy(update={"encoder_fingerprint": None}) == begun


def test_a_query_that_is_a_passage_is_in_no_list_of_bm25_either(tmp_path: Path) -> None:
    towns = ("Arlow", "Bexley", "Corvan", "Dunmere", "Elstow", "Farrow")
    asked = [Query(town, f"Who founded the town {town}?") for town in towns]
    passages = [Passage(f"a-{town}", "", f"{town} was founded in 1300 by Otto Pihl.") for town in towns]
    passages += [Passage(f"q-{query.id}", "", query.text) for query in asked]
    data = tmp_path / "towns"
    write_beir(data, passages, asked, {"train": {town: {f"a-{town}": 1} for town in towns}})
    result = train(data, tmp_path / "run", "--set", "train.0.ignore_identical=true")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "run" / "chosen.json").read_text())
    assert figures["systems"]["bm25"]["nDCG@10"] == figures["systems"][MODEL]["nDCG@10"] == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--phase", "2"], "--phase is of recipes"), (["--set", "adapter.stepz=1"], "nearest known key is 'steps'")],
)
def test_what_is_of_recipes_is_told(facts: Path, tmp_path: Path, options: list[str], reason: str) -> None:
    result = train(facts, tmp_path / "run", *options)
    assert reason in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_the_recipe_is_shown(facts: Path) -> None:
    shown = train(facts, facts.parent / "none", "--show")
    assert f"start: {MODEL}\nstart_steps: 64" in shown.output
    refused = CliRunner().invoke(app, ["train", "adapter", "--start", "x"])
    assert "adapter is a recipe" in str(refused.exception)
