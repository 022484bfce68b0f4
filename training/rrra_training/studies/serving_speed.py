"""
What serving costs: a query by component, a server under load, and a server's start and memory.

``query`` times ``search.yaml`` over a filled store, component by component. ``load`` asks a running ``rrra serve`` from
several clients at once. ``start`` starts one and waits for its first answer.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import torch
import typer
from haystack.tracing.tracer import disable_tracing, enable_tracing
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from rrra_haystack.files import write_json
from rrra_haystack.pipeline_files import opened, question_inputs, read_pipeline
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile
from rrra_training.studies.component_timer import ComponentTimer
from rrra_training.studies.served_process import memory_of, start


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    middle, high = np.percentile(seconds, [50, 95]) * 1000
    return {"p50": float(middle), "p95": float(high)}


def time_query(store: str, questions: Sequence[str], warm_up: int = 20, *, sparse: bool = True) -> dict[str, Any]:
    """
    Time ``search.yaml``, whole and by component.

    :param store: Folder or URL of a filled Qdrant.
    :param questions: Asked one after the other. They should differ, since encodings are kept.
    :param warm_up: How many of them are asked first and not timed.
    :param sparse: Whether it searches by words too.
    :returns: Number of timed questions, milliseconds of ``whole``, of each component's run, and of the copies that
        Haystack makes of the components' inputs, the ranker's share of the whole, and the memory of this process.
    :raises ValueError: If no question is left to be timed.
    """
    if len(questions) <= warm_up:
        msg = f"There are {len(questions)} questions, and the first {warm_up} only warm up: give more questions."
        raise ValueError(msg)
    timed = questions[warm_up:]
    data = read_pipeline(None, "search.yaml", store)
    for name in ("embedder", "retriever"):
        data["components"][name]["init_parameters"]["sparse"] = sparse
    timer = ComponentTimer()
    whole = []
    with opened(data) as pipeline:
        for question in questions[:warm_up]:
            pipeline.run(question_inputs(pipeline, question))
        enable_tracing(timer)
        try:
            for question in tqdm(timed, desc="Asking", unit="question"):
                inputs = question_inputs(pipeline, question)
                begin = time.perf_counter()
                pipeline.run(inputs)
                whole.append(time.perf_counter() - begin)
        finally:
            disable_tracing()
        memory = memory_of(os.getpid())
    return {
        "questions": len(timed),
        "threads": torch.get_num_threads(),
        "milliseconds": {"whole": milliseconds(whole)}
        | {name: milliseconds(seconds) for name, seconds in timer.seconds.items()}
        | {"copies by Haystack": milliseconds(np.sum(list(timer.copying.values()), axis=0))},
        "share of the ranker": sum(timer.seconds["ranker"]) / sum(whole),
        "memory": memory,
    }


def load(url: str, questions: Sequence[str], *, clients: int, seconds: float) -> dict[str, Any]:
    """
    Ask a server from several clients at once.

    :param url: Where a question is sent to.
    :param questions: Asked in turns.
    :param clients: How many ask at once.
    :param seconds: For how long.
    :returns: Number of requests and errors, requests a second, and milliseconds.
    """
    end = time.monotonic() + seconds

    def ask(number: int) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = []
        with httpx.Client(timeout=60) as client:
            while time.monotonic() < end:
                body = {"question": questions[(number + len(found) * clients) % len(questions)]}
                begin = time.perf_counter()
                try:
                    well = client.post(url, json=body).status_code == httpx.codes.OK
                except httpx.HTTPError:
                    well = False
                found.append((time.perf_counter() - begin, well))
        return found

    begin = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        found = [one for own in pool.map(ask, range(clients)) for one in own]
    return {
        "clients": clients,
        "requests": len(found),
        "errors": sum(not well for _, well in found),
        "requests per second": len(found) / (time.monotonic() - begin),
        "milliseconds": milliseconds([taken for taken, _ in found]),
    }


app = typer.Typer(help="Measure what serving costs.", no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")]
Split = Annotated[str, typer.Option(help="Which questions.")]
Limit = Annotated[int, typer.Option(min=1, help="Draw this many questions.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the draw.")]


def _questions(data: Path, split: str, limit: int, seed: int) -> list[str]:
    return [query.text for query in BeirDataset(data).queries(split, limit=limit, seed=seed)]


def _tell(figures: dict[str, Any], json_file: Path | None) -> None:
    console = Console()
    if "milliseconds" in figures:
        times = (
            figures["milliseconds"] if "p50" not in figures["milliseconds"] else {"request": figures["milliseconds"]}
        )
        table = Table("", "p50, ms", "p95, ms")
        for name, own in times.items():
            table.add_row(name, f"{own['p50']:.1f}", f"{own['p95']:.1f}")
        console.print(table)
    console.print({name: value for name, value in figures.items() if name != "milliseconds"})
    if json_file:
        write_json(json_file, figures)


@app.command("query")
def query_command(
    data: Data,
    store: Annotated[str, typer.Option(help="Folder or URL of a Qdrant with the corpus.")],
    split: Split = "test",
    limit: Limit = 500,
    seed: Seed = 0,
    warm_up: Annotated[int, typer.Option(min=0, help="Ask so many of them first, and do not time them.")] = 20,
    sparse: Annotated[bool, typer.Option(help="Search by words too.")] = True,
    json_file: JsonFile = None,
) -> None:
    """Time search.yaml by component."""
    _tell(time_query(store, _questions(data, split, limit, seed), warm_up, sparse=sparse), json_file)


@app.command("load")
def load_command(
    data: Data,
    url: Annotated[str, typer.Option(help="Where a question is sent to.")] = "http://localhost:1416/search/run",
    clients: Annotated[int, typer.Option(min=1, help="How many ask at once.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long.")] = 60,
    split: Split = "test",
    limit: Limit = 500,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Ask a running server from several clients at once."""
    _tell(load(url, _questions(data, split, limit, seed), clients=clients, seconds=seconds), json_file)


@app.command("start")
def start_command(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the server runs.")] = Path(),
    pipelines: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Its pipelines.")] = Path("pipelines"),
    question: Annotated[str, typer.Option(help="The first question.")] = "Who signed the contract?",
    data: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Ask questions of it before memory is looked at.")
    ] = None,
    limit: Limit = 1000,
    json_file: JsonFile = None,
) -> None:
    """Start a server, wait for its first answer, and look at its memory."""
    further = _questions(data, "test", limit, 0) if data is not None else []
    _tell(start(folder, pipelines, question, further=further), json_file)


if __name__ == "__main__":
    run_command(app)
