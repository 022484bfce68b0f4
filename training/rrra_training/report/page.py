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
from rrra_training.data import Query
from rrra_training.evaluation.evaluate import COMPARED, Evaluation, difference, query_costs, title_of
from rrra_training.measures.ranking import MEASURES
from rrra_training.report.alignment import Span, align
from rrra_training.report.quality_plot import plot_quality

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
# Letters of a name of which three stand side by side in a legend, and inches that a line of it adds to the height.
_SHORT_NAME, _LEGEND_LINE = 16, 0.22


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
    """
    A system's row, as text.

    :param system: Its name.
    :param cells: Its figures.
    :param best: Which of these is the best of its column.
    :param differences: Interval and p of what it has over the encoder, in each measure that is compared, and of what
        the model has over it.
    :param milliseconds: Of a query.
    :param last_stage: Milliseconds of the last stage, with the 95th percentile.
    :param size: Bytes a passage.
    """

    system: str
    cells: list[str]
    best: list[bool]
    differences: list[tuple[str, str]]
    milliseconds: str
    last_stage: str
    size: str


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
        "measures": COMPARED,
        "compared": "rrra_over" in figures,
        "embedding": figures["bytes_per_document"]["embedding"],
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
    compared = [figures, *([figures["rrra_over"]] if "rrra_over" in figures else [])]
    rows = []
    for system, row in values.items():
        rows.append(
            Row(
                system,
                [_percent(value) for value in row],
                # Of the share that is judged, no one is the best.
                [
                    bool(value == top) and len(values) > 1 and column != "judged@10"
                    for value, top, column in zip(row, highest, _columns(figures), strict=True)
                ],
                [difference(held, system, measure) for held in compared for measure in COMPARED],
                *query_costs(figures, system),
            )
        )
    return rows


def _overview(evaluations: Sequence[Evaluation]) -> dict[str, Any] | None:
    if len(evaluations) == 1:
        return None
    every = [one.figures for one in evaluations]
    systems = list(dict.fromkeys(name for figures in every for name in figures["systems"]))
    values = [[figures["systems"].get(name, {}).get("nDCG@10") for figures in every] for name in systems]
    gains = [[difference(figures, name, "nDCG@10")[0] for figures in every] for name in systems]
    judged = [[figures["judged@10"].get(name) for figures in every] for name in systems]
    highest = [max(value for value in column if value is not None) for column in zip(*values, strict=True)]
    return {
        "sets": [title_of(figures) for figures in every],
        "rows": [
            (
                name,
                [
                    ("" if value is None else _percent(value), value == top, gain, share and _percent(share))
                    for value, top, gain, share in zip(row, highest, own, shares, strict=True)
                ],
            )
            for name, row, own, shares in zip(systems, values, gains, judged, strict=True)
        ],
    }


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


# --- plots ---


def _quality_plot(figures: Mapping[str, Any]) -> Figure:
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        marks = plot_quality([axes], [figures])
        columns = 3 if max(map(len, marks)) <= _SHORT_NAME else 2
        figure.set_figheight(_SIZE[1] + _LEGEND_LINE * -(-len(marks) // columns))
        axes.set_title("Quality against time")
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=columns, fontsize=10)
    return figure


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
