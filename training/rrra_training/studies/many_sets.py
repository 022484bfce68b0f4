"""Encoder, BM25, both joined, the untrained form and a model over many collections, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.files import atomic_write, working_folder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.data.beir import collections_of
from rrra_training.evaluation.evaluate import Evaluation, evaluate
from rrra_training.evaluation.stages import Bm25Stage
from rrra_training.evaluation.systems import only_models
from rrra_training.measures.markdown import markdown_table
from rrra_training.measures.ranking import Run, per_query
from rrra_training.measures.significance import told_over
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import TablesFile

# Of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
_RANK_OFFSET = 60
_MEASURE = "nDCG@10"
_OURS = ("untrained", "rrra", "hybrid")
# What reranks the encoder's candidates must not be worse than the best of the first two, what reranks the candidates of
# both not worse than the best of the others, of which RRF has the same candidates.
_FLOORS = ("encoder", "BM25's order")
_FLOORS_OF_BOTH = ("encoder", "bm25", "RRF")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Measured:
    """
    One collection.

    :param name: Collection and split.
    :param values: System -> nDCG@10 of each query, shape ``[Q]``.
    """

    name: str
    values: Mapping[str, np.ndarray]


@app.command()
def main(
    data: list[str],
    model: str = DEFAULT_MODEL,
    other: Annotated[list[str], typer.Option(help="A further model, as NAME=MODEL.")] = [],  # noqa: B006  (typer asks for a list)
    same_weights: bool = False,
    limit: int | None = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    cache: Path | None = None,
    output: TablesFile = None,
) -> None:
    """
    Measure nDCG@10 of every system on every collection.

    :param data: Collections in the BEIR layout, each as ``FOLDER:SPLIT``.
    :param model: What ``rrra`` stands for.
    :param other: Further models.
    :param same_weights: Give them the fusion and lexical weight of the model.
    :param limit: Draw this many queries of each.
    :param seed: Seed of the draws and the intervals.
    :param cache: Where encoded corpora are kept.
    :param output: A file for the tables.
    """
    others = only_models(other)
    chosen = collections_of(data, "test")
    loaded = RRRAModel.load(model)
    if not loaded.encoder.embeds:
        msg = (
            f"{model} is a late-interaction model and retrieves nothing itself, and all is compared with what the "
            f"model retrieves: name one that does (--model), and this one beside it, as --other late={model}."
        )
        raise ValueError(msg)
    every = []
    with working_folder(None) as work:
        further = with_weights_of(loaded, others, work) if same_weights else other
        for folder, split in chosen:
            evaluation = evaluate(
                folder, model=loaded, split=split, systems=["bm25", *_OURS, *further], limit=limit, seed=seed,
                cache=cache, show_progress=True,
            )  # fmt: skip
            every.append(Measured(f"{folder.name} {split}", _values(evaluation)))
    text = tables(every, list(others), seed=seed)
    typer.echo(text)
    if output is not None:
        atomic_write(output, text)


def with_weights_of(model: RRRAModel, others: Mapping[str, str], folder: Path) -> list[str]:
    """
    Copies of further models that have the fusion and lexical weight of a model, each as ``NAME=COPY``.

    :param model: The model.
    :param others: The further ones: name -> model.
    :param folder: Where the copies go.
    """
    weights = {"fusion_weight": model.config.fusion_weight, "lexical_weight": model.config.lexical_weight}
    copies = []
    for name, source in others.items():
        own = RRRAModel.load(source)
        own.config = own.config.model_copy(update=weights)
        own.save(folder / name, include_encoder=False)
        copies.append(f"{name}={folder / name}")
    return copies


def _values(evaluation: Evaluation) -> dict[str, np.ndarray]:
    runs = evaluation.runs
    passages = list(evaluation.passages.values())
    row_of = {passage.id: row for row, passage in enumerate(passages)}
    lexical = Bm25Stage([passage.title_and_text for passage in passages], len(passages))
    ordered: dict[str, dict[str, float]] = {}
    for query in evaluation.queries:
        found = list(runs["encoder"][query.id])
        scores = lexical.score(query.text, np.asarray([row_of[one] for one in found], dtype=np.int64))
        ordered[query.id] = dict(zip(found, scores.tolist(), strict=True))
    further = {"BM25's order": ordered, "RRF": joined_by_ranks(runs["encoder"], runs["bm25"])}
    values = {name: own[_MEASURE] for name, own in evaluation.per_query.items()}
    return values | {name: per_query(evaluation.qrels, run)[_MEASURE] for name, run in further.items()}


def joined_by_ranks(one: Run, other: Run) -> dict[str, dict[str, float]]:
    """Two runs joined by reciprocal rank fusion: query id -> passage id -> score."""
    joined: dict[str, dict[str, float]] = {}
    for query in one:
        scores = joined[query] = {}
        for run in (one, other):
            ranked = sorted(run.get(query, {}).items(), key=lambda pair: -pair[1])
            for rank, (passage, _) in enumerate(ranked, start=1):
                scores[passage] = scores.get(passage, 0.0) + 1 / (_RANK_OFFSET + rank)
    return joined


def tables(every: Sequence[Measured], further: Sequence[str] = (), *, seed: int) -> str:
    """
    nDCG@10 of every system on every collection, what ours have over the best of their floors, and what further
    models have over ours.

    :param every: The collections.
    :param further: Names of the further models.
    :param seed: Seed of the intervals.
    """
    systems = list(every[0].values)
    means = [f"{np.mean([100 * one.values[name].mean() for one in every]):.1f}" for name in systems]
    rows = [
        (one.name, f"{len(one.values[systems[0]]):,}", *(f"{100 * one.values[name].mean():.1f}" for name in systems))
        for one in every
    ]
    ours = [name for name in systems if name not in {*_FLOORS, "bm25", "RRF", "match", "hybrid"}]
    found = [
        markdown_table(("set", "queries", *systems), [*rows, ("mean of the sets", "", *means)]),
        _over_the_best(every, _FLOORS, ours, seed),
        _over_the_best(every, _FLOORS_OF_BOTH, ["hybrid"], seed),
    ]
    if further:
        found.append(_over_ours(every, further, seed))
    return "\n\n".join(found) + "\n"


def _over_the_best(every: Sequence[Measured], floors: Sequence[str], ours: Sequence[str], seed: int) -> str:
    rows = []
    for one in every:
        floor = max(floors, key=lambda name: one.values[name].mean())
        rows.append((one.name, floor, *(told_over(one.values[name], one.values[floor], seed=seed) for name in ours)))
    return markdown_table(("set", "floor", *(f"{name} over it" for name in ours)), rows)


def _over_ours(every: Sequence[Measured], further: Sequence[str], seed: int) -> str:
    rows = []
    for one in every:
        ours = one.values["rrra"]
        cells = (told_over(one.values[name], ours, seed=seed) for name in further)
        rows.append((one.name, f"{len(ours):,}", f"{100 * ours.mean():.1f}", *cells))
    gains = [np.mean([100 * (one.values[name] - one.values["rrra"]).mean() for one in every]) for name in further]
    rows.append(("mean of the sets", "", "", *(f"{gain:+.1f}" for gain in gains)))
    return markdown_table(("set", "queries", "rrra", *(f"{name} over it" for name in further)), rows)


if __name__ == "__main__":
    run_command(app)
