"""The plots of the report, as SVG."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rrra_training.evaluation.systems import baseline_of
from rrra_training.report.quality_plot import count_lines, in_lines, plot_quality

# Colours that stand for others: the page's theme says which.
_INK, _SOFT, _LINE, _PAPER = "#010203", "#020304", "#030405", "#040506"
_HUES = ("#050607", "#060708", "#070809")
_GOOD, _BAD = "#08090a", "#090a0b"
_VARIABLES = {
    _INK: "ink", _SOFT: "soft", _LINE: "line", _PAPER: "card", _HUES[0]: "hue-1", _HUES[1]: "hue-2", _HUES[2]: "hue-3",
    _GOOD: "good", _BAD: "bad",
}  # fmt: skip
# The stubs name every parameter; a plain dictionary would not pass.
_STYLE: Any = {
    "svg.fonttype": "none", "font.size": 11, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _SOFT,
    "xtick.color": _SOFT, "ytick.color": _SOFT, "axes.facecolor": "none", "figure.facecolor": "none",
    "savefig.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "grid.color": _LINE,
    "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False, "axes.grid": True,
    # A system may be called as its user likes, and `$` begins a formula.
    "text.parse_math": False,
}  # fmt: skip
_SIZE = (6.2, 3.9)
# Letters of names that stand side by side in a legend, by how many do, and inches that a line of it adds to the height.
_LETTERS, _LEGEND_LINE = {3: 16, 2: 26, 1: 60}, 0.22
_LETTERS_OF_AXIS = 40
# More steps than a screen tells apart would make the page large.
_STEPS = 1000


def quality_plot(figures: Mapping[str, Any]) -> Figure:
    """Quality against time."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        marks = plot_quality([axes], [figures])
        longest = max(map(len, marks))
        columns = next((number for number, letters in _LETTERS.items() if longest <= letters), 1)
        names = [in_lines(name, _LETTERS[columns]) for name in marks]
        figure.set_figheight(_SIZE[1] + _LEGEND_LINE * -(-count_lines(names) // columns))
        axes.set_title("Quality against time")
        figure.legend(list(marks.values()), names, loc="outside lower center", ncols=columns, fontsize=10)
    return figure


def probability_plot(probabilities: Mapping[str, np.ndarray]) -> Figure:
    """How the relevance probabilities of passages are distributed."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        edges = np.linspace(0, 1, 21)
        for (name, values), hue, dash in zip(probabilities.items(), _HUES, ("-", "--", ":"), strict=False):
            if len(values):
                counts, _ = np.histogram(values, edges)
                axes.stairs(
                    100 * counts / len(values), edges, color=hue, linestyle=dash, linewidth=2,
                    label=f"{name} ({len(values):,})",
                )  # fmt: skip
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_title("Relevance probability")
        axes.set_xlabel("relevance probability")
        axes.set_ylabel("share of the passages, percent")
        axes.legend(loc="upper center", fontsize=10)
    return figure


def wins_plot(per_query: Mapping[str, Mapping[str, np.ndarray]], main: str) -> Figure:
    """Queries won and lost, by how much."""
    first = baseline_of(per_query)
    difference = np.sort(per_query[main]["nDCG@10"] - per_query[first]["nDCG@10"])[::-1]
    won, lost = int((difference > 0).sum()), int((difference < 0).sum())
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        edges = np.linspace(0, len(difference), min(len(difference), _STEPS) + 1).astype(np.int64)
        # The largest of a step, and the line about it, show a query that alone was won or lost among many.
        gains = np.maximum.reduceat(difference, edges[:-1]).clip(min=0)
        losses = np.minimum.reduceat(difference, edges[:-1]).clip(max=0)
        axes.stairs(100 * gains, edges + 0.5, fill=True, color=_GOOD)
        axes.stairs(100 * losses, edges + 0.5, fill=True, color=_BAD)
        axes.axhline(0, color=_SOFT, linewidth=1)
        axes.set_xlim(0.5, len(difference) + 0.5)
        axes.set_ylim(-105, 105)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"Queries: {won:,} won, {len(difference) - won - lost:,} equal, {lost:,} lost")
        axes.set_xlabel("queries, by what changed")
        axes.set_ylabel(in_lines(f"nDCG@10 of {main} over {first}", _LETTERS_OF_AXIS))
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    return figure, axes


def as_svg(figure: Figure, salt: str) -> str:
    """
    The figure as part of a page: colours by the page's theme, text in the page's font.

    :param figure: The figure.
    :param salt: What no other figure of the page is given; letters, digits and hyphens.
    :returns: Markup of HTML.
    """
    buffer = io.StringIO()
    # Several figures share a page, so their ids must differ.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    ids = re.findall(r'id="([^"]+)"', text)
    for own in sorted(set(ids), key=len, reverse=True):
        text = text.replace(f'id="{own}"', f'id="{salt}-{own}"').replace(f'#{own}"', f'#{salt}-{own}"')
        text = text.replace(f"url(#{own})", f"url(#{salt}-{own})")
    (axes,) = figure.axes
    label = escape(f"{axes.get_title(loc='left')}: {axes.get_ylabel()} by {axes.get_xlabel()}")
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    # Names of XML have no meaning within a page, and look like addresses of the network.
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    return text.replace("xlink:href", "href").replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
