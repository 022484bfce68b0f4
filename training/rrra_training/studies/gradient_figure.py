"""Gradients by rank as a figure."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rrra_haystack.files import atomic_file
from rrra_training.studies.gradient_profiles import Profile

# Okabe and Ito's colours, told apart by colour-blind readers too; dashes tell the lines apart in print.
_COLOURS = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#000000", "#0072B2", "#CC79A7", "#D55E00")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), "-")


def draw_figure(profiles: dict[str, Profile], path: Path, *, some_relevant: bool) -> None:
    """
    One line a sampler over the rank; a second panel for candidates that are labelled relevant, if there are any.

    :param profiles: What each sampler makes of the lists.
    :param path: A PNG file, written in one step.
    :param some_relevant: Whether there are any.
    """
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
