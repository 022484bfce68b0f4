"""The growth of an index as a figure."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rrra_haystack.files import atomic_file

_BLACK, _BLUE, _ORANGE = "#000000", "#0072B2", "#E69F00"
# By panel: what stands at its axis, and its lines, each with its colour and its dashes.
_PANELS: dict[str, dict[str, tuple[Any, str, str]]] = {
    "gigabytes": {
        "on disk": (lambda one: one["bytes"] / 1e9, _BLACK, "-"),
        "memory of its own": (lambda one: one["memory"]["own"] / 1e9, _BLUE, "--"),
        "pages of files in memory": (lambda one: one["memory"]["pages of files"] / 1e9, _ORANGE, ":"),
    },
    "milliseconds": {
        "query, p50, for the first time": (lambda one: one["first"]["whole"]["p50"], _ORANGE, ":"),
        "query, p50": (lambda one: one["milliseconds"]["whole"]["p50"], _BLACK, "-"),
        "its retriever, p50": (lambda one: one["milliseconds"]["retriever"]["p50"], _BLUE, "--"),
    },
    "minutes of a processor": {
        "to optimize": (lambda one: one["optimize"]["processor seconds"] / 60, _BLACK, "-"),
        "to write": (lambda one: one["write"]["processor seconds"] / 60, _BLUE, "--"),
    },
}


def draw_figure(figures: dict[str, dict[str, Any]], path: Path) -> None:
    """
    Bytes, a query and the making of an index over its size.

    :param figures: What was measured, by size.
    :param path: A PNG file, written in one step.
    """
    figure = Figure(figsize=(12, 3.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    sizes = [int(size) for size in figures]
    for place, (axis, lines) in enumerate(_PANELS.items(), start=1):
        axes = figure.add_subplot(1, len(_PANELS), place)
        for name, (value, colour, dashes) in lines.items():
            axes.plot(
                sizes, [value(one) for one in figures.values()], label=name, color=colour, linestyle=dashes, marker="o"
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("passages")
        axes.set_ylabel(axis)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
    with atomic_file(path) as work:
        figure.savefig(work)
