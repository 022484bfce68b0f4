"""Checkpoints of a run, checked when they are read."""

import hashlib
import logging
from pathlib import Path
from typing import NoReturn

logger = logging.getLogger(__name__)
STATE, META = "state.safetensors", "meta.json"
KEPT_CHECKPOINTS = 2


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


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints of a folder by their steps."""
    found = [(path.name.removeprefix("step-"), path) for path in folder.glob("step-*")]
    return sorted((int(step), path) for step, path in found if step.isdigit())


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def raise_damaged(path: Path, reason: str) -> NoReturn:
    """Say that a checkpoint is damaged, and how to go on."""
    msg = f"The checkpoint {path} is damaged ({reason}). Remove it to go on from the one before."
    raise ValueError(msg) from None
