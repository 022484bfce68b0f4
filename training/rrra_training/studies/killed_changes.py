"""``rrra enrich`` and ``rrra copy`` over Edge, to be killed: what was done before a kill is there after it."""

import json
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from qdrant_client import models

from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.indexing.index import index
from rrra_haystack.model.codes.record import kind_of
from rrra_haystack.pipeline_files import read_pipeline
from rrra_training.studies.killing import Kills, points_in, started


class KilledChange(ABC):
    """
    A command that takes up a full store.

    :param folder: An empty folder.
    :param texts: The passages.
    """

    def __init__(self, folder: Path, texts: list[str]) -> None:
        self.full = folder / "full"
        self._texts = texts
        self._done: dict[str, str] = {}
        corpus = folder / "corpus.jsonl"
        rows = [{"_id": str(number), "text": text} for number, text in enumerate(texts)]
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        index([corpus], read_pipeline(None, "indexing.yaml", str(self.full)))

    @property
    @abstractmethod
    def store(self) -> Path:
        """The store that is written to."""

    @abstractmethod
    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""

    @abstractmethod
    def is_done(self, point: models.Record) -> bool:
        """Whether the command has nothing to do for a passage that is whole."""

    def change(self) -> None:
        """Forget what was done."""
        self._done = {}

    def wait_for_writing(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the folder changes, or the command ends."""
        before = self._state()
        while process.poll() is None and self._state() == before:
            time.sleep(0.01)

    def is_complete(self) -> bool:
        """Whether all passages are done."""
        return not self.missing()

    def missing(self) -> int:
        """Passages that are not done."""
        return len(self._texts) - len(self._done)

    def look(self, kills: Kills) -> None:
        """Open the store, and count what became of the passages."""
        points = points_in(self.store, 2 * len(self._texts))
        done, names, half = {}, set(), 0
        for point in points:
            payload = point.payload or {}
            name, code = payload["id"], payload["meta"].get(CODES_KEY)
            names.add(name)
            if not (point.vector and code and payload["content"] == self._texts[int(name)]):
                half += 1
            elif self.is_done(point):
                done[name] = code
        kills.done += len(self._done)
        kills.stored += len(points)
        kills.twice += len(points) - len(names)
        kills.half += half
        kills.lost += sum(done.get(name) != code for name, code in self._done.items())
        self._done = done

    def _state(self) -> list[tuple[str, int]]:
        found = []
        # The engine moves what it has written: what vanishes meanwhile is passed over, a folder too.
        for folder, _, names in os.walk(self.store):
            for path in (Path(folder) / name for name in names):
                with suppress(FileNotFoundError):
                    found.append((str(path), path.stat().st_mtime_ns))
        return sorted(found)


class KilledEnriching(KilledChange):
    """``rrra enrich``: the codes of all passages are made anew, of another kind each time."""

    def __init__(self, folder: Path, texts: list[str]) -> None:
        super().__init__(folder, texts)
        self._kinds = cycle(("1bit", "4bit"))
        self.change()

    @property
    def store(self) -> Path:
        """The full store."""
        return self.full

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        return started("enrich", self.store, "--code", self._kind, "--batch-size", "32")

    def is_done(self, point: models.Record) -> bool:
        """Whether the codes are of the kind."""
        return kind_of((point.payload or {})["meta"][CODES_KEY]) == self._kind

    def change(self) -> None:
        """Take another kind."""
        super().change()
        self._kind = next(self._kinds)


class KilledCopy(KilledChange):
    """``rrra copy``: into a new folder each time."""

    @property
    def store(self) -> Path:
        """The copy."""
        return self.full.with_name("copy")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        return started("copy", self.full, self.store)

    def is_done(self, point: models.Record) -> bool:
        """Whether a passage is there."""
        return point.vector is not None

    def change(self) -> None:
        """Delete the copy."""
        super().change()
        shutil.rmtree(self.store, ignore_errors=True)
