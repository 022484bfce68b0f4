"""
What serving costs: a query by component, a server under load, and a server's start and memory.

``query`` times ``search.yaml`` over a filled store, component by component. ``load`` asks a running ``rrra serve`` from
several clients at once. ``start`` starts one and waits for its first answer.
"""

import json
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import psutil
import torch
import typer
from haystack.tracing.tracer import NullSpan, Span, Tracer, disable_tracing, enable_tracing
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_write
from rrra_haystack.pipeline_files import opened, question_inputs, read_pipeline
from rrra_training.data import BeirDataset

_ENDED = "The server ended before it answered. Run it by hand to see why."
_SILENT = "The server did not answer in {:g} seconds. Be more patient, or run it by hand to see what keeps it."


class _RunSpan(NullSpan):
    """Notes when a component gets its input, which Haystack copies first."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()

    def set_content_tag(self, key: str, value: Any) -> None:  # noqa: ARG002  (the interface's signature)
        """The input is told right before the component runs."""
        if key == "haystack.component.input":
            self.begin = time.perf_counter()


class ComponentTimer(Tracer):
    """
    Seconds of each run of each component, in the order of the runs.

    `copying` holds the seconds that Haystack takes for the copy of a component's input, which count for no component.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.copying: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def trace(
        self,
        operation_name: str,
        tags: dict[str, Any] | None = None,
        parent_span: Span | None = None,  # noqa: ARG002  (the interface's signature)
    ) -> Iterator[Span]:
        """Time a span if it is a component's run."""
        begin = time.perf_counter()
        span = _RunSpan()
        yield span
        if operation_name == "haystack.component.run" and tags is not None:
            name = tags["haystack.component.name"]
            self.seconds[name].append(time.perf_counter() - span.begin)
            self.copying[name].append(span.begin - begin)

    def current_span(self) -> Span | None:
        """There is none to hang others on."""
        return None


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    middle, high = np.percentile(seconds, [50, 95]) * 1000
    return {"p50": float(middle), "p95": float(high)}


def time_query(store: str, questions: Sequence[str], warm_up: int = 20) -> dict[str, Any]:
    """
    Time ``search.yaml``, whole and by component.

    :param store: Folder or URL of a filled Qdrant.
    :param questions: Asked one after the other. They should differ, since encodings are kept.
    :param warm_up: How many of them are asked first and not timed.
    :returns: Number of timed questions, milliseconds of ``whole``, of each component's run, and of the copies that
        Haystack makes of the components' inputs, and the ranker's share of the whole.
    :raises ValueError: If no question is left to be timed.
    """
    if len(questions) <= warm_up:
        msg = f"There are {len(questions)} questions, and the first {warm_up} only warm up: give more questions."
        raise ValueError(msg)
    timed = questions[warm_up:]
    timer = ComponentTimer()
    whole = []
    with opened(read_pipeline(None, "search.yaml", store)) as pipeline:
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
    return {
        "questions": len(timed),
        "threads": torch.get_num_threads(),
        "milliseconds": {"whole": milliseconds(whole)}
        | {name: milliseconds(seconds) for name, seconds in timer.seconds.items()}
        | {"copies by Haystack": milliseconds(np.sum(list(timer.copying.values()), axis=0))},
        "share of the ranker": sum(timer.seconds["ranker"]) / sum(whole),
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


@contextmanager
def server(folder: Path, *command: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """
    Run a server of this environment on a free port.

    :param folder: The folder in which it runs.
    :param command: Its program and arguments, as ``rrra``, ``serve``, ``pipelines``.
    :returns: Its address, before it listens, and its process, which ends with the block.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name(command[0])
    process = subprocess.Popen(  # noqa: S603
        [program, *command[1:], "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], patience: float) -> None:
    """
    Wait until a server listens.

    :param address: Its address.
    :param process: Its process.
    :param patience: For how many seconds.
    :raises RuntimeError: If it ends.
    :raises TimeoutError: If it does not listen in time.
    """
    end = time.monotonic() + patience
    while True:
        try:
            httpx.get(f"{address}/status")
            return
        except httpx.TransportError as error:
            if process.poll() is not None:
                raise RuntimeError(_ENDED) from error
            if time.monotonic() > end:
                raise TimeoutError(_SILENT.format(patience)) from error
            time.sleep(0.05)


def start(folder: Path, pipelines: Path, question: str, patience: float = 300) -> dict[str, float]:
    """
    Start a server and wait for its first answer.

    :param folder: Where it runs; the stores of the pipelines are found from here.
    :param pipelines: The folder of pipeline files, ``search.yaml`` among them.
    :param question: The first question.
    :raises RuntimeError: If the server ends, or answers with an error.
    :raises TimeoutError: If it does not answer in `patience` seconds.
    """
    begin = time.monotonic()
    with server(folder, "rrra", "serve", str(pipelines.resolve())) as (address, process):
        wait_for(address, process, patience)
        listening = time.monotonic() - begin
        left = max(1.0, patience - listening)
        try:
            httpx.post(f"{address}/search/run", json={"question": question}, timeout=left).raise_for_status()
        except httpx.HTTPStatusError as error:
            msg = f"The server answered the question with an error: {error.response.text[:200]}"
            raise RuntimeError(msg) from error
        except httpx.TimeoutException as error:
            raise TimeoutError(_SILENT.format(patience)) from error
        except httpx.TransportError as error:
            raise RuntimeError(_ENDED) from error
        answered = time.monotonic() - begin
        memory = psutil.Process(process.pid).memory_info().rss
    return {"seconds until it listens": listening, "seconds until the first answer": answered, "bytes": memory}


app = typer.Typer(help="Measure what serving costs.", no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")]
Split = Annotated[str, typer.Option(help="Which questions.")]
Limit = Annotated[int, typer.Option(min=1, help="Draw this many questions.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures here.")]


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
        atomic_write(json_file, json.dumps(figures, indent=2) + "\n")


@app.command("query")
def query_command(
    data: Data,
    store: Annotated[str, typer.Option(help="Folder or URL of a Qdrant with the corpus.")],
    split: Split = "test",
    limit: Limit = 500,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Time search.yaml by component."""
    _tell(time_query(store, _questions(data, split, limit, seed)), json_file)


@app.command("load")
def load_command(
    data: Data,
    url: Annotated[str, typer.Option(help="Where a question is sent to.")] = "http://localhost:1416/search/run",
    clients: Annotated[int, typer.Option(min=1, help="How many ask at once.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long.")] = 60,
    split: Split = "test",
    limit: Limit = 500,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Ask a running server from several clients at once."""
    _tell(load(url, _questions(data, split, limit, seed), clients=clients, seconds=seconds), json_file)


@app.command("start")
def start_command(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the server runs.")] = Path(),
    pipelines: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Its pipelines.")] = Path("pipelines"),
    question: Annotated[str, typer.Option(help="The first question.")] = "Who signed the contract?",
    json_file: Json = None,
) -> None:
    """Start a server and wait for its first answer."""
    _tell(start(folder, pipelines, question), json_file)


if __name__ == "__main__":
    app()
