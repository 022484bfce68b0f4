"""
What an index costs as it grows: a corpus of any size, made of the passages of a smaller index, in one Edge folder.

``python -m rrra_training.studies.scale make .rrra/store build/scale`` writes and optimizes an index of each size, each
in a folder of its own, and goes on where it was interrupted. ``ask DATA/squad build/scale`` measures them.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from haystack.components.writers import DocumentWriter
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from haystack_integrations.components.retrievers.rrra import RRRARetriever
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.folders import bytes_of
from rrra_haystack.files import read_json, write_json
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.named_store import open_store
from rrra_haystack.pipeline_files import read_pipeline, store_parameters
from rrra_haystack.qdrant.clients import open_client
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import drawable, fillable
from rrra_training.studies.scale_corpus import PerturbedCorpus
from rrra_training.studies.scale_figure import draw_figure
from rrra_training.studies.serving_speed import time_query

INDEX, FIGURES = "rrra", "figures.json"
_BATCH = 500
_WARM_UP, _COMPARED = 50, 200
# Values of `hnsw_ef`; the engine's own choice first.
_EFFORTS = (None, 256, 512)


def write(
    corpus: PerturbedCorpus, store: QdrantEdgeDocumentStore, size: int, figures: dict[str, Any]
) -> Iterator[None]:
    """
    Write passages into a store, beginning behind those that it has; one batch a step.

    :param corpus: Where they come from.
    :param store: The store.
    :param size: How many it is to hold.
    :param figures: Gets the seconds of the engine under ``write``, added to those that it has.
    """
    # As `rrra index` makes a collection.
    StoredUnits(DocumentWriter(store)).set_up()
    client = open_client(store)
    there = store.count_documents() // _BATCH * _BATCH
    with tqdm(total=size, initial=there, desc="Writing", unit="passage") as progress:
        for begin in range(there, size, _BATCH):
            points = corpus.points(begin, min(begin + _BATCH, size))
            with _Timed(figures, "write"):
                client.upsert(store.index, points)
            progress.update(len(points))
            yield


class _Timed:
    """
    Adds the seconds of a block, those of the clock and those of processors, child processes included.

    :param figures: Where to.
    :param name: Under which name.
    """

    def __init__(self, figures: dict[str, Any], name: str) -> None:
        self._sum = figures.setdefault(name, {"seconds": 0.0, "processor seconds": 0.0})

    def __enter__(self) -> None:
        self._begin = time.perf_counter(), sum(os.times()[:4])

    def __exit__(self, *_: object) -> None:
        self._sum["seconds"] += time.perf_counter() - self._begin[0]
        self._sum["processor seconds"] += sum(os.times()[:4]) - self._begin[1]


def asked(folder: str, questions: Sequence[str]) -> dict[str, Any]:
    """
    Ask ``search.yaml``, and compare the hundred that the engine's index finds with the nearest.

    The engine begins with no texts and codes in memory, so that the first questions read theirs from the disk. All are
    asked a second time; only the last few hundred are known to the model, so they are encoded again.

    :param folder: The store.
    :param questions: More than the model remembers. The first ones only warm up.
    :returns: What :func:`time_query` tells of the second time, ``first``: the milliseconds of the first, and ``R@100``:
        the share of the nearest hundred that is found, by ``hnsw_ef``.
    """
    first = time_query(folder, questions, _WARM_UP)["milliseconds"]
    again = time_query(folder, [*questions, *questions[_WARM_UP:]], len(questions))
    store: Any = open_store(folder, INDEX)
    try:
        return again | {
            "first": first,
            "R@100": {str(ef): recall(store, questions[-_COMPARED:], ef) for ef in _EFFORTS},
        }
    finally:
        store.close()


def recall(store: Any, questions: Sequence[str], effort: int | None = None, top_k: int = 100) -> float:
    """
    The share of the nearest passages that a search by the index finds.

    :param store: The store.
    :param questions: Embedded by the default model.
    :param effort: How many candidates the search keeps, ``hnsw_ef``; the engine's own choice if `None`.
    :param top_k: How many are searched for.
    """
    model = RRRAModel.shared()
    by_index = RRRARetriever(store, top_k=top_k, search_params=None if effort is None else {"hnsw_ef": effort})
    exact = RRRARetriever(store, top_k=top_k, search_params={"exact": True})
    shares = []
    for question in tqdm(questions, desc="Comparing", unit="question"):
        embedding = model.encode_query(question).embedding.tolist()
        found, nearest = ({one.id for one in own.run(embedding)["documents"]} for own in (by_index, exact))
        shares.append(len(found & nearest) / len(nearest))
    return float(np.mean(shares))


def table_of(figures: dict[str, dict[str, Any]]) -> Table:
    """
    One column a size.

    :param figures: What was measured, by size.
    """
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "bytes on disk": lambda one: f"{one['bytes'] / 1e9:.2f} GB",
        "written, minutes of a processor": lambda one: f"{one['write']['processor seconds'] / 60:.1f}",
        "optimized, minutes": lambda one: f"{one['optimize']['seconds'] / 60:.1f}",
        "optimized, minutes of a processor": lambda one: f"{one['optimize']['processor seconds'] / 60:.1f}",
        "memory of its own": lambda one: f"{one['memory']['own'] / 1e6:.0f} MB",
        "pages of files": lambda one: f"{one['memory']['pages of files'] / 1e6:.0f} MB",
        "a query, ms, p50 (p95)": lambda one: _told(one["milliseconds"]["whole"]),
        "its retriever": lambda one: _told(one["milliseconds"]["retriever"]),
        "a query, asked for the first time": lambda one: _told(one["first"]["whole"]),
        "its retriever, for the first time": lambda one: _told(one["first"]["retriever"]),
        "R@100 against exact, by hnsw_ef": lambda one: ", ".join(
            f"{share:.1%}" + ("" if effort == "None" else f" ({effort})") for effort, share in one["R@100"].items()
        ),
    }
    table = Table("passages", *(f"{int(size):,}" for size in figures))
    for name, told in rows.items():
        table.add_row(name, *(told(one) for one in figures.values()))
    return table


def _told(milliseconds: dict[str, float]) -> str:
    return f"{milliseconds['p50']:.1f} ({milliseconds['p95']:.1f})"


app = typer.Typer(help="Measure an index as it grows.", no_args_is_help=True, add_completion=False)
Folder = Annotated[
    Path, typer.Argument(file_okay=False, callback=fillable, help="The folder of the indexes and of their figures.")
]


class Figures:
    """
    What was measured, by size, kept in a file.

    :param folder: The folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FIGURES
        self.of: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            self.of = read_json(self._path, "Remove it to measure again.")

    def keep(self) -> None:
        """Write the file."""
        write_json(self._path, self.of)


