"""Quality against time, the plot of the report and of the benchmark."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from rrra_haystack.files import atomic_file
from rrra_training.evaluation.figures import query_milliseconds, title_of
from rrra_training.evaluation.systems import ENCODER_OF, RRRA_SYSTEM

_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
# Inches that a system takes in a legend at the side.
_LEGEND_LINE = 0.21


def draw_quality(every: Sequence[Mapping[str, Any]], path: Path) -> None:
    """
    Draw quality against milliseconds a query, a panel for each collection.

    :param every: Figures of each data set.
    :param path: The file, whose ending says what kind of picture it becomes; written in one step.
    """
    figure = Figure(layout="constrained")
    panels = figure.subplots(1, len(every), squeeze=False)[0]
    marks = plot_quality(panels, every)
    figure.set_size_inches(4.8 * len(every) + 2.6, max(4.2, _LEGEND_LINE * len(marks)))
    for panel, figures in zip(panels, every, strict=True):
        panel.set_title(title_of(figures), parse_math=False)
    legend = figure.legend(list(marks.values()), list(marks), loc="outside right center", fontsize="small")
    for name in legend.get_texts():
        name.set_parse_math(False)
    with atomic_file(path) as work:
        figure.savefig(work, dpi=140)


def plot_quality(panels: Sequence[Axes], every: Sequence[Mapping[str, Any]]) -> dict[str, PathCollection]:
    """
    Plot nDCG@10 against the median milliseconds of a query; the encoder of a further model is hollow.

    :param panels: Where to draw, one for each data set.
    :param every: Figures of each data set.
    :returns: What a legend names: the mark of each system that was timed by itself, and what is hollow.
    """
    timed = [
        {name: time for name in figures["systems"] if (time := query_milliseconds(figures, name)) is not None}
        for figures in every
    ]
    owners = list(dict.fromkeys(name.removesuffix(ENCODER_OF) for names in timed for name in names))
    colors = dict(zip(owners, colormaps["turbo"](np.linspace(0.1, 0.9, len(owners))), strict=True))
    markers = dict(zip(owners, cycle(_MARKERS), strict=False)) | {RRRA_SYSTEM: "*"}
    marks: dict[str, PathCollection] = {}
    for panel, figures, times in zip(panels, every, timed, strict=True):
        for name, milliseconds in times.items():
            owner = name.removesuffix(ENCODER_OF)
            mark = panel.scatter(
                [milliseconds],
                [100 * figures["systems"][name]["nDCG@10"]],
                s=150 if name == RRRA_SYSTEM else 45,
                marker=markers[owner],
                facecolors="none" if name != owner else [colors[owner]],
                edgecolors=[colors[owner]],
                zorder=3,
            )
            if name == owner:
                marks[name] = mark
        panel.set(xscale="log", xlabel="milliseconds a query, median, without encoding it", ylabel="nDCG@10, percent")
        panel.grid(visible=True, linewidth=0.5)
        panel.margins(x=0.1, y=0.1)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    if any(name.endswith(ENCODER_OF) for times in timed for name in times):
        marks["hollow: its encoder alone"] = panels[0].scatter([], [], s=45, facecolors="none", edgecolors="gray")
    return marks
