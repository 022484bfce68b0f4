"""What one training run leaves on disk: recipe, versions, metrics, curves, checkpoints and finished phases."""

import logging
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

import rrra_haystack
from rrra_haystack.files import atomic_file, atomic_write, read_json, write_json
from rrra_training.runs.checkpoints import Checkpoints
from rrra_training.runs.curves import curves_figure
from rrra_training.runs.metrics import Metrics

logger = logging.getLogger(__name__)
_RECIPE, _DATA, _VERSIONS, _CURVES = "recipe.yaml", "data.json", "versions.json", "curves.png"
_PACKAGES = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "numpy")


class RunDirectory:
    """
    The directory of one training run.

    ``recipe.yaml``, ``data.json``, ``versions.json``, ``metrics.jsonl``, ``tensorboard/<phase>/``, ``curves.png``,
    ``checkpoints/<phase>/step-N/`` and ``phases/<phase>.json``. Nothing in it is pickled by this class. Where several
    processes train together, only one of them may write.

    :param path: The directory; :meth:`create` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics = Metrics(self.path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    @classmethod
    def create(
        cls, path: str | Path, recipe_text: str, *, data: Mapping[str, str] | None = None, resume: bool = False
    ) -> Self:
        """
        Begin a run, or go on with one.

        :param path: Where the run is kept.
        :param recipe_text: The recipe with every default spelt out.
        :param data: What it is carried out on -> digest of it, as
            :func:`~rrra_training.candidates.splits.examine_splits` returns them; not compared if `None`.
        :param resume: Go on with the run that stands there, if one does.
        :raises FileExistsError: If the directory is not empty and `resume` is not set.
        :raises ValueError: If what is to be resumed is no run, or one with another recipe or other data.
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
            run.metrics.drop_unfinished_line()
        else:
            atomic_write(recipe, recipe_text)
        if data is not None:
            _check_same_data(run.path / _DATA, data)
        run._record_versions()
        return run

    def draw_curves(self) -> Path | None:
        """
        Draw what was logged: one panel a metric, one colour a phase; losses smoothed over the raw line.

        :returns: ``curves.png``, or `None` if nothing was logged.
        """
        rows = self.metrics.rows()
        names = list(dict.fromkeys(name for row in rows for name in row if name not in {"phase", "step", "time"}))
        if not names:
            return None
        target = self.path / _CURVES
        figure = curves_figure(rows, names)
        with atomic_file(target) as work:
            figure.savefig(work)
        return target

    def mark_done(self, phase: str, **summary: Any) -> None:
        """
        Note that a phase is finished.

        :param phase: Name of the phase.
        :param summary: What is to be known of it, as JSON.
        """
        write_json(self.path / "phases" / f"{phase}.json", summary)

    def done(self, phase: str) -> dict[str, Any] | None:
        """
        The summary of a phase that is finished, or `None`.

        :param phase: Name of the phase.
        :raises ValueError: If it is damaged.
        """
        path = self.path / "phases" / f"{phase}.json"
        return read_json(path, "Remove it to do the phase again.") if path.exists() else None

    def close(self) -> None:
        """Close what is open; logging opens it again."""
        self.metrics.close()

    def _record_versions(self) -> None:
        path = self.path / _VERSIONS
        now = _versions()
        if not path.exists():
            write_json(path, now)
            return
        then = read_json(path, "Remove it.")
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


def _check_same_data(path: Path, data: Mapping[str, str]) -> None:
    """See that a run goes on with the data that it was begun with, which are noted when it begins."""
    then = read_json(path, "Choose another directory.") if path.exists() else data
    # What an earlier version did not note is taken as it is.
    if changed := [name for name, digest in data.items() if then.get(name, digest) != digest]:
        msg = (
            f"{path.parent} was begun with other data: {' and '.join(changed)} are not what they were. Resume with the "
            "same data, or choose another directory."
        )
        raise ValueError(msg)
    write_json(path, dict(data))


def _versions() -> dict[str, Any]:
    versions: dict[str, Any] = {"python": platform.python_version(), "rrra-haystack": rrra_haystack.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions | {"platform": platform.platform(), "cores": os.cpu_count()}