@app.command("make")
def make_command(
    store: Annotated[str, typer.Argument(help="Folder or URL of a Qdrant with the corpus.")],
    folder: Folder,
    size: Annotated[list[int], typer.Option(min=1, help="Passages of an index.")] = [20_000, 200_000, 1_000_000],  # noqa: B006  (typer asks for a list)
) -> None:
    """Write and optimize an index of each size."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = Figures(folder)
    read: Any = open_store(store, INDEX)
    corpus = PerturbedCorpus(read)
    read.close()
    for number in sorted(size):
        own = figures.of.setdefault(str(number), {})
        if "bytes" in own:
            continue
        (parameters,) = store_parameters(read_pipeline(None, "search.yaml", str(folder / str(number))))
        made = QdrantEdgeDocumentStore(**parameters)
        for _ in write(corpus, made, number, own):
            figures.keep()
        with _Timed(own, "optimize"):
            made.optimize()
        made.close()
        own["bytes"] = bytes_of(folder / str(number))
        figures.keep()


@app.command("ask")
def ask_command(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    folder: Folder,
    limit: Annotated[int, typer.Option(min=1, help="How many questions.")] = 400,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, callback=drawable, help="Draw the growth, a PNG file.")
    ] = None,
) -> None:
    """Ask the indexes that are made, and draw their growth."""
    questions = [query.text for query in BeirDataset(data).queries("test", limit=limit + _WARM_UP, seed=0)]
    figures = Figures(folder)
    for size, own in figures.of.items():
        if "bytes" in own and "R@100" not in own:
            # A process of its own, whose memory is that of a server, and nothing of this one.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                own.update(pool.submit(asked, str(folder / size), questions).result())
            figures.keep()
    whole = {size: own for size, own in figures.of.items() if "R@100" in own}
    Console().print(table_of(whole))
    if plot is not None:
        draw_figure(whole, plot)


if __name__ == "__main__":
    run_command(app)
