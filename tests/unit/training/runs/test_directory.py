import json
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rrra_training.runs.curves import smoothed
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.tensors import load_optimiser_tensors, optimiser_tensors
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

RECIPE = "name: one\nseed: 0\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run", RECIPE)
    yield run
    run.close()


def lines(run: RunDirectory) -> list[dict]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_a_new_run_holds_recipe_and_versions(run: RunDirectory) -> None:
    assert (run.path / "recipe.yaml").read_text() == RECIPE
    versions = json.loads((run.path / "versions.json").read_text())
    assert versions["torch"] == torch.__version__
    assert versions["numpy"] == np.__version__
    assert {"python", "rrra-haystack", "transformers", "sentence-transformers", "platform", "cores"} <= set(versions)
    assert any(name.startswith("faiss") for name in versions)


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    assert RunDirectory.create(tmp_path, RECIPE, resume=True).metrics.rows() == []


def test_a_run_is_not_overwritten(run: RunDirectory) -> None:
    with pytest.raises(FileExistsError, match=r"is not empty\. Go on with the run in it by --resume"):
        RunDirectory.create(run.path, RECIPE)


def test_a_directory_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"holds no run to resume: recipe\.yaml is missing"):
        RunDirectory.create(tmp_path, RECIPE, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: one\nseed: 1\nmore: 2\n", r"line 2 of .*recipe\.yaml is 'seed: 0' and now would be 'seed: 1'"),
        ("name: one\n", r"line 2 of .* is 'seed: 0' and now would be '\(nothing\)'"),
        ("name: one\nseed: 0\nmore: 2\n", r"line 3 of .* is '\(nothing\)' and now would be 'more: 2'"),
    ],
)
def test_another_recipe_is_not_resumed(run: RunDirectory, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunDirectory.create(run.path, text, resume=True)
    assert (run.path / "recipe.yaml").read_text() == RECIPE


def test_other_data_are_not_resumed(tmp_path: Path) -> None:
    train, dev = (f"queries, labels or passages of facts {split}" for split in ("train", "dev"))
    data = {train: "1", dev: "2"}
    # A run of an earlier version has not noted its data.
    RunDirectory.create(tmp_path / "run", RECIPE).close()
    for _ in range(2):
        RunDirectory.create(tmp_path / "run", RECIPE, data=data, resume=True).close()
    with pytest.raises(ValueError, match=r"begun with other data: queries, labels or passages of facts dev are not"):
        RunDirectory.create(tmp_path / "run", RECIPE, data=data | {dev: "3"}, resume=True)
    with pytest.raises(ValueError, match="of facts train and queries, labels or passages of facts dev are not what"):
        RunDirectory.create(tmp_path / "run", RECIPE, data={train: "2", dev: "3"}, resume=True)
    RunDirectory.create(tmp_path / "run", RECIPE, data=data, resume=True).close()
    # Nor has one of an earlier version noted all that is compared now.
    more = data | {"the scores of evidence.teacher": "4"}
    RunDirectory.create(tmp_path / "run", RECIPE, data=more, resume=True).close()
    with pytest.raises(ValueError, match=r"begun with other data: the scores of evidence\.teacher are not"):
        RunDirectory.create(tmp_path / "run", RECIPE, data=more | {"the scores of evidence.teacher": "5"}, resume=True)


def test_versions_are_written_once_and_a_change_is_told(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    path = run.path / "versions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch": "0.1"}))
    with caplog.at_level(logging.WARNING):
        RunDirectory.create(run.path, RECIPE, resume=True)
    assert f"begun with other versions: torch 0.1 -> {torch.__version__}." in caplog.text
    assert json.loads(path.read_text())["torch"] == "0.1"


def test_metrics_are_on_disk_at_once_and_in_tensorboard(run: RunDirectory) -> None:
    run.metrics.log("adapter", 1, loss=2.5, auroc=0.5)
    assert [{**row, "time": 0} for row in lines(run)] == [
        {"phase": "adapter", "step": 1, "time": 0, "loss": 2.5, "auroc": 0.5}
    ]
    run.metrics.log("adapter", 2, loss=torch.tensor(1.5))
    run.metrics.log("joint", 1, loss=9.0)
    assert [row["loss"] for row in run.metrics.rows()] == [2.5, 1.5, 9.0]
    events = EventAccumulator(str(run.path / "tensorboard" / "adapter")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.5), (2, 1.5)]
    assert [(event.step, event.value) for event in events.Scalars("auroc")] == [(1, 0.5)]


def test_what_is_not_finite_is_null(run: RunDirectory) -> None:
    run.metrics.log("adapter", 1, loss=float("nan"), other=float("inf"))
    (row,) = lines(run)
    assert (row["loss"], row["other"]) == (None, None)


