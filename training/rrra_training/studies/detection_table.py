"""The table and the figure of the methods of detection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from rrra_training.measures.calibration import equal_bins
from rrra_training.studies.detection_methods import (
    DETECTION,
    PERC_POS,
    REGRESSION,
    REGRESSION_WITH_LABELS,
    Method,
)


def render(report: Mapping[str, Any]) -> Table:
    """The figures as a table."""
    over = "; ".join(f"{name} {_interval(own)}" for name, own in report["auroc_over_baseline"].items())
    table = Table(
        title=f"Hidden positives of {', '.join(report['data'])}: {report['queries']} queries, "
        f"{report['hidden']} hidden among {report['candidates']} candidates, seed {report['seed']}",
        caption=f"AUROC over the {REGRESSION}: {over}\n"
        f"{DETECTION} over {REGRESSION_WITH_LABELS}: {_interval(report['auroc_over_baseline_with_labels'])}\n"
        f"precision of {DETECTION} at the recall of {PERC_POS}: {report['precision_at_perc_pos_recall']:.3f}",
        title_justify="left",
        caption_justify="left",
    )
    columns = ("AUROC", "AUROC by query", "AP", "precision", "recall", "ECE", "Brier")
    table.add_column("method")
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in report["methods"].items():
        table.add_row(name, *(f"{figures[column]:.3f}" if column in figures else "" for column in columns))
    return table


def _interval(own: Mapping[str, float]) -> str:
    return f"{own['difference']:+.3f} ({own['low']:+.3f} .. {own['high']:+.3f})"


def draw_reliability(methods: Mapping[str, Method], truth: np.ndarray, path: Path) -> None:
    """Share of hidden positives against the probability that was said, in bins of equally many candidates."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([1e-4, 1], [1e-4, 1], color="grey", linewidth=1, label="calibrated")
    for name, method in methods.items():
        if method.probability is None:
            continue
        bins = equal_bins(method.probability, 15)
        said = [max(float(method.probability[own].mean()), 1e-4) for own in bins]
        found = [max(float(truth[own].mean()), 1e-4) for own in bins]
        axes.plot(said, found, marker="o", markersize=4, label=name)
    axes.set(
        xscale="log", yscale="log", xlabel="probability", ylabel="share of hidden positives",
        title="Reliability of false-negative probabilities",
    )  # fmt: skip
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
