"""
Variants of one recipe side by side: the ablations, the reranking heads, the samplers.

``python -m rrra_training.studies.compare training/comparisons/heads.yaml --set data_root=DATA --output DIR``
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rrra_haystack.files import read_json, write_json
from rrra_haystack.model.encoder import Encoder
from rrra_training.judging.fitting import measured
from rrra_training.measures.ranking import OF_RETRIEVAL
from rrra_training.measures.significance import mean_interval, told
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe, load_recipe
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.runs.commands import run_command
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.places import fillable
from rrra_training.studies.heads import bilinear_head, logistic_head
from rrra_training.train import train_once

app = typer.Typer(add_completion=False)
_MEASURES = ("R@1", "nDCG@10", "R@100")


class Comparison(BaseModel):
    """
    Which variants of a recipe are compared.

    :param recipe: The recipe, a file or a bundled name.
    :param set: Changes that all variants share, as ``key=value``.
    :param variants: Name -> further changes.
    :param seeds: Every variant is trained once with each.
    :param pooled_heads: Add the heads that see the pooled embeddings alone.
    :param encoder_alone: Measure what the trained encoders retrieve, and no adapter.
    :param against: With `encoder_alone`: the variant that the others are compared with question by question, every
        question with its mean over the seeds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    set: tuple[str, ...] = ()
    variants: dict[str, tuple[str, ...]] = Field(min_length=1)
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1)
    pooled_heads: bool = False
    encoder_alone: bool = False
    against: str | None = None

    @model_validator(mode="after")
    def _against_a_variant(self) -> Self:
        if self.against is not None and not (self.encoder_alone and self.against in self.variants):
            msg = f"against: {self.against} must be one of the variants, and encoder_alone must be true."
            raise ValueError(msg)
        return self


