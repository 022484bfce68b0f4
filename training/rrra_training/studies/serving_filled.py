"""
A server that is asked while its index is filled.

``python -m rrra_training.studies.serving_filled FOLDER DATA/squad DATA/medquad`` runs ``rrra serve pipelines/`` in a
folder with ``pipelines/search.yaml``, ``pipelines/indexing.yaml`` and their store, asks it questions of the first
collection, and sends it the passages of the second one meanwhile.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console

from rrra_haystack.files import write_json
from rrra_training.data import BeirDataset
from rrra_training.data.writing import corpus_row
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile
from rrra_training.studies.served_process import memory_of, server, wait_for
from rrra_training.studies.serving_speed import load

# A file is sent when the one before is written, so it is as large as a pause may be.
_PASSAGES_OF_A_FILE = 32


def files_of(data: Path) -> Iterator[bytes]:
    """
    The passages of a collection as small files.

    :param data: A folder in the BEIR layout.
    """
    passages = BeirDataset(data).passages()
    while some := list(islice(passages, _PASSAGES_OF_A_FILE)):
        yield "\n".join(json.dumps(corpus_row(one)) for one in some).encode()


def fill(url: str, data: Path, end: float) -> dict[str, int]:
    """
    Send files until they or the time end.

    :param url: Where they are sent to.
    :param data: Where they come from.
    :param end: When the time ends, by the monotonic clock.
    :returns: Files that were sent, errors, and passages that were written.
    """
    told = {"files": 0, "errors": 0, "passages": 0}
    with httpx.Client(timeout=120) as client:
        for number, file in enumerate(files_of(data)):
            if time.monotonic() > end:
                break
            told["files"] += 1
            try:
                answer = client.post(url, files=[("files", (f"{number}.jsonl", file))])
                told["passages"] += answer.raise_for_status().json()["result"]["writer"]["documents_written"]
            except (httpx.HTTPError, KeyError):
                told["errors"] += 1
    return told


def watch(number: int, end: float, pause: float) -> list[dict[str, int]]:
    """
    Look at the memory of a process until the time ends.

    :param number: The process.
    :param end: When the time ends, by the monotonic clock.
    :param pause: Seconds between two looks.
    """
    seen = []
    while time.monotonic() < end:
        time.sleep(pause)
        seen.append(memory_of(number) | {"threads": psutil.Process(number).num_threads()})
    return seen


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the server runs.")],
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the questions come from.")],
    added: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the added passages come from.")],
    clients: Annotated[int, typer.Option(min=1, help="How many ask at once.")] = 8,
    seconds: Annotated[float, typer.Option(min=1, help="For how long.")] = 600,
    json_file: JsonFile = None,
) -> None:
    """Ask a server while it is filled."""
    questions = [query.text for query in BeirDataset(data).queries("test", limit=1000, seed=0)]
    with server(folder, "rrra", "serve", "pipelines") as (address, process), ThreadPoolExecutor(2) as pool:
        wait_for(address, process, 300)
        # Both models are loaded before the time begins.
        httpx.post(f"{address}/search/run", json={"question": questions[0]}, timeout=300).raise_for_status()
        fill(f"{address}/indexing/run", data, time.monotonic() + 1)
        end = time.monotonic() + seconds
        filled = pool.submit(fill, f"{address}/indexing/run", added, end)
        watched = pool.submit(watch, process.pid, end, seconds / 60)
        figures: dict[str, Any] = load(f"{address}/search/run", questions, clients=clients, seconds=seconds)
        figures |= {"filling": filled.result(), "memory": watched.result()}
    Console().print(figures)
    if json_file:
        write_json(json_file, figures)


if __name__ == "__main__":
    run_command(main)
