"""What one training run leaves on disk: recipe, versions, metrics, curves, checkpoints and finished phases."""

import hashlib
import json
import logging
import math
import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import rrra_haystack
from rrra_haystack.files import atomic_directory, atomic_file, atomic_write

logger = logging.getLogger(__name__)

_RECIPE, _VERSIONS, _METRICS, _CURVES = "recipe.yaml", "versions.json", "metrics.jsonl", "curves.png"
_STATE, _META = "state.safetensors", "meta.json"
_PACKAGES = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "numpy")
_KEPT_CHECKPOINTS = 2

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
# Up to so many points of a phase are marked one by one.
_FEW = 20


class RunDirectory:
    """
    The directory of one training run.

    ``recipe.yaml``, ``versions.json``, ``metrics.jsonl``, ``tensorboard/<phase>/``, ``curves.png``,
    ``checkpoints/<phase>/step-N/`` and ``phases/<phase>.json``. Nothing in it is pickled by this class. Where several
    processes train together, only one of them may write.

    :param path: The directory; :meth:`create` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writers: dict[str, Any] = {}
        self._purge: dict[str, int] = {}

    @classmethod
    def create(cls, path: str | Path, recipe_text: str, *, resume: bool = False) -> Self:
        """
        Begin a run, or go on with one.

        :param path: Where the run is kept.
        :param recipe_text: The recipe with every default spelt out.
        :param resume: Go on with the run that stands there, if one does.
        :raises FileExistsError: If the directory is not empty and `resume` is not set.
        :raises ValueError: If what is to be resumed is no run, or one with another recipe.
        """
        run = cls(path)
        recipe = run.path / _RECIPE
        if run.path.exists() and any(run.path.iterdir()):
            if not resume:
                msg = f"{run.path} is not empty. Go on with the run in it by --resume, or choose another directory."
                raise FileExistsError(msg)
            if not recipe.is_file():
                msg = f"{run.path} holds no run to resume: {_RECIPE} is missing. Choose another directory."
                raise ValueError(msg)
            _check_same_recipe(recipe, recipe_text)
            run._drop_unfinished_line()
        else:
            atomic_write(recipe, recipe_text)
        run._record_versions()
        return run

    def log(self, phase: str, step: int, **values: float) -> None:
        """
        Record values of one step, at once: in ``metrics.jsonl`` and for TensorBoard.

        :param phase: Name of the phase.
        :param step: Step of the phase.
        :param values: Name -> value; what is not finite is recorded as null.
        """
        numbers = {name: float(value) for name, value in values.items()}
        line = {"phase": phase, "step": step, "time": round(time.time(), 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with (self.path / _METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        writer = self._writer(phase)
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def metrics(self) -> list[dict[str, Any]]:
        """
        What was logged, in order: ``phase``, ``step``, ``time`` (seconds since 1970) and the values of each line.

        :raises ValueError: If a line is malformed. A last line that an interruption cut off is left out.
        """
        path = self.path / _METRICS
        if not path.exists():
            return []
        *lines, unfinished = path.read_text(encoding="utf-8").split("\n")
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                row["phase"], row["step"]
            except (json.JSONDecodeError, TypeError, KeyError):
                msg = f"{path}, line {number}: not a JSON object with phase and step. Remove the line."
                raise ValueError(msg) from None
            rows.append(row)
        if unfinished:
            logger.warning("%s: the last line was cut off and is left out.", path)
        return rows

    def rewind(self, phase: str, step: int) -> None:
        """
        Forget what was logged of a phase beyond a step, as when it is resumed from there.

        :param phase: Name of the phase; other phases stay as they are.
        :param step: The last step that is kept.
        """
        if not (self.path / _METRICS).exists():
            return
        self._write_metrics([row for row in self.metrics() if row["phase"] != phase or row["step"] <= step])
        if writer := self._writers.pop(phase, None):
            writer.close()
        self._purge[phase] = step + 1

    def draw_curves(self) -> Path | None:
        """
        Draw what was logged: one panel a metric, one colour a phase; losses smoothed over the raw line.

        :returns: ``curves.png``, or `None` if nothing was logged.
        """
        rows = self.metrics()
        names = list(dict.fromkeys(name for row in rows for name in row if name not in {"phase", "step", "time"}))
        if not names:
            return None
        target = self.path / _CURVES
        figure = _figure(rows, names)
        with atomic_file(target) as work:
            figure.savefig(work)
        return target

    def save_checkpoint(self, phase: str, step: int, state: dict[str, Tensor], meta: dict[str, Any]) -> Path:
        """
        Keep what a phase needs to go on from a step; the last two checkpoints of a phase are kept.

        :param phase: Name of the phase.
        :param step: The step that was just done.
        :param state: Tensors by name; names may be nested with "." or "/".
        :param meta: What else is to be known, as JSON.
        """
        folder = self.path / "checkpoints" / phase
        target = folder / f"step-{step}"
        # Copies: safetensors takes no tensors that share memory, as tied weights do.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
        }
        with atomic_directory(target) as work:
            save_file(tensors, work / _STATE)
            record = {"phase": phase, "step": step, "sha256": _digest(work / _STATE), "meta": meta}
            (work / _META).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        old = [path for _, path in _checkpoints(folder)[:-_KEPT_CHECKPOINTS]]
        for leftover in [*old, *folder.glob(".step-*.partial"), *folder.glob(".step-*.replaced")]:
            shutil.rmtree(leftover)
        return target

    def latest_checkpoint(self, phase: str) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """
        The last checkpoint of a phase.

        :param phase: Name of the phase.
        :returns: Step, tensors (on the CPU) and meta, or `None` if the phase has none.
        :raises ValueError: If it is damaged; the one before is not taken instead.
        """
        found = _checkpoints(self.path / "checkpoints" / phase)
        if not found:
            return None
        step, path = found[-1]
        try:
            record = json.loads((path / _META).read_text(encoding="utf-8"))
            if record["sha256"] != _digest(path / _STATE):
                _damaged(path, f"{_STATE} is not what was written")
            return step, load_file(path / _STATE), record["meta"]
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, SafetensorError) as error:
            _damaged(path, f"{type(error).__name__}: {error}")

    def mark_done(self, phase: str, **summary: Any) -> None:
        """
        Note that a phase is finished.

        :param phase: Name of the phase.
        :param summary: What is to be known of it, as JSON.
        """
        atomic_write(self.path / "phases" / f"{phase}.json", json.dumps(summary, indent=2) + "\n")

    def done(self, phase: str) -> dict[str, Any] | None:
        """The summary of a phase that is finished, or `None`."""
        path = self.path / "phases" / f"{phase}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def close(self) -> None:
        """Close the files for TensorBoard; :meth:`log` opens them again."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, phase: str) -> Any:
        if phase not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (slow to import)

            self._writers[phase] = SummaryWriter(
                str(self.path / "tensorboard" / phase), purge_step=self._purge.pop(phase, None)
            )
        return self._writers[phase]

    def _write_metrics(self, rows: list[dict[str, Any]]) -> None:
        atomic_write(self.path / _METRICS, "".join(json.dumps(row) + "\n" for row in rows))

    def _drop_unfinished_line(self) -> None:
        # What is logged next would stand on the same line.
        path = self.path / _METRICS
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            self._write_metrics(self.metrics())

    def _record_versions(self) -> None:
        path = self.path / _VERSIONS
        now = _versions()
        if not path.exists():
            atomic_write(path, json.dumps(now, indent=2) + "\n")
            return
        then = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"{name} {then.get(name)} -> {now.get(name)}" for name in now if now[name] != then.get(name)]
        if changed:
            logger.warning("%s was begun with other versions: %s.", self.path, ", ".join(changed))


