"""
Kills ``rrra index``, ``rrra enrich`` or ``rrra copy`` over Edge, and looks whether what was done is still there.

``python -m rrra_training.studies.killed_index DATA/squad --kills 20`` fills a folder. Whenever all is indexed, all
passages are changed, so that they are to be replaced. ``--command enrich`` and ``--command copy`` kill the others.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.indexing.finding import find_files
from rrra_haystack.indexing.units import units_of
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.studies.killed_changes import KilledCopy, KilledEnriching
from rrra_training.studies.killing import COLLECTION, Killed, Kills, kill, points_in, started


class KilledIndex:
    """
    A corpus, and a store that is filled from it and killed meanwhile.

    :param folder: An empty folder.
    :param texts: The passages.
    """

    def __init__(self, folder: Path, texts: list[str]) -> None:
        self._store = folder / "store"
        self._corpus = folder / "corpus.jsonl"
        self._texts = texts
        self._version = 0
        self.change()

    def change(self) -> None:
        """Change all passages."""
        self._version += 1
        with self._corpus.open("w", encoding="utf-8") as file:
            for number, text in enumerate(self._texts):
                file.write(json.dumps({"_id": str(number), "text": f"{self._version}. {text}"}) + "\n")

    def start(self) -> subprocess.Popen[bytes]:
        """Start ``rrra index``."""
        return started("index", self._corpus, "--store", self._store)

    def wait_for_writing(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the manifest names what is to be written, or the process ends."""
        before = self._noted()
        while process.poll() is None and self._noted() == before:
            time.sleep(0.01)

    def is_complete(self) -> bool:
        """Whether the manifest calls all passages done."""
        return len(self._done()) == len(self._texts)

    def look(self, kills: Kills) -> None:
        """Open the store, and count what became of the passages."""
        done = self._done()
        # The first kill may have come before the collection.
        points = points_in(self._store, 2 * len(self._texts)) if self._noted() else []
        names, whole = [], {}
        for point in points:
            payload = point.payload or {}
            name, content = payload["id"], payload["content"]
            names.append(name)
            if point.vector and payload["meta"].get(CODES_KEY) and content.endswith(self._texts[int(name)]):
                whole[name] = content
        kills.done += len(done)
        kills.stored += len(points)
        kills.twice += len(points) - len(set(names))
        kills.half += len(points) - len(whole)
        kills.lost += sum(whole.get(name) != content for name, content in done.items())

    def missing(self) -> int:
        """Passages that are not done."""
        return len(self._texts) - len(self._done())

    def _done(self) -> dict[str, str]:
        """The passages that the manifest calls done, by their identifiers."""
        manifest = json.loads(self._noted() or '{"files": {}, "pending": []}')
        units = [unit for own in units_of(find_files([self._corpus], set)).values() for unit in own]
        done = [
            unit
            for unit in units
            if unit.key not in manifest["pending"] and manifest["files"].get(unit.key, "").endswith(unit.digest)
        ]
        return dict(passage for unit in done for passage in self._passages(unit.begin, unit.size))

    def _passages(self, begin: int, size: int) -> Iterator[tuple[str, str]]:
        for line in self._corpus.read_bytes()[begin : begin + size].splitlines():
            row = json.loads(line)
            yield row["_id"], row["text"]

    def _noted(self) -> str:
        path = self._store / f"{COLLECTION}-rrra-index.json"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    passages: Annotated[int, typer.Option(min=1, help="How many passages of it.")] = 2000,
    kills: Annotated[int, typer.Option(min=1, help="Runs that are killed.")] = 20,
    command: Annotated[str, typer.Option(help="What is killed: index, enrich or copy.")] = "index",
    longest: Annotated[
        float | None,
        typer.Option(min=0, help="Latest moment of a kill, in seconds; the end of a whole run if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the moments.")] = 0,
) -> None:
    """Kill a command at random moments, and count what is lost."""
    kinds: dict[str, Callable[[Path, list[str]], Killed]] = {
        "index": KilledIndex, "enrich": KilledEnriching, "copy": KilledCopy,
    }  # fmt: skip
    if command not in kinds:
        msg = f"Unknown command {command!r}; those that can be killed are {', '.join(kinds)}."
        raise ValueError(msg)
    texts = [one.text for one in islice(BeirDataset(data).passages(), passages)]
    with tempfile.TemporaryDirectory() as folder:
        killed = kinds[command](Path(folder), texts)
        Console().print(asdict(kill(killed, kills=kills, longest=longest, seed=seed)))


if __name__ == "__main__":
    run_command(main)
