"""An evaluation as tables of the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from rrra_training.evaluation.evaluate import Evaluation
from rrra_training.evaluation.figures import COMPARED, difference, machine_of, query_costs, settings_of, title_of
from rrra_training.evaluation.systems import baseline_of
from rrra_training.measures.ranking import MEASURES

# Columns of tables in a terminal: what a head ends with whose cells hold an interval and p; characters of an interval.
_WITH_P = ", p"
_INTERVAL_WIDTH = len("-10.0 to -10.0,")


def render(evaluations: Sequence[Evaluation]) -> Group:
    """
    The figures as tables, in percent, that fit 80 columns: quality, differences and costs of each data set; and one
    table over all data sets if there are several.
    """
    every = [one.figures for one in evaluations]
    tables = [table for figures in every for table in (_quality(figures), _compared(figures), _costs(figures))]
    return Group(*tables, *([_overview(every)] if len(every) > 1 else []))


def _new_table(title: str, *columns: str, caption: str | None = None) -> Table:
    """A table whose first column names systems, and gives way to the others where the terminal is narrow."""
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("system", overflow="fold", min_width=8)
    for column in columns:
        # An interval and its p may stand in two lines; a figure is never cut.
        wide = column.endswith(_WITH_P)
        table.add_column(column, justify="right", no_wrap=not wide, min_width=_INTERVAL_WIDTH if wide else None)
    return table


def _quality(figures: Mapping[str, Any]) -> Table:
    table = _new_table(escape(f"{title_of(figures)}: {settings_of(figures)}"), *MEASURES, "judged@10")
    for system, values in figures["systems"].items():
        cells = [f"{values[name] * 100:.1f}" for name in MEASURES]
        table.add_row(escape(system), *cells, f"{figures['judged@10'][system] * 100:.1f}")
    return table


def _compared(figures: Mapping[str, Any]) -> Table:
    """Every comparison with what retrieves, and of the model with every system."""
    over = [(f"over {baseline_of(figures['systems'])}", figures)]
    if "rrra_over" in figures:
        over.append(("rrra over it", figures["rrra_over"]))
    columns = [f"{measure} {text}{_WITH_P}" for text, _ in over for measure in COMPARED]
    table = _new_table("\nDifferences: 95 % intervals", *columns)
    for system in figures["systems"]:
        cells = [difference(held, system, measure) for _, held in over for measure in COMPARED]
        table.add_row(escape(system), *(", ".join(filter(None, cell)) for cell in cells))
    return table


def _costs(figures: Mapping[str, Any]) -> Table:
    """What a system takes, and its figures that not all collections have."""
    further = [name for name, held in (("answer@5", "answers"), ("condensed nDCG@10", "condensed")) if held in figures]
    caption = "ms: median of a query, retrieval and reranking, without encoding it; bytes of codes or states a passage"
    # A late-interaction model has none.
    if (embedding := figures["bytes_per_document"].get("embedding")) is not None:
        caption += f", beside the {embedding:,.0f} of the embedding"
    table = _new_table(
        "\nCosts",
        "ms (p95)",
        "last stage, ms (p95)",
        "bytes",
        *further,
        caption=f"{caption}. {escape(machine_of(figures))}.",
    )
    for system in figures["systems"]:
        cells = [figures["answers"][system]["5"]] if "answers" in figures else []
        cells += [figures["condensed"][system]["nDCG@10"]] if "condensed" in figures else []
        table.add_row(escape(system), *query_costs(figures, system), *(f"{value * 100:.1f}" for value in cells))
    return table


def _overview(every: Sequence[Mapping[str, Any]]) -> Table:
    # One model is measured on all of them, so what retrieves is the same.
    over = f"over {baseline_of(every[0]['systems'])}{_WITH_P}"
    table = _new_table("\nAll collections; intervals of nDCG@10", "R@1", "nDCG@10", over, "judged@10")
    for figures in every:
        table.add_row(f"[bold]{escape(title_of(figures))}[/]")
        for system, values in figures["systems"].items():
            cells = [f"{values['R@1'] * 100:.1f}", f"{values['nDCG@10'] * 100:.1f}"]
            cells.append(", ".join(filter(None, difference(figures, system, "nDCG@10"))))
            table.add_row(escape(system), *cells, f"{figures['judged@10'][system] * 100:.1f}")
        table.add_section()
    return table