def trainer_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """
    Step and place of the last checkpoint that a trainer of transformers finished writing.

    :param folder: The trainer's ``output_dir``.
    """
    found = sorted((int(path.name.removeprefix("checkpoint-")), path) for path in folder.glob("checkpoint-*"))
    # The trainer writes its state last.
    complete = [(step, path) for step, path in found if (path / "trainer_state.json").is_file()]
    for _, path in found:
        if not (path / "trainer_state.json").is_file():
            logger.warning("The checkpoint %s was not written to its end and is left out.", path)
    return complete[-1] if complete else None


def optimiser_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """
    An optimiser's state as flat tensors: ``state.<parameter>.<name>`` and ``group.<group>.<name>``.

    Numbers such as the learning rate are kept as float64 and come back exactly. Switches (``amsgrad``, ``foreach``) are
    not kept: they are those of the optimiser that the tensors are loaded into.

    :param optimizer: An optimiser of torch whose state is tensors by parameter, as AdamW's is.
    """
    recorded = optimizer.state_dict()
    tensors = {
        f"state.{index}.{name}": torch.as_tensor(value)
        for index, values in recorded["state"].items()
        for name, value in values.items()
    }
    for number, group in enumerate(recorded["param_groups"]):
        for name, value in group.items():
            if name != "params" and _is_numeric(value):
                kept = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
                tensors[f"group.{number}.{name}"] = kept
    return tensors


