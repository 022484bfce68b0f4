"""Kills a command at random moments, and looks after each kill whether what was done is still there."""

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qdrant_client import models
from tqdm.auto import tqdm

from rrra_haystack.named_store import open_store
from rrra_haystack.qdrant.clients import open_client

COLLECTION = "rrra"


@dataclass
class Kills:
    """
    What became of the passages.

    :param kills: Runs that were killed.
    :param midway: Those of them that left passages to do.
    :param finished: Runs that were faster than their kill.
    :param done: Passages that were done, over all kills.
    :param stored: Passages in the store, over all kills.
    :param lost: Passages that were done and are not there, or not as they were given.
    :param twice: Passages that are there more than once.
    :param half: Passages without their embedding, codes or content.
    :param missing_at_the_end: Passages that the last run, which was not killed, did not bring.
    """

    kills: int = 0
    midway: int = 0
    finished: int = 0
    done: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    half: int = 0
    missing_at_the_end: int = 0


class Killed(Protocol):
    """A command that fills or changes a store, and can be started again."""

    def change(self) -> None:
        """Give it all passages to do again."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""

    def wait_for_writing(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it begins to write, or ends."""

    def is_complete(self) -> bool:
        """Whether it has nothing to do."""

    def look(self, kills: Kills) -> None:
        """Open the store, and count what became of the passages."""

    def missing(self) -> int:
        """Passages that are not done."""


def started(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Start ``rrra`` with arguments."""
    command = [Path(sys.executable).with_name("rrra"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def points_in(folder: Path, most: int) -> list[models.Record]:
    """
    The points of a store with their vectors; none if there is no collection.

    :param folder: The store.
    :param most: More than there are.
    """
    if not (folder / COLLECTION).exists():
        return []
    store: Any = open_store(str(folder), COLLECTION)
    try:
        client = open_client(store)
        return client.scroll(COLLECTION, limit=most, with_payload=True, with_vectors=True)[0]
    finally:
        store.close()


def kill(killed: Killed, *, kills: int, longest: float | None = None, seed: int = 0) -> Kills:
    """
    Start a command again and again, and kill it.

    :param killed: The command.
    :param kills: How many runs are killed.
    :param longest: The latest moment of a kill, in seconds after a run began to write; when a run that is not killed
        ends if `None`.
    :param seed: Of the moments.
    :raises RuntimeError: If a run fails by itself.
    """
    draw, result = random.Random(seed), Kills()
    if longest is None:
        longest = _undisturbed(killed)
        killed.look(Kills())
    with tqdm(total=kills, desc="Killing", unit="kill") as progress:
        while result.kills < kills:
            if killed.is_complete():
                killed.change()
            process = killed.start()
            killed.wait_for_writing(process)
            try:
                _end(process, draw.uniform(0, longest))
                result.finished += 1
                killed.look(result)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed.look(result)
                result.kills += 1
                result.midway += not killed.is_complete()
                progress.update()
    _undisturbed(killed)
    killed.look(result)
    result.missing_at_the_end = killed.missing()
    return result


def _undisturbed(killed: Killed) -> float:
    """The seconds of a whole run since it began to write."""
    process = killed.start()
    killed.wait_for_writing(process)
    begin = time.monotonic()
    _end(process)
    return time.monotonic() - begin


def _end(process: subprocess.Popen[bytes], patience: float | None = None) -> None:
    _, told = process.communicate(timeout=patience)
    if process.returncode != 0:
        raise RuntimeError(told.decode())
