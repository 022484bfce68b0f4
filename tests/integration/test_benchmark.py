import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from facts import write_facts
from rrra_training.evaluation.evaluate import Evaluation
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.studies import benchmark
from rrra_training.studies.cross_encoder import CrossEncoderRecipe, train_cross_encoder
from sentence_transformers import CrossEncoder
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.pretrained import DEFAULT_MODEL, bundled


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    write_facts(folder / "facts")
    data = {"format": "beir", "path": "facts"}
    cross_encoder = {
        "name": "towns", "train": [{"data": data}], "queries": 32, "batch_size": 16, "save_steps": 5,
        "learning_rate": 2e-4,
    }  # fmt: skip
    adapter = {
        "name": "towns", "train": [{"data": data}], "dev": [{"data": data, "split": "dev"}],
        "mining": {"top_k": 20},
        "adapter": {"token_dim": 32, "steps": 4, "batch_size": 4, "lists": {"candidates": 6}},
    }  # fmt: skip
    plan = {
        "data": ["facts:test"],
        "limit": 4,
        "peers": {
            "cross-encoder": {"cross_encoder": str(folder / "cross-encoder.yaml")},
            "short training": {"recipe": str(folder / "adapter.yaml"), "set": ["adapter.steps=2"]},
        },
    }
    for name, held in (("cross-encoder", cross_encoder), ("adapter", adapter), ("plan", plan)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(held))
    return folder


def test_a_cross_encoder_learns_and_is_not_trained_twice(workplace: Path) -> None:
    recipe = load_yaml(workplace / "cross-encoder.yaml", [f"data_root={workplace}"], CrossEncoderRecipe)
    made = train_cross_encoder(recipe, workplace / "out" / "cross-encoder", workplace / "cache")
    right, wrong = CrossEncoder(str(made)).predict(
        [
            ("When was Elstow founded?", "Elstow was founded in 1687 by Anna Berg."),
            ("When was Elstow founded?", "The people of Lorne lived from salt for centuries."),
        ]
    )
    assert right > wrong
    time = (made / "config.json").stat().st_mtime_ns
    assert train_cross_encoder(recipe, workplace / "out" / "cross-encoder", workplace / "cache") == made
    assert (made / "config.json").stat().st_mtime_ns == time
    labels = workplace / "facts" / "qrels" / "train.tsv"
    before = labels.read_text()
    labels.write_text(before.replace("\tp1\t", "\tp2\t"))
    with pytest.raises(ValueError, match="was begun with other data: queries, labels or passages of facts train"):
        train_cross_encoder(recipe, workplace / "out" / "cross-encoder", workplace / "cache")
    labels.write_text(before)


