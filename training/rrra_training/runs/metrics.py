"""What a run measures while it trains, on disk at once."""

import json
import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

from rrra_haystack.files import atomic_write

logger = logging.getLogger(__name__)


class Metrics:
    """
    Values of the steps of each phase, in ``metrics.jsonl`` and, for TensorBoard, in ``tensorboard/<phase>/``.

    :param folder: The run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._events = folder / "tensorboard"
        self._writers: dict[str, Any] = {}

    def log(self, phase: str, step: int, **values: float) -> None:
        """
        Record values of one step, at once.

        :param phase: Name of the phase.
        :param step: Step of the phase.
        :param values: Name -> value; what is not finite is recorded as null.
        """
        numbers = {name: float(value) for name, value in values.items()}
        line = {"phase": phase, "step": step, "time": round(time.time(), 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._draw(line | numbers)
        self._writer(phase).flush()

    def rows(self) -> list[dict[str, Any]]:
        """
        What was logged, in order: ``phase``, ``step``, ``time`` (seconds since 1970) and the values of each line.

        :raises ValueError: If a line is malformed. A last line that an interruption cut off is left out.
        """
        if not self._path.exists():
            return []
        *lines, unfinished = self._path.read_text(encoding="utf-8").split("\n")
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                row["phase"], row["step"]
            except (json.JSONDecodeError, TypeError, KeyError):
                msg = f"{self._path}, line {number}: not a JSON object with phase and step. Remove the line."
                raise ValueError(msg) from None
            rows.append(row)
        if unfinished:
            logger.warning("%s: the last line was cut off and is left out.", self._path)
        return rows

    def rewind(self, phase: str, step: int) -> None:
        """
        Forget what was logged of a phase beyond a step, as when it is resumed from there.

        :param phase: Name of the phase; other phases stay as they are.
        :param step: The last step that is kept.
        """
        if not self._path.exists():
            return
        kept = [row for row in self.rows() if row["phase"] != phase or row["step"] <= step]
        self._write(kept)
        if writer := self._writers.pop(phase, None):
            writer.close()
        # TensorBoard puts files of one second in the order of their names, in which 10 comes before 9: one file it is.
        shutil.rmtree(self._events / phase, ignore_errors=True)
        for row in kept:
            if row["phase"] == phase:
                self._draw(row)

    def drop_unfinished_line(self) -> None:
        """Drop a last line that an interruption cut off: what is logged next would stand on it."""
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            self._write(self.rows())

    def close(self) -> None:
        """Close the files for TensorBoard; :meth:`log` opens them again."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, phase: str) -> Any:
        if phase not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (slow to import)

            self._writers[phase] = SummaryWriter(str(self._events / phase))
        return self._writers[phase]

    def _draw(self, row: dict[str, Any]) -> None:
        writer = self._writer(row["phase"])
        for name, value in row.items():
            if name not in {"phase", "step", "time"}:
                number = math.nan if value is None else value
                writer.add_scalar(name, number, row["step"], walltime=row["time"])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        atomic_write(self._path, "".join(json.dumps(row) + "\n" for row in rows))
