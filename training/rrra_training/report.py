"""The report of an evaluation: one HTML page without network."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rrra_haystack.files import atomic_write
from rrra_training.alignment import Span, align
from rrra_training.data import Query
from rrra_training.evaluation import Evaluation, query_milliseconds
from rrra_training.metrics import MEASURES

_BASELINE = "encoder"
_GAINS, _LOSSES, _TOP = 5, 3, 3
_WORDS = 80
# Below this share of the strongest word a match says nothing to a reader.
_LEAST_STRENGTH = 0.15

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
}  # fmt: skip
_SIZE = (6.2, 3.9)


def write_report(evaluations: Sequence[Evaluation], path: Path) -> None:
    """
    Write the report.

    :param evaluations: What was measured, a section each.
    :param path: An HTML file, written in one step.
    """
    template = files("rrra_training").joinpath("templates/report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        sections=[_section(one) for one in evaluations], overview=_overview(evaluations), measures=list(MEASURES)
    )
    atomic_write(path, page)


@dataclass(frozen=True)
class Row:
    """A system's row: the cells, which of them is the best of its column, and what else is told of it."""

    system: str
    cells: list[str]
    best: list[bool]
    interval: str
    p_value: str
    milliseconds: str


@dataclass(frozen=True)
class Passage:
    """
    A ranked passage.

    :param rank: Its rank.
    :param other: Its rank in the other order; `None` if it is not in it.
    :param relevant: Whether it is labelled relevant.
    :param pieces: Pieces of its text, and how strongly each matched, from 0 to 3.
    """

    rank: int
    other: int | None
    relevant: bool
    pieces: list[tuple[str, int]]


@dataclass(frozen=True)
class Change:
    """A query whose ranking changed, with its first passages before and after."""

    question: str
    before_value: float
    after_value: float
    before: list[Passage]
    after: list[Passage]


def _section(one: Evaluation) -> dict[str, Any]:
    figures = one.figures
    main = main_system(one)
    plots = [_quality_plot(figures)]
    if any(len(own) for own in one.probabilities.values()):
        plots.append(_probability_plot(one.probabilities))
    if main is not None:
        plots.append(_wins_plot(one.per_query, main))
    return {
        "figures": figures,
        "rows": _rows(figures),
        "columns": _columns(figures),
        "sizes": figures["bytes_per_document"],
        "plots": [Markup(_svg(figure, f"{figures['dataset']}-{n}")) for n, figure in enumerate(plots)],  # noqa: S704
        "main": main,
        "gains": _changes(one, main, gains=True) if main else [],
        "losses": _changes(one, main, gains=False) if main else [],
    }


def main_system(one: Evaluation) -> str | None:
    """The system that the encoder is compared with: ``rrra``, or the last that was measured beside the encoder."""
    others = [name for name in one.figures["systems"] if name != _BASELINE]
    return "rrra" if "rrra" in others else (others[-1] if others else None)


def _columns(figures: Mapping[str, Any]) -> list[str]:
    answers = ["answer@5"] if "answers" in figures else []
    return [*MEASURES, *answers, "judged@10", *(["condensed nDCG@10"] if "condensed" in figures else [])]


def _rows(figures: Mapping[str, Any]) -> list[Row]:
    values = {}
    for system, own in figures["systems"].items():
        row = [own[measure] for measure in MEASURES]
        row += [figures["answers"][system]["5"]] if "answers" in figures else []
        row.append(figures["judged@10"][system])
        row += [figures["condensed"][system]["nDCG@10"]] if "condensed" in figures else []
        values[system] = row
    highest = np.max(list(values.values()), axis=0)
    rows = []
    for system, row in values.items():
        low, high = figures["intervals"].get(system, {}).get("nDCG@10", (None, None))
        p_value = figures["p_values"].get(system, {}).get("nDCG@10")
        milliseconds = query_milliseconds(figures, system)
        rows.append(
            Row(
                system,
                [_percent(value) for value in row],
                # Of the share that is judged, no one is the best.
                [
                    bool(value == top) and len(values) > 1 and column != "judged@10"
                    for value, top, column in zip(row, highest, _columns(figures), strict=True)
                ],
                "" if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}",
                "" if p_value is None else f"{p_value:.4f}",
                "" if milliseconds is None else f"{milliseconds:.1f}",
            )
        )
    return rows


