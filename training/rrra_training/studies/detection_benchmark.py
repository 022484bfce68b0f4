"""
How well false negatives are found whose truth is known.

Of each query with several positives one is kept, the others are hidden among the candidates that the encoder mines, and
every method says how probable it is that a candidate is one of them.

``python -m rrra_training.studies.detection_benchmark DATA/cranfield:test --model rrra-minilm-l6 --output DIR``
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sentence_transformers import CrossEncoder
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

from rrra_haystack.files import atomic_file, atomic_write, working_folder
from rrra_haystack.model.encoder import native_dtype
from rrra_haystack.model.rrra_model import DEFAULT_MODEL, RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data.beir import split_of
from rrra_training.judging.detection import features_of, fit_detection
from rrra_training.judging.hidden_positives import hide_positives
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge, relevance_probabilities
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.studies.detection_methods import (
    BASELINE,
    BASELINE_WITH_LABELS,
    BLIND,
    EVEN,
    FOLDS,
    OURS,
    PERC_POS,
    Judged,
    Method,
    cross_encoded,
    methods_for,
)

app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT; measured together.")],
    output: Annotated[Path, typer.Option(file_okay=False, help="Where the figures go.")],
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    fit: Annotated[
        list[str] | None,
        typer.Option(help="Fit detection on the hidden positives of these, as FOLDER:SPLIT; the model's own if not."),
    ] = None,
    cross_encoder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Directory of a cross-encoder to compare with.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Hide positives of so many queries of a split.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is hidden, and of the intervals.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Measure how well each method finds hidden positives."""
    loaded = RRRAModel.load(model)
    with working_folder(cache) as kept:
        measured = [_judged(loaded, one, kept, seed=seed, limit=limit) for one in data]
        _check_enough(measured, data)
        others = [_judged(loaded, one, kept, seed=seed, limit=limit) for one in fit or ()]
        detection = loaded.config.detection
        if others:
            detection = fit_detection([(one.features, one.hidden.truth) for one in others])
        methods, truth, owner = methods_for(measured, detection)
        if cross_encoder is not None:
            other = CrossEncoder(str(cross_encoder))
            other.to(native_dtype(other.device))
            said = np.concatenate([cross_encoded(other, one.hidden) for one in measured])
            methods["cross-encoder"] = Method(said, said >= EVEN, said)
    figures = {name: measure(method, truth, owner) for name, method in methods.items()}
    report = {
        "data": [_without_folder(one) for one in data],
        "model": model,
        "fit": [_without_folder(one) for one in fit or ()],
        "queries": int(owner.max()) + 1,
        "candidates": len(truth),
        "hidden": int(truth.sum()),
        "seed": seed,
        "methods": figures,
        "auroc_over_baseline": {
            name: auroc_interval(methods[name].score, methods[BASELINE].score, truth, owner, seed=seed)
            for name in (BLIND, OURS)
        },
        "auroc_over_baseline_with_labels": auroc_interval(
            methods[OURS].score, methods[BASELINE_WITH_LABELS].score, truth, owner, seed=seed
        ),
        "precision_at_perc_pos_recall": precision_at(methods[OURS].score, truth, figures[PERC_POS]["recall"]),
        "detection": detection.model_dump(mode="json"),
    }
    atomic_write(output / "detection.json", json.dumps(report, indent=2) + "\n")
    with atomic_file(output / "reliability.png") as work:
        draw_reliability(methods, truth, work)
    Console(width=170).print(render(report))


def _judged(model: RRRAModel, data: str, cache: Path, *, seed: int, limit: int | None) -> Judged:
    folder, split = split_of(data, "train")
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "split": split})
    prepared = prepare(
        config, model.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig(), show_progress=True
    )
    hidden = hide_positives(prepared, seed=seed, limit=limit)
    if not len(hidden):
        msg = f"No query of {data} has several positives, so there is nothing to hide. Take another split."
        raise ValueError(msg)
    with projected(prepared.passages, model.projection, cache) as passages:
        verdicts = judge(
            model.adapter, model.projection, prepared, passages, "int8", queries=hidden.queries, show_progress=True
        )
        shared = SharedLabels(prepared, hidden.known)
        features = features_of(
            prepared, passages, shared, hidden.queries, hidden.kept, hidden.candidate, verdicts.adapter
        )
    relevance = relevance_probabilities(model, verdicts, hidden.candidate)
    return Judged(hidden, features, relevance[hidden.candidate])


