"""
Kills ``rrra index`` at random moments, and looks after each kill whether what it called done is there.

``python -m rrra_training.studies.killed_index DATA/squad --kills 20`` fills a folder of Edge. Whenever all is indexed,
all passages are changed, so that they are to be replaced.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from qdrant_client import models
from rich.console import Console
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.indexing.finding import find_files
from rrra_haystack.indexing.units import units_of
from rrra_haystack.named_store import open_store
from rrra_haystack.qdrant.clients import open_client
from rrra_training.data import BeirDataset

_COLLECTION, _ENGINE = "rrra", "edge"


@dataclass
class Kills:
    """
    What became of the passages.

    :param kills: Runs that were killed.
    :param finished: Runs that were faster than their kill.
    :param done: Passages that the manifest called done, over all kills.
    :param stored: Passages in the store, over all kills.
    :param lost: Passages that were done and are not there, or not as they were given.
    :param twice: Passages that are there more than once.
    :param half: Passages without their embedding, codes or content.
    :param missing_at_the_end: Passages that the last run, which was not killed, did not bring.
    """

    kills: int = 0
    finished: int = 0
    done: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    half: int = 0
    missing_at_the_end: int = 0


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
        rrra = Path(sys.executable).with_name("rrra")
        command: list[str | Path] = [rrra, "index", self._corpus, "--store", self._store, "--engine", _ENGINE]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603

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
        points = self._points() if self._noted() else []
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

    def _points(self) -> list[models.Record]:
        store: Any = open_store(str(self._store), _COLLECTION)
        try:
            client = open_client(store)
            return client.scroll(_COLLECTION, limit=2 * len(self._texts), with_payload=True, with_vectors=True)[0]
        finally:
            store.close()

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
        path = self._store / f"{_COLLECTION}-rrra-index.json"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def kill_index(index: KilledIndex, *, kills: int, longest: float, seed: int = 0) -> Kills:
    """
    Fill a folder of Edge, and kill what fills it.

    :param index: What is filled.
    :param kills: How many runs are killed.
    :param longest: The latest moment of a kill, in seconds after a run began to write.
    :param seed: Of the moments.
    :raises RuntimeError: If a run fails by itself.
    """
    draw, result = random.Random(seed), Kills()
    with tqdm(total=kills, desc="Killing", unit="kill") as progress:
        while result.kills < kills:
            if index.is_complete():
                index.change()
            process = index.start()
            index.wait_for_writing(process)
            try:
                _, told = process.communicate(timeout=draw.uniform(0, longest))
                if process.returncode != 0:
                    raise RuntimeError(told.decode())
                result.finished += 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                result.kills += 1
                progress.update()
            index.look(result)
    last = index.start()
    _, told = last.communicate()
    if last.returncode != 0:
        raise RuntimeError(told.decode())
    index.look(result)
    result.missing_at_the_end = index.missing()
    return result


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    passages: Annotated[int, typer.Option(min=1, help="How many passages of it.")] = 2000,
    kills: Annotated[int, typer.Option(min=1, help="Runs that are killed.")] = 20,
    longest: Annotated[float, typer.Option(min=0, help="Latest moment of a kill, in seconds.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
) -> None:
    """Kill rrra index at random moments, and count what is lost."""
    texts = [one.text for one in islice(BeirDataset(data).passages(), passages)]
    with tempfile.TemporaryDirectory() as folder:
        Console().print(asdict(kill_index(KilledIndex(Path(folder), texts), kills=kills, longest=longest, seed=seed)))


if __name__ == "__main__":
    typer.run(main)