def _overview(evaluations: Sequence[Evaluation]) -> dict[str, Any] | None:
    if len(evaluations) == 1:
        return None
    every = [one.figures for one in evaluations]
    systems = list(dict.fromkeys(name for figures in every for name in figures["systems"]))
    values = [[figures["systems"].get(name, {}).get("nDCG@10") for figures in every] for name in systems]
    highest = [max(value for value in column if value is not None) for column in zip(*values, strict=True)]
    return {
        "sets": [f"{figures['dataset']} {figures['split']}" for figures in every],
        "rows": [
            (
                name,
                [
                    ("" if value is None else _percent(value), value == top)
                    for value, top in zip(row, highest, strict=True)
                ],
            )
            for name, row in zip(systems, values, strict=True)
        ],
    }


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


# --- plots ---


def _quality_plot(figures: Mapping[str, Any]) -> Figure:
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        timed = {name: query_milliseconds(figures, name) for name in figures["systems"]}
        points = [
            (milliseconds, 100 * figures["systems"][name]["nDCG@10"], name)
            for name, milliseconds in timed.items()
            if milliseconds is not None
        ]
        for x, y, name in points:
            axes.scatter([x], [y], s=48, color=_HUES[0] if name.startswith("rrra") else _SOFT, zorder=3)
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.2)
        axes.set_title("Quality against time")
        axes.set_xlabel("milliseconds a query, median, without encoding it")
        axes.set_ylabel("nDCG@10, percent")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(mpl.ticker.LogFormatter(minor_thresholds=(2, 0.5)))
        label_points(axes, points)
    return figure


