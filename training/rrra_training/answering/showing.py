"""How often the answers are right, as tables and as a figure."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from rrra_haystack.files import atomic_file
from rrra_training.answering.figures import Said
from rrra_training.measures.calibration import equal_bins
from rrra_training.measures.significance import told


def render(figures: dict[str, Any]) -> Table:
    """The figures as a table, in percent."""
    table = Table(title=f"{figures['queries']} questions, seed {figures['seed']}")
    names = list(next(iter(figures["systems"].values())))
    table.add_column("")
    for name in figures["systems"]:
        table.add_column(name, justify="right")
    for name in names:
        values = [figures["systems"][system][name] for system in figures["systems"]]
        table.add_row(name, *("" if value is None else f"{100 * value:.1f}" for value in values))
    for name in ("EM gain", "F1 gain"):
        gain = figures[name]
        table.add_row(name, "", f"{told(gain['mean'], gain['interval'])}, p {gain['p']:.4f}")
    return table


def render_passages(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    """What :func:`by_passages` returns as a table, in percent."""
    table = Table(title="By passages read")
    table.add_column("passages", justify="right")
    systems = next(iter(figures.values()))
    for name in systems:
        for measure in ("EM", "F1"):
            table.add_column(f"{measure}, {name}", justify="right")
    for passages, own in figures.items():
        table.add_row(passages, *(f"{100 * value:.1f}" for name in systems for value in own[name].values()))
    return table


def draw(said: dict[str, Said], removed: dict[str, Said], path: Path) -> None:
    """Share of right answers against the probability that was said, in bins of equally many questions."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, with_removed in zip(
        panels, ("Questions as they are", "A third without their passage"), (False, True), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
        for name, one in said.items():
            asked = [one, removed[name]] if with_removed else [one]
            probability = np.concatenate([own.probability for own in asked])
            right = np.concatenate([own.right for own in asked])
            bins = equal_bins(probability, 12)
            axes.plot(
                [probability[own].mean() for own in bins], [right[own].mean() for own in bins],
                marker="o", markersize=4, label=name,
            )  # fmt: skip
        axes.set(xlabel="score of the answer", title=title)
    panels[0].set_ylabel("share of right answers")
    for system in panels[0].legend(fontsize="small").get_texts():
        system.set_parse_math(False)
    with atomic_file(path) as work:
        figure.savefig(work, dpi=120)
