import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from facts import write_facts
from haystack import Document
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.judging.fitting import fit, fused
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import Verdicts, judge
from rrra_training.negatives.samplers import TopK
from rrra_training.phases.joint.drawing import draw_negatives
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import load_recipe
from rrra_training.recipe.settings import JointTraining
from rrra_training.runs.checkpoints import Checkpoints
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.metrics import Metrics
from rrra_training.studies.compare import app as compare
from rrra_training.train import check_inputs, train
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from typer.testing import CliRunner, Result

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAModel
from rrra_haystack.cli import app
from rrra_haystack.model.encoder import Encoder

STEPS = 30


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_facts(folder / "facts")
    recipe = {
        "name": "towns",
        "data_root": str(folder),
        "train": [{"data": {"format": "beir", "path": "facts"}, "split": "train", "styles": {"claims": 0.2}}],
        "dev": [{"data": {"format": "beir", "path": "facts"}, "split": "dev"}],
        "mining": {"top_k": 20},
        "adapter": {
            "token_dim": 32, "steps": STEPS, "batch_size": 4, "save_steps": 5, "parts": {"probes": 2},
            "lists": {"candidates": 6},
        },
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(workplace: Path) -> Path:
    result = CliRunner().invoke(
        app,
        [
            "train",
            str(workplace / "recipe.yaml"),
            "--output",
            str(workplace / "run"),
            "--cache",
            str(workplace / "cache"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "rrra 2bit" in result.output
    return workplace / "run"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "rrra" / "adapter.safetensors")


def test_one_command_makes_a_model_that_components_load(trained: Path) -> None:
    figures = json.loads((trained / "dev.json").read_text())
    (own,) = figures["sets"].values()
    assert own["queries"] == 20
    assert own["systems"]["rrra 2bit"]["nDCG@10"] >= own["systems"]["encoder"]["nDCG@10"]
    assert 0 <= own["calibration_error"] <= 1
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["phase"] == "adapter"]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < sum(losses[:5])
    assert (trained / "curves.png").stat().st_size > 1000
    card = (trained / "model" / "README.md").read_text()
    assert "nDCG@10" in card
    assert "facts" in card
    assert sum(path.stat().st_size for path in (trained / "model").rglob("*")) < 2_000_000

    name = str(trained / "model")
    documents = [Document(content=f"{town} was founded in 1300 by Otto Pihl.") for town in ("Tarn", "Rosk", "Yarm")]
    embedded = RRRADocumentEmbedder(model=name, progress_bar=False).run(documents)["documents"]
    ranked = RRRAAdapterRanker(model=name).run(query="Who founded Rosk?", documents=embedded)["documents"]
    assert "Rosk" in ranked[0].content
    assert not (trained / "model" / "modules.json").exists()


def test_the_saved_model_is_the_one_that_was_measured(trained: Path) -> None:
    model = RRRAModel.load(trained / "model")
    assert model.config.adapter.token_dim == 32
    figures = json.loads((trained / "dev.json").read_text())
    assert model.config.fusion_weight == figures["fusion_weight"]
    assert model.config.lexical_weight == figures["lexical_weight"]
    for own in figures["sets"].values():
        assert ("rrra 2bit without words" in own["systems"]) == (figures["lexical_weight"] > 0)
    assert all(tensor.dtype == torch.float16 for tensor in weights(trained).values())


def test_the_seed_decides(workplace: Path, trained: Path) -> None:
    for seed, name in ((0, "again"), (1, "other")):
        recipe = load_recipe(workplace / "recipe.yaml", [f"seed={seed}"])
        train(recipe, workplace / name, cache=workplace / "cache")
    same, other = weights(workplace / "again"), weights(workplace / "other")
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights(trained).items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in weights(trained).items())


def test_words_are_left_out_if_the_recipe_says_so(workplace: Path, trained: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml", ["adapter.lexical_match=false"])
    train(recipe, workplace / "wordless", cache=workplace / "cache")
    assert RRRAModel.load(workplace / "wordless" / "model").config.lexical_weight == 0
    spoken, wordless = weights(trained), weights(workplace / "wordless")
    assert all(torch.equal(tensor, wordless[name]) for name, tensor in spoken.items())


@pytest.fixture(scope="module")
def dev(workplace: Path, trained: Path) -> CandidateSet:
    recipe = load_recipe(workplace / "recipe.yaml")
    model = RRRAModel.load(trained / "model")
    return prepare(
        recipe.rooted(recipe.dev[0]), model.encoder, workplace / "cache", mining=recipe.mining, evidence=recipe.evidence
    )


@pytest.mark.parametrize("code", ["2bit", "1bit"])
def test_dev_is_judged_as_the_model_scores(workplace: Path, trained: Path, dev: CandidateSet, code: str) -> None:
    model = RRRAModel.load(trained / "model")
    # Whatever was fitted: a large fusion weight makes more of what rounding leaves.
    model.config = model.config.model_copy(update={"fusion_weight": 0.25, "lexical_weight": 0.5})
    with projected(dev.passages, model.projection, workplace / "cache") as passages:
        verdicts = judge(model.adapter, model.projection, dev, passages, code, lexical=model.lexical_scores)
    judged = fused(verdicts, model.config.fusion_weight, 0.5)
    for number in range(5):
        texts = [dev.passages.text(row) for row in dev.mined.rows[number]]
        _, codes = model.encode_documents(texts, code=code)
        scores = model.score(model.encode_query(dev.queries.text(number)), codes).fused
        assert scores == pytest.approx(judged[number], abs=0.02)


def test_words_get_a_weight_if_they_help_and_none_if_they_harm(dev: CandidateSet) -> None:
    generator = np.random.default_rng(0)
    right = relevance_of(dev).astype(np.float32)
    base, adapter = generator.normal(scale=0.1, size=(2, *right.shape)).astype(np.float32)
    for lexical, helps in ((right, True), (1 - right, False)):
        fitted = fit([dev], {dev.name: Verdicts(base, adapter, np.zeros_like(base), lexical)})
        assert (fitted.lexical_weight > 0) == helps
        assert fitted.table[dev.name][fitted.fusion_weight] == max(fitted.table[dev.name].values())
    assert fit([dev], {dev.name: Verdicts(base, adapter, base, right)}, lexical_weights=(0.0,)).lexical_weight == 0


def test_a_killed_run_resumes_to_the_same_result(workplace: Path, trained: Path) -> None:
    run = workplace / "killed"
    command = [
        sys.executable, "-c", "from rrra_haystack.cli import main; main()", "train", str(workplace / "recipe.yaml"),
        "--output", str(run), "--cache", str(workplace / "cache"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if metrics.exists() and len(metrics.read_text().splitlines()) >= 12:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    reached = len(metrics.read_text().splitlines())
    assert 12 <= reached < STEPS
    assert not (run / "model").exists()

    result = CliRunner().invoke(app, [*command[3:], "--cache", str(workplace / "cache")])
    assert isinstance(result.exception, FileExistsError)
    assert "--resume" in str(result.exception)
    result = CliRunner().invoke(app, [*command[3:], "--resume"])
    assert result.exit_code == 0, result.output
    for name, tensor in weights(trained).items():
        assert torch.allclose(weights(run)[name].float(), tensor.float(), atol=1e-6)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


def test_two_processes_have_the_gradients_of_one(workplace: Path) -> None:
    recipe = workplace / "recipe.yaml"
    changed = load_recipe(recipe, ["adapter.steps=2", "adapter.save_steps=1"])
    train(changed, workplace / "one", cache=workplace / "cache")
    launched = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "rrra_training.launch", str(recipe), "--set", "adapter.steps=2", "--set", "adapter.save_steps=1",
            "--output", str(workplace / "two"), "--cache", str(workplace / "cache"),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert json.loads((workplace / "two" / "phases" / "adapter.json").read_text())["processes"] == 2
    assert (workplace / "two" / "model" / "rrra" / "config.json").exists()
    # The first moment of Adam after one step is the gradient times a number.
    step = Path("checkpoints", "adapter", "step-1", "state.safetensors")
    one, two = (load_file(workplace / run / step) for run in ("one", "two"))
    gradients = [name for name in one if name.endswith("exp_avg")]
    assert sum(bool(one[name].any()) for name in gradients) > 10
    for name in gradients:
        # Sums in another order differ in their last digits, more so where the passes run in bfloat16.
        assert (two[name] - one[name]).abs().max() <= 1e-2 * one[name].abs().max() + 1e-6, name
    first, second = (
        [json.loads(line)["loss"] for line in (workplace / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    )
    assert first == pytest.approx(second, rel=1e-3)


@pytest.fixture(scope="module")
def joint(workplace: Path) -> Path:
    changes = [
        "adapter.steps=10", "joint.steps=4", "joint.batch_size=4", "joint.refit_steps=4", "joint.save_steps=2",
        "joint.dropout=0.1", "dual_encoder.max_steps=2", "dual_encoder.batch_size=4",
    ]  # fmt: skip
    recipe = load_recipe(workplace / "recipe.yaml", changes)
    train(recipe, workplace / "joint", cache=workplace / "cache")
    return workplace / "joint"


def test_phase_3_goes_on_after_an_interruption(workplace: Path, joint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, save = Metrics.log, Checkpoints.save

    def killed(metrics: Metrics, phase: str, step: int, **values: float) -> None:
        log(metrics, phase, step, **values)
        if phase == "joint-1":
            raise KeyboardInterrupt

    def interrupted(checkpoints: Checkpoints, phase: str, step: int, *state: Any) -> None:
        save(checkpoints, phase, step, *state)
        if phase == "joint-1" and step == 2:
            raise KeyboardInterrupt

    recipe = load_recipe(joint / "recipe.yaml")
    again = workplace / "interrupted"
    # Before the first checkpoint, and after it.
    monkeypatch.setattr(Metrics, "log", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, again, cache=workplace / "cache")
    monkeypatch.setattr(Metrics, "log", log)
    monkeypatch.setattr(Checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, again, cache=workplace / "cache", resume=True)
    monkeypatch.setattr(Checkpoints, "save", save)
    assert not (again / "encoder-1").exists()
    train(recipe, again, cache=workplace / "cache", resume=True)
    for part in ("encoder-1/model.safetensors", "model/rrra/adapter.safetensors", "model/model.safetensors"):
        straight, resumed = (load_file(run / part) for run in (joint, again))
        assert all(torch.equal(resumed[name], tensor) for name, tensor in straight.items())
    lines = map(json.loads, (again / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line["phase"] == "joint-1"] == [1, 2, 3, 4]


def test_a_share_of_the_negatives_is_drawn_from_the_whole_corpus(workplace: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml")
    (data,) = Workshop(recipe, RunDirectory(workplace), workplace / "cache", show_progress=False).sets(
        Encoder(recipe.encoder), recipe.train
    )
    queries = np.tile(np.arange(len(data)), 10)
    mined = np.asarray(data.mined.rows[queries])

    def share(random_share: float) -> float:
        config = JointTraining(negatives=2, random_share=random_share, sampler=TopK())
        drawn = draw_negatives(data, queries, config, np.random.default_rng(0), None)[:, 1:]
        return float(1 - (drawn[:, :, None] == mined[:, None, :]).any(axis=2).mean())

    of_all = share(1)
    # 20 of the 60 passages are mined.
    assert of_all == pytest.approx(2 / 3, abs=0.1)
    assert share(0) == 0
    assert share(0.25) == pytest.approx(of_all / 4, abs=0.05)


def test_three_phases_make_an_encoder_that_others_open(joint: Path) -> None:
    phases = {"dual_encoder", "adapter", "model-0", "joint-1", "refit-1", "model-1"}
    assert {path.stem for path in (joint / "phases").iterdir()} == phases
    encoder = SentenceTransformer(str(joint / "model"), device="cpu")
    first = SentenceTransformer(str(joint / "encoder"), device="cpu")
    question = ["Who founded Rosk?"]
    model = RRRAModel.load(joint / "model")
    # Ours may run in bfloat16.
    assert encoder.encode(question)[0] == pytest.approx(model.encode_query(question[0]).embedding.numpy(), abs=0.02)
    assert abs(encoder.encode(question) - first.encode(question)).max() > 1e-4
    _, codes = model.encode_documents(["Rosk was founded in 1300.", "Yarm lies on the river Enz."])
    assert model.score(model.encode_query(question[0]), codes).fused.argmax() == 0


def test_figures_of_encoders_are_not_taken_for_those_of_adapters(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: dict[str, Any] = {
        "recipe": str(workplace / "recipe.yaml"),
        "set": [
            "adapter.steps=1", "joint.steps=2", "joint.batch_size=4", "joint.refit_steps=0", "joint.adapter_weight=0",
            "joint.frozen_layers=1",
        ],
        "variants": {"top": ["joint.sampler=top-k"], "any": ["joint.sampler=random"]},
        "encoder_alone": True,
        "against": "top",
    }  # fmt: skip
    file, output = tmp_path / "plan.yaml", tmp_path / "runs"
    monkeypatch.setenv("COLUMNS", "160")

    def compared() -> Result:
        file.write_text(yaml.safe_dump(plan), encoding="utf-8")
        options = ["--output", str(output), "--cache", str(workplace / "cache")]
        return CliRunner().invoke(compare, [str(file), *options])

    first = compared()
    assert first.exit_code == 0, first.output
    results = json.loads((output / "comparison.json").read_text())["results"]
    assert results.keys() == {"top", "any"}
    for name, own in results.items():
        (measures,) = own.values()
        figures = json.loads((output / f"{name}-0" / "dev.json").read_text())["sets"]
        assert measures["R@1"] == [one["systems"]["encoder"]["R@1"] for one in figures.values()]
    differences = json.loads((output / "comparison.json").read_text())["differences"]
    assert differences.keys() == {"any"}
    told = differences["any"]["nDCG@10"]
    by_hand = results["any"]["facts/dev"]["nDCG@10"][0] - results["top"]["facts/dev"]["nDCG@10"][0]
    assert told["mean"] == told["by_seed"][0] == pytest.approx(by_hand)
    low, high = told["interval"]
    assert low <= told["mean"] <= high
    assert f"{100 * told['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" in first.output
    assert not (output / "top-0" / "model").exists()
    labels = workplace / "facts" / "qrels" / "dev.tsv"
    before = labels.read_text()
    labels.write_text("".join(before.splitlines(keepends=True)[:-1]))
    assert "was begun with other data: queries, labels or passages of facts dev" in str(compared().exception)
    labels.write_text(before)
    plan |= {"encoder_alone": False, "against": None}
    refused = compared()
    assert "was finished with encoder_alone: true. Choose another --output" in str(refused.exception)


def test_phases_can_run_one_at_a_time(workplace: Path, joint: Path) -> None:
    changes = ["adapter.steps=10", "joint.steps=4", "joint.batch_size=4", "joint.refit_steps=4", "joint.save_steps=2"]
    recipe = load_recipe(workplace / "recipe.yaml", changes)
    with pytest.raises(ValueError, match="no phase 1: add the key 'dual_encoder'"):
        train(recipe, workplace / "single", phase=1)
    train(recipe, workplace / "single", phase=2, cache=workplace / "cache")
    assert not (workplace / "single" / "encoder-1").exists()
    train(recipe, workplace / "single", phase=3, cache=workplace / "cache")
    assert (workplace / "single" / "encoder-1" / "modules.json").exists()


def test_an_adapter_is_fitted_as_it_is(workplace: Path, trained: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml", [f"start={trained / 'model'}"])
    made = train(recipe, workplace / "fitted", cache=workplace / "cache")
    before, after = weights(trained), weights(workplace / "fitted")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    # The same adapter, but for its rounding, on the same dev queries.
    mine, first = RRRAModel.load(made).config, RRRAModel.load(trained / "model").config
    assert (mine.fusion_weight, mine.lexical_weight) == (first.fusion_weight, first.lexical_weight)
    assert mine.calibration.model_dump() == pytest.approx(first.calibration.model_dump(), rel=0.05)
    figures = json.loads((workplace / "fitted" / "dev.json").read_text())
    assert figures["sets"].keys() == json.loads((trained / "dev.json").read_text())["sets"].keys()


def test_an_adapter_is_trained_on(workplace: Path, trained: Path) -> None:
    changes = ["start_steps=2", "joint.steps=1", "joint.batch_size=4", "joint.refit_steps=0", "joint.adapter_weight=0"]
    recipe = load_recipe(workplace / "recipe.yaml", [f"start={trained / 'model'}", *changes])
    run = workplace / "trained-on"
    # Phase 3 finds the adapter of phase 2.
    for phase in (2, 3):
        train(recipe, run, phase=phase, cache=workplace / "cache")
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line["phase"] == "adapter"] == [1, 2]
    before, after = weights(trained), weights(run)
    moved = [float((after[name].float() - tensor.float()).abs().max()) for name, tensor in before.items()]
    assert 0 < max(moved) < 0.1
    assert "start_steps" not in load_recipe(workplace / "recipe.yaml").to_yaml()
    with pytest.raises(ValueError, match="start_steps goes on from the adapter of a model: name it by start"):
        load_recipe(workplace / "recipe.yaml", ["start_steps=2"])
    with pytest.raises(ValueError, match="names no dev queries"):
        train(load_recipe(workplace / "recipe.yaml", ["dev=[]"]), workplace / "no-dev")


def test_an_adapter_is_fitted_to_an_encoder_of_phase_1(
    workplace: Path, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = [f"start={trained / 'model'}", "dual_encoder={max_steps: 2, batch_size: 4}"]
    recipe = load_recipe(workplace / "recipe.yaml", changes)
    made = train(recipe, workplace / "after-phase-1", cache=workplace / "cache")
    before, after = weights(trained), weights(workplace / "after-phase-1")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert (made / "modules.json").exists()
    query = "Where is the harbour?"
    mine, first = (RRRAModel.load(model).encode_query(query) for model in (made, trained / "model"))
    assert mine.embedding.shape == first.embedding.shape
    assert not torch.equal(torch.as_tensor(mine.embedding), torch.as_tensor(first.embedding))
    assert "another encoder" not in caplog.text
    over = load_recipe(workplace / "recipe.yaml", [changes[0], f"encoder={workplace / 'after-phase-1' / 'encoder'}"])
    check_inputs(over, workplace / "not-begun")
    assert "was made for another encoder" in caplog.text


def test_phase_2_makes_a_model_of_the_adapter_that_phase_3_begins_with(workplace: Path, trained: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml", [f"start={trained / 'model'}", "joint.steps=2"])
    made = train(recipe, workplace / "second-alone", phase=2, cache=workplace / "cache")
    assert RRRAModel.load(made).config.adapter.token_dim == 32
    before, after = weights(trained), weights(workplace / "second-alone")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_resumed_run_keeps_the_model_that_it_has_written(workplace: Path, trained: Path) -> None:
    shutil.copytree(trained, workplace / "resumed")
    figures = workplace / "resumed" / "dev.json"
    figures.write_text("{}")
    train(load_recipe(workplace / "recipe.yaml"), workplace / "resumed", resume=True, cache=workplace / "cache")
    assert figures.read_text() == "{}"
    # Interrupted before the figures were written.
    (workplace / "resumed" / "phases" / "model-0.json").unlink()
    train(load_recipe(workplace / "recipe.yaml"), workplace / "resumed", resume=True, cache=workplace / "cache")
    assert figures.read_text() == (trained / "dev.json").read_text()


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ("train.0.data.path=nowhere", FileNotFoundError, "nowhere is not in the BEIR layout"),
        ("dev.0.data={format: columns, splits: {dev: no.csv}}", FileNotFoundError, "There is no .*no.csv"),
        ("dev.0.split=exam", ValueError, "has no split 'exam'"),
        ("start=nobody", FileNotFoundError, "There is no model .nobody."),
        ("start=rrra-minilm-l6", ValueError, "token_dim"),
        ("joint.frozen_layers=99", ValueError, "99 frozen layers leave nothing to learn"),
    ],
)
def test_what_is_wrong_is_told_before_a_run_begins(
    workplace: Path, change: str, error: type[Exception], reason: str
) -> None:
    recipe = load_recipe(workplace / "recipe.yaml", [change])
    with pytest.raises(error, match=reason):
        train(recipe, workplace / "wrong", cache=workplace / "cache")
    assert not (workplace / "wrong").exists()


def test_phase_3_wants_phase_2(workplace: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml", ["joint.steps=1"])
    with pytest.raises(ValueError, match="no adapter of phase 2 yet"):
        train(recipe, workplace / "too-early", phase=3, cache=workplace / "cache")


def test_phase_3_begins_with_a_trained_model(workplace: Path, trained: Path) -> None:
    # In the second round too, whose encoder is another one.
    changes = [
        f"start={trained / 'model'}", "joint.rounds=2", "joint.steps=2", "joint.batch_size=4", "joint.refit_steps=0"
    ]  # fmt: skip
    recipe = load_recipe(workplace / "recipe.yaml", [*changes, "joint.adapter_weight=0"])
    train(recipe, workplace / "started", cache=workplace / "cache")
    before, after = weights(trained), weights(workplace / "started")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert (workplace / "started" / "model" / "modules.json").exists()

    other = load_recipe(workplace / "recipe.yaml", [*changes, "adapter.parts.probes=3"])
    with pytest.raises(ValueError, match="probes differ"):
        train(other, workplace / "misfit", cache=workplace / "cache")