def _check_enough(measured: Sequence[Judged], data: Sequence[str]) -> None:
    found = sum(int(one.hidden.hidden.any(axis=1).sum()) for one in measured)
    if found < FOLDS:
        msg = (
            f"Hidden positives are among the candidates of {found} queries of {', '.join(data)}, but the "
            f"cross-validation needs {FOLDS} such queries. Name further splits."
        )
        raise ValueError(msg)


def measure(method: Method, truth: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """
    Figures of a method.

    :param method: What it says.
    :param truth: Which candidates are hidden positives, shape ``[c]``.
    :param owner: Number of each candidate's query, shape ``[c]``.
    """
    ends = np.flatnonzero(np.diff(owner)) + 1
    lists = list(zip(np.split(truth, ends), np.split(method.score, ends), strict=True))
    by_query = [roc_auc_score(own, said) for own, said in lists if own.any() and not own.all()]
    flagged = int(method.flagged.sum())
    right = int((method.flagged & truth).sum())
    figures = {
        "AUROC": float(roc_auc_score(truth, method.score)),
        "AUROC by query": float(np.mean(by_query)),
        "AP": float(average_precision_score(truth, method.score)),
        "precision": right / flagged if flagged else float("nan"),
        "recall": right / int(truth.sum()),
    }
    if method.probability is not None:
        figures["ECE"] = expected_calibration_error(method.probability, truth.astype(np.float64))
        figures["Brier"] = float(brier_score_loss(truth, method.probability))
    return figures


def auroc_interval(
    system: np.ndarray, baseline: np.ndarray, truth: np.ndarray, owner: np.ndarray, *, seed: int, draws: int = 1000
) -> dict[str, float]:
    """Difference of two AUROC, with the 95 % bootstrap interval over the queries."""
    ends = np.flatnonzero(np.diff(owner)) + 1
    lists = np.split(np.arange(len(truth)), ends)
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(draws):
        drawn = np.concatenate([lists[i] for i in generator.integers(len(lists), size=len(lists))])
        own = truth[drawn]
        differences.append(roc_auc_score(own, system[drawn]) - roc_auc_score(own, baseline[drawn]))
    low, high = np.percentile(differences, [2.5, 97.5])
    difference = roc_auc_score(truth, system) - roc_auc_score(truth, baseline)
    return {"difference": float(difference), "low": float(low), "high": float(high)}


def precision_at(score: np.ndarray, truth: np.ndarray, recall: float) -> float:
    """The precision of a method where its threshold is set such that it reaches a recall."""
    precisions, recalls, _ = precision_recall_curve(truth, score)
    return float(precisions[recalls >= recall].max())


def draw_reliability(methods: Mapping[str, Method], truth: np.ndarray, path: Path) -> None:
    """Share of hidden positives against the probability that was said, in bins of equally many candidates."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([1e-4, 1], [1e-4, 1], color="grey", linewidth=1, label="calibrated")
    for name, method in methods.items():
        if method.probability is None:
            continue
        bins = [own for own in np.array_split(np.argsort(method.probability), 15) if len(own)]
        said = [max(float(method.probability[own].mean()), 1e-4) for own in bins]
        found = [max(float(truth[own].mean()), 1e-4) for own in bins]
        axes.plot(said, found, marker="o", markersize=4, label=name)
    axes.set(
        xscale="log", yscale="log", xlabel="probability", ylabel="share of hidden positives",
        title="Reliability of false-negative probabilities",
    )  # fmt: skip
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def render(report: Mapping[str, Any]) -> Table:
    """The figures as a table."""
    over = "; ".join(f"{name} {_interval(own)}" for name, own in report["auroc_over_baseline"].items())
    table = Table(
        title=f"Hidden positives of {', '.join(report['data'])}: {report['queries']} queries, "
        f"{report['hidden']} hidden among {report['candidates']} candidates, seed {report['seed']}",
        caption=f"AUROC over the {BASELINE}: {over}\n{OURS} over {BASELINE_WITH_LABELS}: "
        f"{_interval(report['auroc_over_baseline_with_labels'])}\nprecision of {OURS} at the recall of {PERC_POS}: "
        f"{report['precision_at_perc_pos_recall']:.3f}",
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


def _without_folder(data: str) -> str:
    folder, split = split_of(data, "train")
    return f"{folder.resolve().name}:{split}"


if __name__ == "__main__":
    app()