def label_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """
    Write the name of each point beside it, such that no two names overlap.

    :param axes: The axes, with their limits and scales set.
    :param points: Place of each point in data units, and its name.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    taken: list[tuple[float, float, float, float]] = []
    scale = 72 / figure.dpi
    frame = axes.get_window_extent()
    for x, y, name in sorted(points, key=lambda point: -point[1]):
        left, bottom = axes.transData.transform((x, y)) * scale
        width, height = 6.6 * len(name), 12.0
        heights = (-4, 8, -16, 20, -28, 32)
        for dx, dy in [(8, up) for up in heights] + [(-width - 8, up) for up in heights]:
            box = (left + dx, bottom + dy, left + dx + width, bottom + dy + height)
            inside = frame.x0 * scale < box[0] and box[2] < frame.x1 * scale
            if inside and not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        side = "left" if dx > 0 else "right"
        axes.annotate(name, (x, y), (max(dx, -8), dy), textcoords="offset points", horizontalalignment=side)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two boxes (left, bottom, right, top) share a point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _probability_plot(probabilities: Mapping[str, np.ndarray]) -> Figure:
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


def _wins_plot(per_query: Mapping[str, Mapping[str, np.ndarray]], main: str) -> Figure:
    difference = np.sort(per_query[main]["nDCG@10"] - per_query[_BASELINE]["nDCG@10"])[::-1]
    won, lost = int((difference > 0).sum()), int((difference < 0).sum())
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        x = np.arange(len(difference))
        axes.fill_between(x, 100 * difference, where=(difference > 0).tolist(), step="mid", color=_GOOD, linewidth=0)
        axes.fill_between(x, 100 * difference, where=(difference < 0).tolist(), step="mid", color=_BAD, linewidth=0)
        axes.axhline(0, color=_SOFT, linewidth=1)
        axes.set_ylim(-105, 105)
        axes.set_title(f"{won:,} queries won, {len(difference) - won - lost:,} equal, {lost:,} lost")
        axes.set_xlabel("queries, by what changed")
        axes.set_ylabel(f"nDCG@10 of {main} over the encoder")
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, salt: str) -> str:
    """The figure as part of a page: colours by the page's theme, text in the page's font."""
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
    label = f"{axes.get_title(loc='left')}: {axes.get_ylabel()} by {axes.get_xlabel()}".replace('"', "'")
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    # Names of XML have no meaning within a page, and look like addresses of the network.
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    return text.replace("xlink:href", "href").replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


# --- the most changed queries ---


def _changes(one: Evaluation, main: str, *, gains: bool) -> list[Change]:
    values = {name: one.per_query[name] for name in (_BASELINE, main)}
    by_ndcg = values[main]["nDCG@10"] - values[_BASELINE]["nDCG@10"]
    by_rank = values[main]["MRR@10"] - values[_BASELINE]["MRR@10"]
    sign = -1 if gains else 1
    order = np.lexsort((sign * by_rank, sign * by_ndcg))[: _GAINS if gains else _LOSSES]
    chosen = [int(i) for i in order if (by_ndcg[i] > 0 if gains else by_ndcg[i] < 0)]
    return [_change(one, main, i) for i in chosen]


def _change(one: Evaluation, main: str, number: int) -> Change:
    query = one.queries[number]
    before, after = (_order(one.runs[name].get(query.id, {})) for name in (_BASELINE, main))
    shown = list(dict.fromkeys([*before[:_TOP], *after[:_TOP]]))
    texts = [one.passages[passage].title_and_text for passage in shown]
    pieces = dict(zip(shown, _pieces(one, query, texts), strict=True))
    judged = one.qrels[query.id]

    def listed(own: list[str], other: list[str]) -> list[Passage]:
        ranks = {passage: rank for rank, passage in enumerate(other, start=1)}
        return [
            Passage(rank, ranks.get(passage), judged.get(passage, 0) > 0, pieces[passage])
            for rank, passage in enumerate(own[:_TOP], start=1)
        ]

    values = [float(one.per_query[name]["nDCG@10"][number]) for name in (_BASELINE, main)]
    return Change(query.text, values[0], values[1], listed(before, after), listed(after, before))


def _order(run: Mapping[str, float]) -> list[str]:
    return sorted(run, key=lambda passage: -run[passage])


def _pieces(one: Evaluation, query: Query, texts: Sequence[str]) -> list[list[tuple[str, int]]]:
    found = align(one.model, query.text, texts)
    strongest = max((span.weight for spans in found for span in spans), default=1.0)
    return [cut(text, spans, strongest) for text, spans in zip(texts, found, strict=True)]


def cut(text: str, spans: Sequence[Span], strongest: float) -> list[tuple[str, int]]:
    """
    The 80 words of a text that hold the most of what matched, in pieces.

    :param text: The text.
    :param spans: Its words that matched, in order.
    :param strongest: Weight of the strongest match of all texts.
    :returns: Pieces and how strongly each matched, from 0 (not at all) to 3.
    """
    words = [(one.start(), one.end()) for one in re.finditer(r"\S+", text)]
    if not words:
        return [(text, 0)]
    starts = np.asarray([start for start, _ in words])
    held = np.zeros(len(words))
    for span in spans:
        held[np.searchsorted(starts, span.start, side="right") - 1] += span.weight
    sums = np.asarray([0.0, *accumulate(held)])
    count = min(_WORDS, len(words))
    first = int((sums[count:] - sums[: len(sums) - count]).argmax())
    begin, end = words[first][0], words[first + count - 1][1]
    pieces: list[tuple[str, int]] = [("… ", 0)] if first else []
    at = begin
    for span in spans:
        strength = span.weight / strongest
        if span.start < at or span.end > end or strength < _LEAST_STRENGTH:
            continue
        pieces += [
            (text[at : span.start], 0),
            (text[span.start : span.end], 1 + (strength > 1 / 3) + (strength > 2 / 3)),
        ]
        at = span.end
    pieces.append((text[at:end] + (" …" if end < len(text.rstrip()) else ""), 0))
    return [piece for piece in pieces if piece[0]]
