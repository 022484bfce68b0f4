"""
How large a gradient each mined candidate contributes, by its rank, under each sampler.

``python -m rrra_training.studies.gradients --data DIR --split train --limit 500 --output gradients.png``
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
import yaml
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from torch import Tensor

from rrra_haystack.files import atomic_file, atomic_write, working_folder
from rrra_haystack.model.rrra_model import DEFAULT_MODEL, RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import CandidateSet, SplitConfig, prepare
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.data import BeirData
from rrra_training.judging.detector import false_negatives, hide_positives
from rrra_training.judging.verdicts import judge, projected
from rrra_training.negatives.samplers import (
    FNE,
    RRRA,
    AnySampler,
    Candidates,
    MarginPos,
    PercPos,
    Random,
    Sampler,
    SimANS,
    TopK,
    TriSampler,
    first_draw_probabilities,
)

_DEFAULTS = (Random(), TopK(), SimANS(), TriSampler(), MarginPos(), PercPos(), FNE(), RRRA())
SAMPLERS: dict[str, Sampler] = {sampler.name: sampler for sampler in _DEFAULTS}

_SHOWN_RANKS = (1, 2, 5, 10, 20, 50)
# Okabe and Ito's colours, told apart by colour-blind readers too; dashes tell the lines apart in print.
_COLOURS = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#000000", "#0072B2", "#CC79A7", "#D55E00")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), "-")


@dataclass(frozen=True)
class Lists:
    """
    The mined candidates of b queries, one labelled positive of each kept and all others hidden among them.

    :param candidates: What samplers read; eligible is all but padding and the kept positive.
    :param relevant: Which candidates are labelled relevant, false negatives by the labels, shape ``[b, n]``, bool.
    """

    candidates: Candidates
    relevant: Tensor


@dataclass(frozen=True)
class Profile:
    """
    What a sampler makes of the lists, averaged over all candidates at a rank; nan where there is none.

    :param every: Mean expected gradient of the candidates at each rank, shape ``[n]``.
    :param unlabelled: The same, of candidates that are not labelled relevant.
    :param relevant: The same, of those that are.
    :param total: Expected gradient of one draw, the mean over the queries.
    :param relevant_share: Share of it that comes from candidates that are labelled relevant.
    """

    every: np.ndarray
    unlabelled: np.ndarray
    relevant: np.ndarray
    total: float
    relevant_share: float


def score_gradients(candidates: Candidates, temperature: float) -> Tensor:
    """
    Size of the gradient of InfoNCE over the positive and all eligible candidates, by the score of each candidate.

    It is the softmax probability of the candidate, over the temperature. As queries have length 1, it is also the
    length of the gradient by the candidate's embedding.

    :param candidates: The candidates.
    :param temperature: What cosines are divided by.
    :returns: Shape ``[b, n]``, float64; 0 where not eligible.
    """
    logits = candidates.scores.double().masked_fill(~candidates.eligible, -torch.inf) / temperature
    positive = candidates.positive_scores.double()[:, None] / temperature
    return torch.softmax(torch.cat([positive, logits], dim=1), dim=1)[:, 1:] / temperature


def profile(sampler: Sampler, lists: Lists, temperature: float) -> Profile:
    """
    The expected gradient by rank: the probability of being drawn times the gradient of the candidate.

    :param sampler: The sampler.
    :param lists: The candidates. Ranks count eligible ones alone.
    :param temperature: Of the loss.
    """
    eligible = lists.candidates.eligible
    probability = first_draw_probabilities(sampler.weights(lists.candidates), eligible)
    expected = probability * score_gradients(lists.candidates, temperature)
    rank = eligible.cumsum(dim=1) - 1
    total = float(expected.sum())
    return Profile(
        every=_by_rank(expected, rank, eligible),
        unlabelled=_by_rank(expected, rank, eligible & ~lists.relevant),
        relevant=_by_rank(expected, rank, eligible & lists.relevant),
        total=total / len(expected),
        relevant_share=float(expected[lists.relevant].sum()) / total if total else math.nan,
    )


def read_lists(data: CandidateSet, model: RRRAModel, scratch: Path, *, seed: int) -> Lists:
    """
    Keep one labelled positive of each query, drawn at random, and judge all other candidates.

    :param data: The set, as the model's encoder sees it.
    :param model: Says how probably each candidate is a false negative.
    :param scratch: Where projected passages are kept meanwhile.
    :param seed: Seed of the draw.
    """
    hidden = hide_positives(data, seed=seed, least_positives=1)
    queries, kept, eligible = hidden.queries, hidden.kept, hidden.candidate
    mined = np.asarray(data.mined.rows)
    with projected(data.passages, model.projection, scratch) as passages:
        adapter = judge(model.adapter, model.projection, data, passages, "int8").adapter
        shared = SharedLabels(data, hidden.known)
        probability = false_negatives(model.config.detection, data, passages, shared, queries, kept, eligible, adapter)
    own = np.asarray(data.passages.pooled[kept])
    # One query at a time: all embeddings of all candidates need not fit into memory.
    similarity = np.stack(
        [data.passages.pooled[np.maximum(mined[query], 0)] @ own[query] for query in queries]
    )  # fmt: skip
    candidates = Candidates(
        scores=torch.from_numpy(np.array(data.mined.scores)),
        positive_scores=torch.from_numpy(np.einsum("bd,bd->b", data.queries.pooled[queries], own)),
        eligible=torch.from_numpy(eligible),
        positive_similarity=torch.from_numpy(similarity),
        false_negative=torch.from_numpy(probability),
    )
    return Lists(candidates, torch.from_numpy(hidden.hidden))


def as_json(profiles: dict[str, Profile], lists: Lists, about: dict[str, Any]) -> dict[str, Any]:
    """
    The numbers behind the figure.

    :param profiles: What each sampler makes of the lists.
    :param lists: The lists.
    :param about: What else is to be told of them.
    """
    return {
        **about,
        "queries": len(lists.relevant),
        "relevant_candidates": int(lists.relevant.sum()),
        "samplers": {
            name: {
                "total": own.total,
                "relevant_share": own.relevant_share,
                **{part: _plain(getattr(own, part)) for part in ("every", "unlabelled", "relevant")},
            }
            for name, own in profiles.items()
        },
    }


def render(profiles: dict[str, Profile], *, some_relevant: bool) -> Table:
    """The expected gradient at some ranks, and how much of a draw goes to false negatives."""
    table = Table(title="Expected gradient of a candidate, in thousandths")
    table.add_column("sampler")
    length = max(len(own.every) for own in profiles.values())
    ranks = [rank for rank in _SHOWN_RANKS if rank <= length]
    for rank in ranks:
        table.add_column(f"rank {rank}", justify="right")
    table.add_column("all ranks", justify="right")
    if some_relevant:
        table.add_column("of it labelled relevant", justify="right")
    for name, own in profiles.items():
        cells = [f"{1000 * own.every[rank - 1]:.2f}" for rank in ranks] + [f"{1000 * own.total:.0f}"]
        table.add_row(name, *cells, *([f"{100 * own.relevant_share:.1f} %"] if some_relevant else []))
    return table


def draw_figure(profiles: dict[str, Profile], path: Path, *, some_relevant: bool) -> None:
    """
    One line a sampler over the rank; a second panel for candidates that are labelled relevant, if there are any.

    :param profiles: What each sampler makes of the lists.
    :param path: A PNG file, written in one step.
    :param some_relevant: Whether there are any.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = {"not labelled relevant" if some_relevant else "mined candidates": "unlabelled"}
    if some_relevant:
        panels["labelled relevant (false negatives)"] = "relevant"
    figure = Figure(figsize=(5.2 * len(panels) + 1.4, 4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    first = None
    for place, (title, part) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place, sharey=first)
        first = first or axes
        for number, (name, own) in enumerate(profiles.items()):
            # False negatives are few: neighbouring ranks are put together.
            ranks, values = _points(getattr(own, part), doubling=part == "relevant")
            axes.plot(
                ranks,
                values,
                label=name,
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=_DASHES[number % len(_DASHES)],
                linewidth=2.4 if name == "rrra" else 1.5,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, max(len(own.every) for own in profiles.values()))
        axes.set_xticks(*_ticks(max(len(own.every) for own in profiles.values())))
        axes.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel("rank among the mined candidates")
        axes.grid(visible=True, alpha=0.3)
    assert first is not None
    first.set_ylabel("mean expected gradient")
    largest = max(float(np.nanmax(getattr(own, part))) for own in profiles.values() for part in panels.values())
    # Below a ten-thousandth of the largest a candidate does not count, and lines fall without an end.
    first.set_ylim(largest / 10_000, largest * 1.5)
    figure.legend(*first.get_legend_handles_labels(), loc="outside right center", frameon=False)
    with atomic_file(path) as work:
        figure.savefig(work)


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    output: Annotated[Path, typer.Option(dir_okay=False, help="The figure, a PNG file.")],
    split: Annotated[str, typer.Option(help="Split whose queries are used.")] = "train",
    limit: Annotated[int | None, typer.Option(min=2, help="Draw this many queries.")] = None,
    model: Annotated[str, typer.Option(help="Model whose encoder mines and whose adapter detects.")] = DEFAULT_MODEL,
    json_file: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write the numbers here.")] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
    temperature: Annotated[float, typer.Option(min=0.001, help="Temperature of the contrastive loss.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    samplers: Annotated[
        list[str] | None, typer.Option("--sampler", help="One as a recipe has it; all with their defaults if none is.")
    ] = None,
) -> None:
    """Draw how large a gradient each mined candidate contributes, by its rank, under each sampler."""
    shown = {text: _sampler(text) for text in samplers} if samplers else SAMPLERS
    loaded = RRRAModel.load(model)
    config = SplitConfig(data=BeirData(format="beir", path=data), split=split, limit=limit)
    with working_folder(cache) as kept:
        prepared = prepare(
            config, loaded.encoder, kept, mining=MiningConfig(), evidence=EvidenceConfig(), seed=seed,
            show_progress=True,
        )  # fmt: skip
        lists = read_lists(prepared, loaded, kept, seed=seed)
    profiles = {name: profile(sampler, lists, temperature) for name, sampler in shown.items()}
    some_relevant = bool(lists.relevant.any())
    draw_figure(profiles, output, some_relevant=some_relevant)
    if json_file is not None:
        about = {"data": prepared.name, "model": model, "temperature": temperature, "seed": seed}
        atomic_write(json_file, json.dumps(as_json(profiles, lists, about), indent=1) + "\n")
    Console(width=120).print(render(profiles, some_relevant=some_relevant))


def _sampler(text: str) -> Sampler:
    try:
        return TypeAdapter(AnySampler).validate_python(yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:
        msg = f"{text!r} is no sampler ({error}). Write it as a recipe has it, as top-k or {{name: top-k, k: 30}}."
        raise typer.BadParameter(msg) from None


def _by_rank(values: Tensor, rank: Tensor, chosen: Tensor) -> np.ndarray:
    """Mean of the chosen values at each rank, shape ``[n]``; nan where none is chosen. Ranks begin at 0."""
    size = values.shape[1]
    sums = np.bincount(rank[chosen].numpy(), weights=values[chosen].numpy(), minlength=size)
    counts = np.bincount(rank[chosen].numpy(), minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _points(values: np.ndarray, *, doubling: bool) -> tuple[list[float], list[float]]:
    """Ranks and means to draw: each rank by itself, or the ranks from each power of two to the next together."""
    edges: Sequence[int] = range(len(values) + 1)
    if doubling:
        edges = [2**power - 1 for power in range(math.ceil(math.log2(len(values) + 1)))] + [len(values)]
    ranks, means = [], []
    for begin, end in pairwise(edges):
        own = values[begin:end]
        if not np.isnan(own).all():
            ranks.append(math.sqrt((begin + 1) * end))
            means.append(float(np.nanmean(own)))
    return ranks, means


def _ticks(length: int) -> tuple[list[int], list[str]]:
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= length]
    return ticks, [str(tick) for tick in ticks]


def _plain(values: np.ndarray) -> list[float | None]:
    """Values for JSON, which has no nan."""
    return [None if math.isnan(value) else value for value in values.tolist()]


if __name__ == "__main__":
    typer.run(main)