@app.command()
def compare(
    comparison: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A YAML file.")],
    output: Annotated[Path, typer.Option(file_okay=False, callback=fillable, help="Where runs and results go.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change all variants.")] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Train every variant with every seed, and tabulate what each measures on dev."""
    plan = load_yaml(comparison, (), Comparison)
    kept = cache if cache is not None else output / "cache"
    common = (*plan.set, *(set_ or ()))
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    questions: dict[str, list[dict[str, np.ndarray]]] = {}
    for seed in plan.seeds:
        for name, changes in plan.variants.items():
            recipe = load_recipe(plan.recipe, (*common, *changes, f"seed={seed}"))
            folder = output / f"{name.replace(' ', '-')}-{seed}"
            train_once(recipe, folder, kept, encoder_alone=plan.encoder_alone, show_progress=True)
            _add(results, name, read_json(folder / "dev.json", f"Remove {folder} to train again."), recipe, plan)
            if plan.against is not None:
                questions.setdefault(name, []).append(_by_question(recipe, folder, kept))
    if plan.pooled_heads:
        recipe = load_recipe(plan.recipe, (*common, f"seed={plan.seeds[0]}"))
        _pooled_heads(results, recipe, kept)
    report: dict[str, Any] = {"comparison": plan.model_dump(mode="json"), "results": results}
    tables = [render(results, len(plan.seeds))]
    if plan.against is not None:
        report["differences"] = found = differences(questions, plan.against)
        tables.append(render_differences(questions, found, plan.against))
    write_json(output / "comparison.json", report)
    for table in tables:
        Console(width=160).print(table)


def _add(results: dict, name: str, figures: dict[str, Any], recipe: Recipe, plan: Comparison) -> None:
    for data, own in figures["sets"].items():
        systems = own["systems"]
        if plan.encoder_alone:
            _append(results, name, data, systems["encoder"])
            continue
        ours = systems[f"rrra {recipe.adapter.code}"]
        # With phase 3 the encoder of a variant is its own; without, it is the same for all.
        rows = {f"{name}: encoder": systems["encoder"], name: ours} if recipe.joint else {name: ours}
        if not recipe.joint:
            rows = {label: systems[label] for label in ("encoder", "match alone", "equal sum")} | rows
        for label, values in rows.items():
            if recipe.joint or label == name or data not in results.get(label, {}):
                _append(results, label, data, values)


def _append(results: dict, label: str, data: str, values: dict[str, float]) -> None:
    cells = results.setdefault(label, {}).setdefault(data, {})
    for measure in _MEASURES:
        cells.setdefault(measure, []).append(values[measure])


def _by_question(recipe: Recipe, folder: Path, cache: Path) -> dict[str, np.ndarray]:
    """What the trained encoder of a run retrieves for each dev question; the corpora are in the cache already."""
    assert recipe.joint is not None
    encoder = Encoder(str(folder / f"encoder-{recipe.joint.rounds}"))
    sets = Workshop(recipe, RunDirectory(folder), cache, show_progress=False).sets(encoder, recipe.dev)
    own = [measured(data, data.mined.scores, OF_RETRIEVAL) for data in sets]
    return {measure: np.concatenate([one[measure] for one in own]) for measure in OF_RETRIEVAL}


def differences(
    questions: Mapping[str, Sequence[Mapping[str, np.ndarray]]], against: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """
    How far each variant is above one of them.

    :param questions: Variant -> the figures of each question by measure, by seed.
    :param against: The one.
    :returns: Variant -> measure -> the mean difference, its 95 % interval over the questions, each with its mean over
        the seeds, and the difference with each seed; fractions.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, own in questions.items():
        if name == against:
            continue
        for measure in OF_RETRIEVAL:
            by_seed = np.stack([a[measure] - b[measure] for a, b in zip(own, questions[against], strict=True)])
            found.setdefault(name, {})[measure] = {
                "mean": float(by_seed.mean()),
                "interval": mean_interval(by_seed.mean(axis=0), seed=0),
                "by_seed": by_seed.mean(axis=1).tolist(),
            }
    return found


def _pooled_heads(results: dict, recipe: Recipe, cache: Path) -> None:
    encoder = Encoder(recipe.encoder)
    workshop = Workshop(recipe, RunDirectory(cache), cache, show_progress=True)
    train_sets, dev = workshop.sets(encoder, recipe.train), workshop.sets(encoder, recipe.dev)
    heads = {
        "logistic regression": logistic_head(train_sets, dev),
        "bilinear query side": bilinear_head(train_sets, dev, recipe.adapter.lists, seed=recipe.seed),
    }
    for name, scores in heads.items():
        for data in dev:
            values = measured(data, scores[data.name])
            results.setdefault(name, {})[data.name] = {key: [float(values[key].mean())] for key in _MEASURES}


def render(results: dict[str, dict[str, dict[str, list[float]]]], seeds: int) -> Table:
    """Means over the seeds, and their standard deviation where there are several, in percent."""
    table = Table(title=f"Dev, in percent, {seeds} seed{'s' if seeds > 1 else ''}")
    table.add_column("variant")
    sets = list(dict.fromkeys(data for own in results.values() for data in own))
    for data in sets:
        for measure in _MEASURES:
            table.add_column(f"{data} {measure}", justify="right")
    for name, own in results.items():
        table.add_row(escape(name), *(_cell(own[data][measure]) for data in sets for measure in _MEASURES))
    return table


def render_differences(
    questions: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    against: str,
) -> Table:
    """Means over questions and seeds, and how far each variant is above one of them with the 95 % interval, percent."""
    table = Table("variant", title=f"Dev, in percent, and the difference from {against}")
    for measure in OF_RETRIEVAL:
        table.add_column(measure, justify="right")
    for name, own in questions.items():
        cells = [f"{100 * np.mean([one[measure] for one in own]):.1f}" for measure in OF_RETRIEVAL]
        if name in found:
            own_differences = [found[name][measure] for measure in OF_RETRIEVAL]
            cells = [
                f"{cell}\n{told(one['mean'], one['interval'])}"
                for cell, one in zip(cells, own_differences, strict=True)
            ]
        table.add_row(escape(name), *cells)
    return table


def _cell(values: list[float]) -> str:
    text = f"{100 * statistics.fmean(values):.1f}"
    return f"{text} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else text


if __name__ == "__main__":
    run_command(app)
