"""The report of an evaluation: one HTML page without network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from rrra_haystack.files import atomic_write
from rrra_training.evaluation.evaluate import Evaluation
from rrra_training.evaluation.figures import COMPARED, difference, machine_of, query_costs, settings_of, title_of
from rrra_training.evaluation.systems import RRRA_SYSTEM, baseline_of
from rrra_training.measures.ranking import MEASURES
from rrra_training.report.changes import changes
from rrra_training.report.plots import as_svg, probability_plot, quality_plot, wins_plot


def write_report(evaluations: Sequence[Evaluation], path: Path) -> None:
    """
    Write the report.

    :param evaluations: What was measured, a section each.
    :param path: An HTML file, written in one step.
    """
    template = files("rrra_training").joinpath("templates/report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        sections=[_section(one, number) for number, one in enumerate(evaluations)],
        overview=_overview(evaluations),
        measures=list(MEASURES),
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
    :param milliseconds: Of a query, with the 95th percentile.
    :param last_stage: Those of the last stage.
    :param size: Bytes a passage.
    """

    system: str
    cells: list[str]
    best: list[bool]
    differences: list[tuple[str, str]]
    milliseconds: str
    last_stage: str
    size: str


def _section(one: Evaluation, number: int) -> dict[str, Any]:
    figures = one.figures
    main = _main_system(one)
    plots = [quality_plot(figures)]
    if any(len(own) for own in one.probabilities.values()):
        plots.append(probability_plot(one.probabilities))
    if main is not None:
        plots.append(wins_plot(one.per_query, main))
    return {
        "figures": figures,
        "settings": settings_of(figures),
        "machine": machine_of(figures),
        "rows": _rows(figures),
        "columns": _columns(figures),
        "measures": COMPARED,
        "compared": "rrra_over" in figures,
        "embedding": figures["bytes_per_document"].get("embedding"),
        "baseline": baseline_of(figures["systems"]),
        "plots": [Markup(as_svg(figure, f"plot-{number}-{n}")) for n, figure in enumerate(plots)],  # noqa: S704
        "main": main,
        "gains": changes(one, main, gains=True) if main else [],
        "losses": changes(one, main, gains=False) if main else [],
    }


def _main_system(one: Evaluation) -> str | None:
    """The system that what retrieves is compared with: ``rrra``, or the last that was measured beside it."""
    others = [name for name in one.figures["systems"] if name != baseline_of(one.figures["systems"])]
    return RRRA_SYSTEM if RRRA_SYSTEM in others else (others[-1] if others else None)


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
                    (_percent(value), value == top, gain, _percent(share))
                    for value, top, gain, share in zip(row, highest, own, shares, strict=True)
                ],
            )
            for name, row, own, shares in zip(systems, values, gains, judged, strict=True)
        ],
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