def test_rewinding_drops_the_later_lines_of_one_phase(run: RunDirectory) -> None:
    for step in (10, 20, 30):
        run.metrics.log("adapter", step, loss=float(step))
    run.metrics.log("joint", 30, loss=0.5)
    run.close()
    again = RunDirectory.create(run.path, RECIPE, resume=True)
    again.metrics.rewind("adapter", 20)
    again.metrics.log("adapter", 30, loss=-1.0)
    again.close()
    expected = [("adapter", 10, 10.0), ("adapter", 20, 20.0), ("joint", 30, 0.5), ("adapter", 30, -1.0)]
    assert [(row["phase"], row["step"], row["loss"]) for row in lines(run)] == expected
    events = EventAccumulator(str(run.path / "tensorboard" / "adapter")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 10.0), (20, 20.0), (30, -1.0)]


def test_rewinding_an_empty_run(run: RunDirectory) -> None:
    run.metrics.rewind("adapter", 0)
    assert run.metrics.rows() == []


def test_a_line_that_was_cut_off_is_dropped(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    run.metrics.log("adapter", 1, loss=2.0)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "adapter", "st')
    again = RunDirectory.create(run.path, RECIPE, resume=True)
    assert "the last line was cut off" in caplog.text
    again.metrics.log("adapter", 2, loss=1.0)
    again.close()
    assert [row["step"] for row in lines(run)] == [1, 2]


def test_a_malformed_line_is_named(run: RunDirectory) -> None:
    run.metrics.log("adapter", 1, loss=2.0)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not a JSON object with phase and step"):
        run.metrics.rows()


def test_curves_have_one_panel_a_metric(run: RunDirectory) -> None:
    assert run.draw_curves() is None
    sizes = []
    for step in range(1, 40):
        run.metrics.log("adapter", step, loss=1 / step)
    run.metrics.log("joint", 1, loss=float("nan"))
    for name in ("auroc", "ndcg", "empty"):
        run.metrics.log("joint", 2, **{name: float("nan") if name == "empty" else 0.5})
        path = run.draw_curves()
        with Image.open(path) as image:
            sizes.append(image.size)
            colours = {pixel for _, pixel in image.convert("RGB").getcolors(maxcolors=1 << 20)}
            assert {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)} <= colours  # first and second phase
    assert path == run.path / "curves.png"
    assert sizes == [(1152, 408), (1728, 408), (1728, 816)]  # 2, 3 and 4 panels of 576 x 408
    assert not list(run.path.glob(".curves*"))


def test_smoothing_begins_at_the_first_value() -> None:
    # 0.5 * 4 / 0.5 = 4; (0.5 * 2 + 0.5 * 1) / 0.75 = 2; (0.5 * 1.5 + 0.5 * 8) / 0.875 = 38 / 7
    assert smoothed([4.0, 1.0, 8.0], weight=0.5) == pytest.approx([4.0, 2.0, 38 / 7])


def test_checkpoints_round_trip(run: RunDirectory) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    state = {"model.weight": weight, "tied/weight": weight, "turned": weight.T, "rng": torch.get_rng_state()}
    assert run.checkpoints.latest("adapter") is None
    run.checkpoints.save("adapter", 7, state)
    weight.add_(100)
    step, loaded = run.checkpoints.latest("adapter")
    assert step == 7
    assert loaded["model.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["tied/weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert torch.equal(loaded["rng"], torch.get_rng_state())
    assert sorted(path.name for path in (run.path / "checkpoints/adapter/step-7").iterdir()) == [
        "meta.json",
        "state.safetensors",
    ]


def test_the_last_two_checkpoints_of_a_phase_are_kept(run: RunDirectory) -> None:
    leftover = run.path / "checkpoints" / "adapter" / ".step-5.abc.partial"
    leftover.mkdir(parents=True)
    for step in (9, 10, 100):
        run.checkpoints.save("adapter", step, {"x": torch.tensor(step)})
    run.checkpoints.save("joint", 1, {"x": torch.tensor(1)})
    kept = sorted(path.name for path in (run.path / "checkpoints").glob("*/*"))
    assert kept == ["step-1", "step-10", "step-100"]
    assert not leftover.exists()
    step, state = run.checkpoints.latest("adapter")
    assert (step, state["x"].item()) == (100, 100)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("state.safetensors", flip_a_bit),
        ("state.safetensors", cut_off),
        ("state.safetensors", Path.unlink),
        ("meta.json", cut_off),
        ("meta.json", Path.unlink),
    ],
)
def test_a_damaged_checkpoint_is_named_and_not_skipped(run: RunDirectory, file: str, damage) -> None:
    for step in (1, 2):
        run.checkpoints.save("adapter", step, {"x": torch.tensor([1.0, 2.0])})
    damage(run.path / "checkpoints" / "adapter" / "step-2" / file)
    with pytest.raises(ValueError, match=r"checkpoints/adapter/step-2 is damaged .* Remove it to go on"):
        run.checkpoints.latest("adapter")


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(run: RunDirectory) -> None:
    state = run.checkpoints.save("adapter", 1, {"x": torch.tensor([1.0])}) / "state.safetensors"
    state.unlink()
    state.symlink_to(state)
    with pytest.raises(OSError, match="symbolic links"):
        run.checkpoints.latest("adapter")


