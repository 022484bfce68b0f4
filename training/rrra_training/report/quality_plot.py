"""Quality against time, the plot of the report and of the benchmark."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from rrra_haystack.files import atomic_file
from rrra_training.evaluation.figures import query_milliseconds, title_of
from rrra_training.evaluation.systems import ENCODER_OF, RRRA_SYSTEM

_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
# Inches that a line takes in a legend at the side, and letters that it has room for, there and above a panel.
_LEGEND_LINE, _LETTERS, _LETTERS_OF_TITLE = 0.21, 28, 44
# Relative luminances that stand out from a white page and from a dark one, by 3 to 1.
_LUMINANCES = (0.16, 0.29)
_OF_LUMINANCE = (0.2126, 0.7152, 0.0722)


def draw_quality(every: Sequence[Mapping[str, Any]], path: Path) -> None:
    """
    Draw quality against milliseconds a query, a panel for each collection.

    :param every: Figures of each data set.
    :param path: The file, whose ending says what kind of picture it becomes; written in one step.
    """
    figure = Figure(layout="constrained")
    panels = figure.subplots(1, len(every), squeeze=False)[0]
    marks = plot_quality(panels, every)
    names = [in_lines(name, _LETTERS) for name in marks]
    figure.set_size_inches(4.8 * len(every) + 2.6, max(4.2, _LEGEND_LINE * count_lines(names)))
    for panel, figures in zip(panels, every, strict=True):
        panel.set_title(in_lines(title_of(figures), _LETTERS_OF_TITLE), parse_math=False)
    legend = figure.legend(list(marks.values()), names, loc="outside right center", fontsize="small")
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
    colors = dict(zip(owners, _colors(len(owners)), strict=True))
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
        # Between the powers of ten 2 and 5 alone, and neither over many of these: more would not fit.
        panel.xaxis.set_minor_locator(LogLocator(subs=(2, 5), numticks=3))
        panel.xaxis.set_minor_formatter("{x:g}")
    if any(name.endswith(ENCODER_OF) for times in timed for name in times):
        marks["hollow: its encoder alone"] = panels[0].scatter([], [], s=45, facecolors="none", edgecolors="gray")
    return marks


def _colors(number: int) -> np.ndarray:
    """Colours that differ, of shape ``[number, 3]``, as light or dark as `_LUMINANCES` allow."""
    linear = colormaps["turbo"](np.linspace(0.1, 0.9, number))[:, :3] ** 2.2
    luminance = linear @ np.asarray(_OF_LUMINANCE)[:, None]
    least, most = _LUMINANCES
    linear *= np.minimum(1, most / luminance)
    linear += (1 - linear) * np.maximum(0, (least - luminance) / (1 - luminance))
    return linear ** (1 / 2.2)


def in_lines(name: str, letters: int) -> str:
    """
    A name that fits beside or below a plot.

    :param name: The name.
    :param letters: The most letters of a line.
    """
    return "\n".join(wrap(name, letters))


def count_lines(names: Sequence[str]) -> int:
    """How many lines names have together."""
    return sum(1 + name.count("\n") for name in names)
