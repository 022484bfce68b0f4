"""
How long the commands take alone, and beside a process that keeps a core busy.

``python -m rrra_training.studies.shared_cores DATA/cranfield`` runs each of them in a folder of its own, alone and
beside it in turns.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rrra_haystack.files import write_json
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile

_RECIPE = """\
name: mine
train: [{data: {format: beir, path: data}, split: train, limit: 100}]
dev: [{data: {format: beir, path: data}, split: dev, limit: 50}]
"""


def commands(question: str, steps: int, limit: int) -> dict[str, list[str]]:
    """
    What is run, one after the other, in a folder with ``data`` and ``recipe.yaml``.

    :param question: What is asked.
    :param steps: Steps of a training.
    :param limit: Queries of an evaluation.
    """
    return {
        "index": ["index", "data/corpus.jsonl", "--store", "store"],
        "enrich": ["enrich", "store", "--code", "int8"],
        "ask": ["ask", question, "--store", "store"],
        "train": ["train", "recipe.yaml", "--output", "run", "--set", f"adapter.steps={steps}"],
        "evaluate": ["evaluate", "data:dev", "--limit", str(limit)],
        "mine": ["mine", "data:dev", "--output", "mined.jsonl", "--limit", str(limit)],
    }


@contextmanager
def busy_process() -> Iterator[None]:
    """Beside a process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(data: Path, own: Mapping[str, list[str]], *, busy: bool) -> dict[str, float]:
    """
    Seconds that each command takes, its start included.

    :param data: A folder in the BEIR layout.
    :param own: Arguments of ``rrra`` by name.
    :param busy: Whether a core is kept busy meanwhile.
    :raises RuntimeError: If a command fails; with what it said.
    """
    rrra = Path(sys.executable).with_name("rrra")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").symlink_to(data.resolve())
        (folder / "recipe.yaml").write_text(_RECIPE, encoding="utf-8")
        with busy_process() if busy else nullcontext():
            for command, arguments in own.items():
                begin = time.perf_counter()
                done = subprocess.run([rrra, *arguments], cwd=folder, check=False, capture_output=True, text=True)
                found[command] = time.perf_counter() - begin
                if done.returncode:
                    msg = f"rrra {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
                    raise RuntimeError(msg)
    return found


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often all is run, alone and beside the other.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a training.")] = 50,
    limit: Annotated[int, typer.Option(min=1, help="Queries of an evaluation.")] = 50,
    question: Annotated[str, typer.Option(help="What is asked.")] = "Why does a wing stall?",
    output: JsonFile = None,
) -> None:
    """Time the commands alone and beside a busy process."""
    own = commands(question, steps, limit)
    times: dict[str, dict[str, list[float]]] = {"alone": defaultdict(list), "beside": defaultdict(list)}
    for _ in track(range(rounds), description="Rounds"):
        for busy, found in ((False, times["alone"]), (True, times["beside"])):
            for command, taken in seconds(data, own, busy=busy).items():
                found[command].append(taken)
    medians = {kind: {name: statistics.median(taken) for name, taken in own.items()} for kind, own in times.items()}
    table = Table("command", "alone, s", "beside a busy process, s", "ratio")
    for command, alone in medians["alone"].items():
        beside = medians["beside"][command]
        table.add_row(f"rrra {command}", f"{alone:.1f}", f"{beside:.1f}", f"{beside / alone:.2f}")
    Console().print(table)
    if output is not None:
        write_json(output, medians)


if __name__ == "__main__":
    run_command(main)