def test_the_tensors_of_a_checkpoint_are_plain_safetensors(run: RunDirectory) -> None:
    path = run.checkpoints.save("adapter", 1, {"x": torch.tensor([1.0])}) / "state.safetensors"
    (header,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert json.loads(path.read_bytes()[8 : 8 + header])["x"]["shape"] == [1]
    assert load_file(path)["x"].item() == 1.0


def test_finished_phases(run: RunDirectory) -> None:
    assert run.done("adapter") is None
    run.mark_done("adapter", steps=10, loss=0.25)
    assert RunDirectory(run.path).done("adapter") == {"steps": 10, "loss": 0.25}
    assert run.done("joint") is None


def adamw(layer: nn.Module) -> torch.optim.AdamW:
    decayed = {"params": [layer.weight], "weight_decay": 0.1}
    return torch.optim.AdamW([decayed, {"params": [layer.bias], "lr": 0.3}], lr=0.7, betas=(0.8, 0.95), amsgrad=True)


def take_steps(layer: nn.Linear, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(4, 3, generator=generator)).square().mean().backward()
        optimizer.step()


def test_adamw_goes_on_exactly_where_it_was(run: RunDirectory) -> None:
    layer = nn.Linear(3, 2)
    optimizer = adamw(layer)
    take_steps(layer, optimizer, seed=0)
    optimizer.param_groups[0]["lr"] = 1 / 3  # as a schedule leaves it: no number that float32 holds
    state = {f"model.{name}": tensor for name, tensor in layer.state_dict().items()}
    state |= {f"optimiser.{name}": tensor for name, tensor in optimiser_tensors(optimizer).items()}
    run.checkpoints.save("adapter", 3, state)
    take_steps(layer, optimizer, seed=1)

    _, loaded = run.checkpoints.latest("adapter")
    other = nn.Linear(3, 2)
    other.load_state_dict({name: loaded[f"model.{name}"] for name in ("weight", "bias")})
    resumed = adamw(other)
    prefix = "optimiser."
    load_optimiser_tensors(
        resumed, {name.removeprefix(prefix): tensor for name, tensor in loaded.items() if name.startswith(prefix)}
    )
    assert resumed.param_groups[0]["lr"] == 1 / 3
    assert resumed.param_groups[1]["lr"] == 0.3
    assert resumed.param_groups[0]["betas"] == (0.8, 0.95)
    assert resumed.param_groups[0]["amsgrad"] is True
    take_steps(other, resumed, seed=1)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)
    for one, another in zip(optimizer.state.values(), resumed.state.values(), strict=True):
        assert set(one) == set(another) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
        assert all(torch.equal(one[name], another[name]) for name in one)


def test_without_the_optimisers_state_the_weights_differ() -> None:
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = adamw(layer)
    take_steps(layer, optimizer, seed=0)
    other.load_state_dict(layer.state_dict())
    take_steps(layer, optimizer, seed=1)
    take_steps(other, adamw(other), seed=1)
    assert (layer.weight - other.weight).abs().max() > 0.01


def test_an_optimiser_that_never_stepped() -> None:
    layer = nn.Linear(3, 2)
    resumed = adamw(layer)
    load_optimiser_tensors(resumed, optimiser_tensors(adamw(layer)))
    assert len(resumed.state) == 0
    take_steps(layer, resumed, seed=0)


def test_loaded_tensors_are_not_written_to() -> None:
    layer = nn.Linear(3, 2)
    optimizer = adamw(layer)
    take_steps(layer, optimizer, seed=0)
    tensors = {name: tensor.clone() for name, tensor in optimiser_tensors(optimizer).items()}
    before = tensors["state.0.exp_avg"].clone()
    load_optimiser_tensors(optimizer, tensors)
    take_steps(layer, optimizer, seed=1)
    assert torch.equal(tensors["state.0.exp_avg"], before)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Linear(4, 2), r"state\.0\.exp_avg has the shape \(2, 3\), the parameter \(2, 4\)"),
        (
            nn.Linear(3, 2, bias=False),
            r"The optimiser has 1 parameters in 1 groups, and the checkpoint's more: state\.1",
        ),
    ],
)
def test_an_optimiser_of_other_parameters(layer: nn.Linear, message: str) -> None:
    given = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(given.parameters())
    take_steps(given, optimizer, seed=0)
    with pytest.raises(ValueError, match=message):
        load_optimiser_tensors(torch.optim.AdamW(layer.parameters()), optimiser_tensors(optimizer))


def test_a_damaged_record_is_named(run: RunDirectory) -> None:
    run.mark_done("adapter", steps=2)
    (run.path / "phases" / "adapter.json").write_text("{")
    with pytest.raises(ValueError, match=r"phases/adapter\.json is not valid JSON .* Remove it to do the phase again"):
        run.done("adapter")
