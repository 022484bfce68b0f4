"""Which weights serve all collections, and whether weights of each query serve better those that were left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.files import atomic_write
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.data import BeirDataset
from rrra_training.data.beir import collections_of
from rrra_training.measures.markdown import markdown_table
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import TablesFile
from rrra_training.studies.judged_lists import FEATURES, PAIRS, JudgedLists, draw_parts, judge_lists
from rrra_training.studies.trust_head import fit_head

_PARTS = _CHOOSE, _MEASURE = "choose", "measure"
_DRAWS = 2000
# How strongly heads are held to one choice for all.
_DECAY = 5e-3
# What is fitted: features it reads, and whether the fusion weight may change too.
_HEADS = {
    "both weights, all features": (FEATURES, True),
    "lexical weight, all features": (FEATURES, False),
    "lexical weight, tokens a word": (("tokens a word",), False),
    "lexical weight, encoder and words agree": (("encoder and words agree",), False),
    "lexical weight, largest share of words found": (("largest share of words found",), False),
}

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Collection:
    """
    One collection under one model.

    :param name: Its name.
    :param choose: Lists that weights are chosen by.
    :param measure: Lists that they are measured on.
    """

    name: str
    choose: JudgedLists
    measure: JudgedLists

    def measured(self, pair: tuple[float, float]) -> np.ndarray:
        """nDCG@10 of each query that is measured, with the same weights for all, shape ``[Q]``."""
        return self.measure.reranked(*pair)


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Each as FOLDER:SPLITS:SPLIT, joined by + where several.")],
    cache: Annotated[Path, typer.Option(help="Where encoded corpora are kept.")],
    model: str = DEFAULT_MODEL,
    code: Annotated[CodeKind | None, typer.Option(help="Kind of its token codes; its own if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    measure_limit: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: TablesFile = None,
) -> None:
    """
    Choose weights over all collections but one, and measure them on that one, on other queries; each in turn.

    :param data: Collections in the BEIR layout: folder, splits to choose by, splits to measure on.
    :param cache: Where encoded corpora are kept.
    :param model: What stands beside its untrained form.
    :param code: Kind of the model's token codes; its untrained form has its own.
    :param limit: Draw this many queries of each to choose by.
    :param measure_limit: Draw this many of the others to measure on.
    :param seed: Seed of the draws and the intervals.
    :param output: A file for the tables.
    """
    parted = [_parts(one) for one in data]
    collections_of([f"{folder}:{split}" for folder, parts in parted for own in parts.values() for split in own], "")
    limits = dict(zip(_PARTS, (limit, measure_limit), strict=True))
    drawn = [(source := BeirDataset(folder), draw_parts(source, parts, limits, seed)) for folder, parts in parted]
    loaded = RRRAModel.load(model)
    if code is not None:
        loaded.config = loaded.config.model_copy(update={"code": code})
    models = {"rrra": loaded, "untrained": RRRAModel.untrained(loaded.encoder)}
    every: dict[str, list[Collection]] = {name: [] for name in models}
    for dataset, parts in drawn:
        lists = judge_lists(dataset, parts, models, cache=cache)
        for name, own in every.items():
            own.append(Collection(dataset.name, lists[_CHOOSE, name], lists[_MEASURE, name]))
    text = "\n".join(tables(name, own, seed=seed) for name, own in every.items())
    typer.echo(text)
    if output is not None:
        atomic_write(output, text)


def _parts(data: str) -> tuple[Path, dict[str, list[str]]]:
    """A folder, and the splits to choose by and to measure on."""
    folder, *splits = data.rsplit(":", 2)
    if len(splits) != len(_PARTS):
        msg = f"{data} is no FOLDER:SPLITS:SPLIT: name the splits to choose by, and then those to measure on."
        raise ValueError(msg)
    return Path(folder), {part: own.split("+") for part, own in zip(_PARTS, splits, strict=True)}


def tables(name: str, collections: Sequence[Collection], *, seed: int) -> str:
    """
    What was chosen without each collection, and what heads gain on it.

    :param name: The model's name.
    :param collections: Two or more.
    :param seed: Seed of the intervals.
    """
    grids = {one.name: one.choose.grid.mean(axis=0) for one in collections}
    floors = {one.name: float(one.choose.floor().mean()) for one in collections}
    common = chosen(grids, floors)
    header = ("set", "queries", "floor", "one choice", "chosen without the set", "nDCG@10", "chosen on it", "nDCG@10")
    rows = []
    for one in collections:
        without = chosen({other: grid for other, grid in grids.items() if other != one.name}, floors)
        own = PAIRS[int(grids[one.name].argmax())]
        measured = (one.measure.floor(), *(one.measured(pair) for pair in (common, without, own)))
        floor, *values = (f"{100 * values.mean():.1f}" for values in measured)
        count = f"{len(one.measure.ideal):,}"
        rows.append((one.name, count, floor, values[0], _told(without), values[1], _told(own), values[2]))
    gained = []
    for label, (features, both) in _HEADS.items():
        gains = []
        for one in collections:
            learned_from = [other.choose for other in collections if other.name != one.name]
            head = fit_head(learned_from, features, common, both=both, decay=_DECAY)
            gains.append(one.measure.reranked(*head.weights(one.measure)) - one.measured(common))
        cells = (f"{100 * gain.mean():+.1f}" for gain in gains)
        gained.append((label, *cells, _mean_gain(gains, seed)))
    second = (f"{name}, weights of each query, over one choice", *grids, "mean")
    found = (
        f"{name}, one choice for all: {_told(common)}",
        markdown_table(header, rows),
        markdown_table(second, gained),
    )
    return "\n\n".join(found) + "\n"


def chosen(grids: Mapping[str, np.ndarray], floors: Mapping[str, float]) -> tuple[float, float]:
    """
    The fusion and the lexical weight with the best mean, among those that leave the collections least below the floor.

    :param grids: nDCG@10 of each collection with each of ``PAIRS``, shape ``[len(PAIRS)]``.
    :param floors: What each collection must reach.
    """
    short = sum(np.maximum(floors[name] - grid, 0) for name, grid in grids.items())
    worth = np.lexsort((np.mean(list(grids.values()), axis=0), -np.round(short, 4)))
    return PAIRS[int(worth[-1])]


def _mean_gain(gains: Sequence[np.ndarray], seed: int) -> str:
    """The mean over the collections, each counting the same, with an interval over the queries of each."""
    generator = np.random.default_rng(seed)
    draws = [own[generator.integers(0, len(own), (_DRAWS, len(own)))].mean(axis=1) for own in gains]
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    return f"{100 * np.mean([own.mean() for own in gains]):+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _told(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g}, {pair[1]:g}"


if __name__ == "__main__":
    run_command(app)
