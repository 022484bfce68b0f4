"""
How well ``search.yaml`` answers as a pipeline, by both searches and by meaning alone.

``python -m rrra_training.studies.search_quality DATA/scifact:test=.rrra/scifact`` asks a store that ``rrra index`` has
filled with the collection's ``corpus.jsonl``.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from tqdm.auto import tqdm

from rrra_haystack.files import write_json
from rrra_haystack.pipeline_files import opened, question_inputs, read_pipeline
from rrra_training.data import BeirDataset
from rrra_training.data.beir import named_collections
from rrra_training.data.interface import Query
from rrra_training.measures.markdown import markdown_table
from rrra_training.measures.ranking import per_query
from rrra_training.measures.significance import paired_interval, told
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile

_MEASURES = ("nDCG@10", "R@1")


def answered(store: str, queries: Sequence[Query], *, sparse: bool) -> dict[str, dict[str, float]]:
    """
    Ask ``search.yaml``.

    :param store: Folder or URL of a filled Qdrant.
    :param queries: What is asked.
    :param sparse: Whether it searches by words too.
    :returns: Query id -> passage id -> score, of the ten that are returned.
    """
    data = read_pipeline(None, "search.yaml", store)
    data["components"]["retriever"]["init_parameters"]["sparse"] = sparse
    run: dict[str, dict[str, float]] = {}
    with opened(data) as pipeline:
        for query in tqdm(queries, desc="By both searches" if sparse else "By meaning", unit="question"):
            found = pipeline.run(question_inputs(pipeline, query.text))["ranker"]["documents"]
            own = run[query.id] = {}
            for one in found:
                # A passage that was too long to stay whole has parts, the best of which comes first.
                own.setdefault(one.meta.get("source_id", one.id), float(one.score))
    return run


def compare(store: str, data: BeirDataset, split: str, *, limit: int | None = None, seed: int = 0) -> dict[str, Any]:
    """
    Measure both ways of retrieving over the same questions.

    :param store: Folder or URL of a Qdrant with the corpus.
    :param data: The collection.
    :param split: Which questions.
    :param limit: Draw so many.
    :param seed: Of the draw and of the intervals.
    :returns: Number of questions, and of each measure the means ``both`` and ``meaning``, fractions, and the 95 %
        ``interval`` of the difference.
    """
    queries = data.queries(split, limit=limit, seed=seed)
    judged = data.qrels(split)
    qrels = {query.id: judged[query.id] for query in queries}
    both, meaning = (per_query(qrels, answered(store, queries, sparse=sparse)) for sparse in (True, False))
    return {"questions": len(queries)} | {name: _compared(both[name], meaning[name], seed) for name in _MEASURES}


def _compared(both: np.ndarray, meaning: np.ndarray, seed: int) -> dict[str, Any]:
    return {
        "both": float(both.mean()),
        "meaning": float(meaning.mean()),
        "interval": paired_interval(both, meaning, seed=seed),
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """
    A table of Markdown, in percent.

    :param found: What :func:`compare` tells, by collection.
    """
    heads = [f"{name}{by}" for name in _MEASURES for by in (" by both", " by meaning alone", ", difference (95 %)")]
    rows = []
    for name, own in found.items():
        cells = [name, f"{own['questions']:,}"]
        for one in (own[measure] for measure in _MEASURES):
            difference = told(one["both"] - one["meaning"], one["interval"])
            cells += [f"{100 * one['both']:.1f}", f"{100 * one['meaning']:.1f}", difference]
        rows.append(cells)
    return markdown_table(("set", "questions", *heads), rows)


def main(
    data: Annotated[list[str], typer.Argument(help="Collections and their stores, as FOLDER:SPLIT=STORE.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many questions of each.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws and of the intervals.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Measure search.yaml over collections."""
    pairs = [one.partition("=")[::2] for one in data]
    for named, store in pairs:
        if not store:
            msg = f"{named} comes without a store: name it as FOLDER:SPLIT=STORE."
            raise ValueError(msg)
    chosen = named_collections([named for named, _ in pairs], "test")
    found = {}
    for (name, (folder, split)), (_, store) in zip(chosen.items(), pairs, strict=True):
        found[name] = compare(store, BeirDataset(folder), split, limit=limit, seed=seed)
    Console().print(table(found), soft_wrap=True)
    if json_file:
        write_json(json_file, found)


if __name__ == "__main__":
    run_command(main)
