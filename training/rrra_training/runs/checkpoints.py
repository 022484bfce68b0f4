"""Checkpoints of a run, checked when they are read."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rrra_haystack.files import atomic_directory, write_json

logger = logging.getLogger(__name__)
_STATE, _META = "state.safetensors", "meta.json"
_KEPT = 2


class Checkpoint(NamedTuple):
    """
    What a phase goes on with.

    :param step: The step that was just done.
    :param state: Tensors by name, on the CPU.
    """

    step: int
    state: dict[str, Tensor]


class Checkpoints:
    """
    The checkpoints of the phases of a run: ``<phase>/step-N/`` with the tensors and a digest of their file.

    :param path: The folder; it is made with the first checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, phase: str, step: int, state: dict[str, Tensor]) -> Path:
        """
        Keep what a phase needs to go on from a step; the last two checkpoints of a phase are kept.

        :param phase: Name of the phase.
        :param step: The step that was just done.
        :param state: Tensors by name; names may be nested with "." or "/".
        """
        folder = self.path / phase
        target = folder / f"step-{step}"
        # Copies: safetensors takes no tensors that share memory, as tied weights do.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
        }
        with atomic_directory(target) as work:
            save_file(tensors, work / _STATE)
            record = {"phase": phase, "step": step, "sha256": _sha256(work / _STATE)}
            write_json(work / _META, record)
        old = [path for _, path in _by_step(folder)[:-_KEPT]]
        for leftover in [*old, *folder.glob(".step-*.partial"), *folder.glob(".step-*.replaced")]:
            shutil.rmtree(leftover)
        return target

    def latest(self, phase: str) -> Checkpoint | None:
        """
        The last checkpoint of a phase, or `None` if the phase has none.

        :param phase: Name of the phase.
        :raises ValueError: If it is damaged; the one before is not taken instead.
        """
        found = _by_step(self.path / phase)
        if not found:
            return None
        step, path = found[-1]
        try:
            record = json.loads((path / _META).read_text(encoding="utf-8"))
            if record["sha256"] != _sha256(path / _STATE):
                _raise_damaged(path, f"{_STATE} is not what was written")
            return Checkpoint(step, load_file(path / _STATE))
        except (
            FileNotFoundError,
            json.JSONDecodeError,
            UnicodeDecodeError,
            KeyError,
            TypeError,
            SafetensorError,
        ) as error:
            _raise_damaged(path, f"{type(error).__name__}: {error}")


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


def _by_step(folder: Path) -> list[tuple[int, Path]]:
    found = [(path.name.removeprefix("step-"), path) for path in folder.glob("step-*")]
    return sorted((int(step), path) for step, path in found if step.isdigit())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _raise_damaged(path: Path, reason: str) -> NoReturn:
    msg = f"The checkpoint {path} is damaged ({reason}). Remove it to go on from the one before."
    raise ValueError(msg) from None