def test_all_peers_stand_in_one_table(workplace: Path) -> None:
    options = ["--output", str(workplace / "out"), "--cache", str(workplace / "cache")]
    command = ["benchmark", str(workplace / "plan.yaml"), "--set", f"data_root={workplace}", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    report = workplace / "out" / "report"
    assert {path.name for path in report.iterdir()} == {f"benchmark.{kind}" for kind in ("md", "json", "png", "html")}
    figures = json.loads((report / "benchmark.json").read_text())
    systems = ["encoder", "rrra", "match", "untrained", "maxsim", "short training", "cross-encoder", "bm25"]
    assert set(figures["systems"]) == set(systems)
    assert figures["latency_ms"]["cross-encoder"]["p50"] > figures["latency_ms"]["rerank"]["p50"]
    table = (report / "benchmark.md").read_text()
    for system in systems:
        assert f"| {system} |" in table
        assert f"{100 * figures['systems'][system]['nDCG@10']:.1f}" in table
    assert "facts test judged@10" in table
    assert len(list((workplace / "cache").glob("facts-passages-*"))) == 1
    low, high = figures["rrra_over"]["intervals"]["cross-encoder"]["R@1"]
    assert (
        f"| {100 * low:+.1f} to {100 * high:+.1f}, {figures['rrra_over']['p_values']['cross-encoder']['R@1']:.4f} |"
        in table
    )
    assert f"| {figures['bytes_per_document']['codes short training']:,.0f} |" in table
    assert (report / "benchmark.png").stat().st_size > 10_000
    # What was trained is used again.
    trained = (workplace / "out" / "short-training" / "model" / "rrra" / "adapter.safetensors").stat().st_mtime_ns
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (
        workplace / "out" / "short-training" / "model" / "rrra" / "adapter.safetensors"
    ).stat().st_mtime_ns == trained


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"systems": ["bm52"]}, "Unknown system 'bm52'"),
        ({"data": ["facts:exam"]}, "exam"),
        ({"peers": {"rrra": {"recipe": "rrra-minilm-l6"}}}, "Two systems are called 'rrra'"),
        ({"peers": {"report": {"recipe": "rrra-minilm-l6"}}}, "No peer can be called 'report'"),
        ({"peers": {"lr=1e-5": {"recipe": "rrra-minilm-l6"}}}, "No peer can be called 'lr=1e-5'"),
        ({"peers": {"a/b": {"recipe": "rrra-minilm-l6"}}}, "No peer can be called 'a/b'"),
        ({"peers": {"a b": {"recipe": "adapter"}, "a-b": {"recipe": "adapter"}}}, "No peer can be called 'a b'"),
        ({"peers": {"mine": {"recipe": "rrra-minilm-l6"}}}, "squad is not in the BEIR layout"),
        ({"peers": {"mine": {"recipe": "rrra-minilm-l7"}}}, "rrra-minilm-l7"),
        ({"peers": {"cross-encoder": {"cross_encoder": "CE", "set": ["queries=10"]}}}, "another recipe"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_trained(workplace: Path, changes: dict, reason: str) -> None:
    plan = {"data": ["facts:test"]} | changes
    text = yaml.safe_dump(plan).replace("CE", str(workplace / "cross-encoder.yaml"))
    (workplace / "wrong.yaml").write_text(text)
    options = ["--set", f"data_root={workplace}", "--output", str(workplace / "out")]
    result = CliRunner().invoke(app, ["benchmark", str(workplace / "wrong.yaml"), *options])
    assert reason in str(result.exception)


def test_what_was_measured_before_an_error_is_kept(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "two.yaml").write_text(yaml.safe_dump({"data": ["facts:test", "facts:dev"], "systems": ["bm25"]}))
    measure = benchmark.evaluate

    def failing(*arguments: Any, split: str, **options: Any) -> Evaluation:
        if split == "dev":
            msg = "No space left on device"
            raise OSError(msg)
        return measure(*arguments, split=split, **options)

    monkeypatch.setattr(benchmark, "evaluate", failing)
    output = workplace / "two"
    options = ["--set", f"data_root={workplace}", "--output", str(output), "--cache", str(workplace / "cache")]
    result = CliRunner().invoke(app, ["benchmark", str(workplace / "two.yaml"), *options])
    assert "No space left on device" in str(result.exception)
    assert "| bm25 |" in (output / "report" / "benchmark.md").read_text()


def test_a_peer_of_an_earlier_release_is_told_before_anything_is_trained(workplace: Path) -> None:
    output = workplace / "earlier"
    config = output / "short-training" / "model" / "rrra" / "config.json"
    config.parent.mkdir(parents=True)
    adapter = bundled(DEFAULT_MODEL)
    assert adapter is not None
    held = json.loads((adapter / "rrra" / "config.json").read_text())
    held["detection"]["weights"] = held["detection"]["weights"][:10]
    config.write_text(json.dumps(held))
    options = ["--set", f"data_root={workplace}", "--output", str(output)]
    result = CliRunner().invoke(app, ["benchmark", str(workplace / "plan.yaml"), *options])
    assert isinstance(result.exception, ValueError)
    assert "15 weights, one a feature, but 10 were given" in str(result.exception)
    assert "train it again" in str(result.exception)
    assert [path.name for path in output.iterdir()] == ["short-training"]


def test_a_folder_of_something_else_is_no_report(workplace: Path) -> None:
    theirs = workplace / "theirs" / "report" / "thesis.tex"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    options = ["--set", f"data_root={workplace}", "--output", str(workplace / "theirs")]
    result = CliRunner().invoke(app, ["benchmark", str(workplace / "plan.yaml"), *options])
    assert isinstance(result.exception, FileExistsError)
    assert "holds something else than a report, which would be lost" in str(result.exception)
    assert [path.name for path in (workplace / "theirs").rglob("*")] == ["report", "thesis.tex"]


def test_a_peer_is_one_thing(workplace: Path) -> None:
    (workplace / "wrong.yaml").write_text(yaml.safe_dump({"data": ["facts"], "peers": {"x": {}}}))
    result = CliRunner().invoke(app, ["benchmark", str(workplace / "wrong.yaml")])
    assert isinstance(result.exception, ValueError)
    assert "either a 'recipe' or a 'cross_encoder'" in str(result.exception)
