"""What was tried and what it gained: figures, a table, and the card of the model that is kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from rrra_training.choosing.deciding import Decision
from rrra_training.choosing.held_out import HeldOut
from rrra_training.choosing.plan import Plan
from rrra_training.measures.markdown import markdown_table
from rrra_training.measures.ranking import mean
from rrra_training.measures.significance import paired_interval, told
from rrra_training.phases.model_card import card_head
from rrra_training.recipe.recipe import Recipe

_MEASURE = "nDCG@10"


def figures_of(
    plan: Plan, queries: HeldOut, measured: Mapping[str, Mapping[str, np.ndarray]], start: str, decision: Decision
) -> dict[str, Any]:
    """
    All figures, for machines.

    :param plan: What was done.
    :param queries: The held-out queries.
    :param measured: System -> measure -> one value a query.
    :param start: The model that was begun with.
    :param decision: Which one is kept.
    """
    seed, floor = plan.recipe.seed, measured[start][_MEASURE]
    systems = {}
    for name, own in measured.items():
        over = own[_MEASURE] - floor
        # Of a few queries an interval says less than it seems to.
        low, high = (
            paired_interval(own[_MEASURE], floor, seed=seed, groups=queries.group) if queries.chooses else (None, None)
        )
        systems[name] = mean(own) | {"over_start": {"mean": float(over.mean()), "low": low, "high": high}}
    return {
        "name": plan.recipe.name,
        "told": done(plan, queries),
        "queries": len(queries),
        "parts": len(np.unique(queries.fold)),
        "shared": queries.shared,
        "start": start,
        "kept": decision.kept,
        "because": decision.because,
        "systems": systems,
    }


def done(plan: Plan, queries: HeldOut) -> str:
    """What is done with the labels, as a sentence or two; parameters as for :func:`figures_of`."""
    return plan.told if queries.chooses else "Nothing is fitted to the labels."


def remark(shared: int, count: int) -> str:
    """
    What a reader of figures should know of the held-out queries, as a sentence; empty where all is well.

    :param shared: How many share something with what is learned from.
    :param count: How many there are.
    """
    if not shared:
        return ""
    return (
        f"{shared:,} of the {count:,} held-out queries share a relevant passage or the question with queries that are "
        "learned from: too many hang together to be kept apart, so figures on them say less of other queries."
    )


def table(figures: Mapping[str, Any]) -> Table:
    """All systems as a table of the terminal, in percent."""
    caption = f"Kept: {_kept(figures)} {_remark(figures)}".strip()
    shown = Table(title=_title(figures), caption=caption, title_justify="left", caption_justify="left")
    shown.add_column("system")
    for column in (_MEASURE, f"over {figures['start']} (95 %)"):
        shown.add_column(column, justify="right")
    for name, *cells in _rows(figures):
        shown.add_row(escape(name), *cells, style="bold" if name == figures["kept"] else None)
    return shown


def model_card(recipe: Recipe, figures: Mapping[str, Any]) -> str:
    """
    The card of the model that is kept.

    :param recipe: What was done.
    :param figures: Of :func:`figures_of`.
    """
    licences = {split.data.licence for split in recipe.train if split.data.licence is not None}
    lines = [
        card_head(recipe),
        f"{figures['told']} Kept: {_kept(figures)}",
        *([_remark(figures)] if _remark(figures) else []),
        *([f"Licence of the labels: {', '.join(sorted(licences))}."] if licences else []),
        "", f"{_title(figures)}:", "",
        markdown_table(("system", _MEASURE, f"over {figures['start']} (95 %)"), _rows(figures)),
    ]  # fmt: skip
    return "\n".join([*lines, ""])


def _title(figures: Mapping[str, Any]) -> str:
    return f"{figures['queries']:,} held-out queries of {figures['name']}, {_MEASURE} in percent"


def _remark(figures: Mapping[str, Any]) -> str:
    return remark(figures.get("shared", 0), figures["queries"])


def _kept(figures: Mapping[str, Any]) -> str:
    calibrated = " Its probabilities are fitted to your labels." if figures.get("calibrated") else ""
    return f"{figures['kept']}, because {figures['because']}{calibrated}"


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for name, own in figures["systems"].items():
        mean, low, high = (own["over_start"][key] for key in ("mean", "low", "high"))
        over = f"{100 * mean:+.1f}" if low is None else told(mean, (low, high))
        rows.append((name, f"{100 * own[_MEASURE]:.1f}", "" if name == figures["start"] else over))
    return rows
