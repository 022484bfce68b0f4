"""What one training run leaves on disk: recipe, versions, metrics, curves, checkpoints and finished phases."""

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
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import rrra_haystack
from rrra_haystack.files import atomic_directory, atomic_file, atomic_write
from rrra_training.runs.checkpoints import KEPT_CHECKPOINTS, META, STATE, checkpoints_in, digest, raise_damaged
from rrra_training.runs.curves import curves_figure

logger = logging.getLogger(__name__)
_RECIPE, _VERSIONS, _METRICS, _CURVES = "recipe.yaml", "versions.json", "metrics.jsonl", "curves.png"
_PACKAGES = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "numpy")


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
        figure = curves_figure(rows, names)
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
            save_file(tensors, work / STATE)
            record = {"phase": phase, "step": step, "sha256": digest(work / STATE), "meta": meta}
            (work / META).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        old = [path for _, path in checkpoints_in(folder)[:-KEPT_CHECKPOINTS]]
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
        found = checkpoints_in(self.path / "checkpoints" / phase)
        if not found:
            return None
        step, path = found[-1]
        try:
            record = json.loads((path / META).read_text(encoding="utf-8"))
            if record["sha256"] != digest(path / STATE):
                raise_damaged(path, f"{STATE} is not what was written")
            return step, load_file(path / STATE), record["meta"]
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, SafetensorError) as error:
            raise_damaged(path, f"{type(error).__name__}: {error}")

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
