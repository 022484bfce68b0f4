"""
What fewer dimensions cost, in each kind of token codes.

``python -m rrra_training.studies.compressed_kinds DATA/scifact:test --model 384=all-MiniLM-L6-v2 --model
128=compressed-minilm-l6``
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.files import atomic_write, working_folder
from rrra_haystack.model.codes.kinds import kind_named
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.data.beir import collections_of
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.evaluation.systems import RRRA_SYSTEM, code_key, code_suffixes, only_models
from rrra_training.measures.markdown import markdown_table
from rrra_training.measures.significance import told_over
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import TablesFile

_MEASURES = ("nDCG@10", "R@1")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Measured:
    """
    A model over one collection.

    :param values: Kind of the codes -> measure -> one value a query, shape ``[Q]``, fractions.
    :param sizes: Kind of the codes -> bytes of a passage, as stored.
    """

    values: dict[str, dict[str, np.ndarray]]
    sizes: dict[str, float]


def measured(
    folder: Path, split: str, model: RRRAModel, kinds: Sequence[str], *, cache: Path, limit: int | None, seed: int
) -> Measured:
    """
    Rerank the encoder's candidates from each kind of codes.

    :param folder: A collection in the BEIR layout.
    :param split: Which queries.
    :param model: The model.
    :param kinds: Kinds of the codes.
    :param cache: Where encoded corpora are kept.
    :param limit: Draw this many queries; all if `None`.
    :param seed: Seed of the draw.
    """
    found = evaluate(
        folder, model=model, split=split, systems=[RRRA_SYSTEM], codes=kinds, limit=limit, seed=seed, cache=cache,
        show_progress=True,
    )  # fmt: skip
    names = {kind: f"{RRRA_SYSTEM}{suffix}" for kind, suffix in zip(kinds, code_suffixes(kinds), strict=True)}
    held = found.figures["bytes_per_document"]
    return Measured(
        values={kind: {one: found.per_query[name][one] for one in _MEASURES} for kind, name in names.items()},
        sizes={kind: held[code_key(name)] for kind, name in names.items()},
    )


def table(title: str, models: Sequence[tuple[str, Measured]], seed: int) -> str:
    """
    A table of Markdown, in percent: each model and kind, and what it has over the first model in the same kind.

    :param title: What the queries are called.
    :param models: Names of models, and what was measured of each.
    :param seed: Seed of the intervals.
    """
    heads = [head for name in _MEASURES for head in (name, f"{name} over {models[0][0]} (95 %)")]
    rows = []
    first = models[0][1]
    for number, (name, own) in enumerate(models):
        for kind, values in own.values.items():
            cells = [name, f"`{kind}`", f"{own.sizes[kind]:,.0f}"]
            for one in _MEASURES:
                gain = told_over(values[one], first.values[kind][one], seed=seed) if number else ""
                cells += [f"{100 * values[one].mean():.1f}", gain]
            rows.append(cells)
    return markdown_table((title, "kind", "bytes a passage", *heads), rows)


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Collections in the BEIR layout, each as FOLDER or FOLDER:SPLIT.")],
    model: Annotated[list[str], typer.Option(help="NAME=MODEL; the first is what the others are compared with.")],
    code: Annotated[list[str], typer.Option(help="Kinds of token codes.")] = ["int8", "4bit", "1bit"],  # noqa: B006  (typer reads the default, nobody changes it)
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries of each.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws and of the intervals.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
    output: TablesFile = None,
) -> None:
    """Measure models over collections, in each kind of codes."""
    models = only_models(model)
    chosen = collections_of(data, "test")
    kinds = [kind_named(kind) for kind in code]
    loaded = {name: RRRAModel.load(source) for name, source in models.items()}
    tables = []
    with working_folder(cache) as kept:
        for folder, split in chosen:
            found = [
                (name, measured(folder, split, own, kinds, cache=kept, limit=limit, seed=seed))
                for name, own in loaded.items()
            ]
            queries = len(next(iter(found[0][1].values.values()))[_MEASURES[0]])
            tables.append(table(f"{folder.name} {split}, {queries:,} queries", found, seed))
            typer.echo(f"{tables[-1]}\n")
    if output is not None:
        atomic_write(output, "\n\n".join(tables) + "\n")


if __name__ == "__main__":
    run_command(app)