def load_optimiser_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """
    Put an optimiser into the state that :func:`optimiser_tensors` told.

    :param optimizer: An optimiser of the same kind over the same parameters.
    :param tensors: The tensors.
    :raises ValueError: If they belong to other parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    recorded = optimizer.state_dict()
    groups = recorded["param_groups"]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, number, name = key.split(".", 2)
        index = int(number)
        if index >= len(parameters if kind == "state" else groups):
            msg = (
                f"The optimiser has {len(parameters)} parameters in {len(groups)} groups, and the checkpoint's more: "
                f"{key}. Resume with the recipe that the run was begun with."
            )
            raise ValueError(msg)
        if kind == "group":
            groups[index][name] = _as_before(tensor, groups[index].get(name))
            continue
        if tensor.ndim and tensor.shape != parameters[index].shape:
            msg = (
                f"The checkpoint's {key} has the shape {tuple(tensor.shape)}, the parameter "
                f"{tuple(parameters[index].shape)}. Resume with the recipe that the run was begun with."
            )
            raise ValueError(msg)
        # A copy: the optimiser would write into the caller's tensor.
        state.setdefault(index, {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_numeric(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_numeric(one) for one in value)
    return isinstance(value, int | float | Tensor) and not isinstance(value, bool)


def _as_before(tensor: Tensor, before: Any) -> Any:
    """A number of a parameter group in the type that it has there."""
    if isinstance(before, Tensor):
        return tensor.clone()
    if isinstance(before, tuple):
        return tuple(tensor.tolist())
    return type(before)(tensor.item()) if isinstance(before, int) else tensor.item()


def _check_same_recipe(path: Path, text: str) -> None:
    then = path.read_text(encoding="utf-8").splitlines()
    pairs = zip_longest(then, text.splitlines(), fillvalue="(nothing)")
    for number, (before, now) in enumerate(pairs, start=1):
        if before != now:
            msg = (
                f"{path.parent} was begun with another recipe: line {number} of {path} is {before!r} and now "
                f"would be {now!r}. Resume with the same recipe, or choose another directory."
            )
            raise ValueError(msg)


def _versions() -> dict[str, Any]:
    versions: dict[str, Any] = {"python": platform.python_version(), "rrra-haystack": rrra_haystack.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions | {"platform": platform.platform(), "cores": os.cpu_count()}


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = [(path.name.removeprefix("step-"), path) for path in folder.glob("step-*")]
    return sorted((int(step), path) for step, path in found if step.isdigit())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, reason: str) -> NoReturn:
    msg = f"The checkpoint {path} is damaged ({reason}). Remove it to go on from the one before."
    raise ValueError(msg) from None


def _figure(rows: list[dict[str, Any]], names: list[str]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    phases = list(dict.fromkeys(row["phase"] for row in rows))
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.4 * lines), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, columns, place)
        for number, phase in enumerate(phases):
            points = [(row["step"], row[name]) for row in rows if row["phase"] == phase and row.get(name) is not None]
            if not points:
                continue
            steps, values = (list(column) for column in zip(*points, strict=True))
            style: dict[str, Any] = {
                "color": _COLOURS[number % len(_COLOURS)],
                "marker": "o" if len(points) <= _FEW else None,
                "markersize": 3,
            }
            if "loss" in name:
                axes.plot(steps, values, alpha=0.3, linewidth=0.8, **style)
                axes.plot(steps, smoothed(values), label=phase, **style | {"marker": None})
            else:
                axes.plot(steps, values, label=phase, **style)
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(visible=True, alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """
    Exponential moving average without the pull towards 0 at its beginning (arXiv 1412.6980, section 3).

    :param values: Values in order.
    :param weight: Share of what was before, below 1.
    """
    average, result = 0.0, []
    for number, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        result.append(average / (1 - weight**number))
    return result
