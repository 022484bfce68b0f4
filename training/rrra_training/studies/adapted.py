"""What ``rrra adapt`` makes of collections whose labels it does not see, measured by these labels."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.model.rarity import document_share, rarity_bytes
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.adapting.adapt import adapt, with_weights
from rrra_training.adapting.choosing import Weights
from rrra_training.adapting.corpus import read_queries
from rrra_training.adapting.telling import said
from rrra_training.adapting.writing import Writer
from rrra_training.data import BeirDataset
from rrra_training.data.beir import collections_of
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.measures.significance import told_over
from rrra_training.runs.commands import run_command

_MEASURE = "nDCG@10"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: list[str],
    model: str = DEFAULT_MODEL,
    questions: int = 300,
    queries: bool = False,
    writer: str | None = None,
    api_base_url: str | None = None,
    tried: bool = False,
    limit: int | None = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    cache: Path | None = None,
) -> None:
    """
    Adapt a model to the corpus of every collection, and measure nDCG@10 of its queries before and after.

    :param data: Collections in the BEIR layout, each as ``FOLDER:SPLIT``.
    :param model: What to begin with.
    :param questions: How many questions of a kind are made of the passages.
    :param queries: Let it see the queries, all of the collection's, without their labels.
    :param writer: A chat model that writes a further kind of questions.
    :param api_base_url: Where its API is; that of OpenAI if `None`.
    :param tried: Measure what was fitted on each kind of questions, too, and not kept.
    :param limit: Draw this many queries of each.
    :param seed: Seed of the draws and the intervals.
    :param cache: Where encoded corpora are kept, and what was written.
    """
    chosen = collections_of(data, "test")
    loaded = RRRAModel.load(model)
    author = None if writer is None else Writer(writer, api_base_url)
    typer.echo("| set | fusion, lexical, rare by | before | after | difference |\n|---|---|---|---|---|")
    gains = []
    for folder, split in chosen:
        made, found = adapt(
            str(folder), None, model=loaded, passages=None, questions=questions, seed=seed, cache=cache,
            queries=read_queries(folder / "queries.jsonl") if queries else [], writer=author, show_progress=True,
        )  # fmt: skip
        typer.echo(said(found), err=True)
        measured = partial(_measured, folder, split=split, limit=limit, seed=seed, cache=cache)
        before = measured(loaded) if tried or found.kept is not None else np.zeros(0)
        if tried:
            table = rarity_bytes(document_share(one.title_and_text for one in BeirDataset(folder).passages()))
            for one in dict.fromkeys(one.weights for one in found.tried):
                kinds = " and ".join(own.fitted_on for own in found.tried if own.weights == one)
                after = measured(with_weights(loaded, one, table))
                typer.echo(_row(f"{folder.name} {split}, by {kinds}", one, before, after, seed))
        if found.kept is None:
            # What was not changed need not be measured.
            gains.append(0.0)
            typer.echo(f"| {folder.name} {split} | as before | | | 0 |")
            continue
        after = measured(made)
        gains.append(100 * float((after - before).mean()))
        typer.echo(_row(f"{folder.name} {split}", found.kept.weights, before, after, seed))
    typer.echo(f"| mean of the sets | | | | {np.mean(gains):+.1f} |")


def _measured(
    folder: Path, model: RRRAModel, *, split: str, limit: int | None, seed: int, cache: Path | None
) -> np.ndarray:
    """nDCG@10 of each query."""
    found = evaluate(folder, model=model, split=split, systems=["rrra"], limit=limit, seed=seed, cache=cache)
    return found.per_query["rrra"][_MEASURE]


def _row(name: str, weights: Weights, before: np.ndarray, after: np.ndarray, seed: int) -> str:
    return (
        f"| {name} | {weights.fusion:g}, {weights.lexical:g}, {weights.language} | {100 * before.mean():.1f} "
        f"| {100 * after.mean():.1f} | {told_over(after, before, seed=seed)} |"
    )


if __name__ == "__main__":
    run_command(app)
