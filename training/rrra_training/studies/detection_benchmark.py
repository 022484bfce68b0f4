"""
How well false negatives are found whose truth is known.

Of each query with several positives one is kept, the others are hidden among the candidates that the encoder mines, and
every method says how probable it is that a candidate is one of them.

``python -m rrra_training.studies.detection_benchmark DATA/cranfield:test --model rrra-minilm-l6 --output DIR``
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from sentence_transformers import CrossEncoder
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rrra_haystack.files import atomic_file, atomic_write, working_folder
from rrra_haystack.model.detection import FEATURES, Detection
from rrra_haystack.model.encoder import native_dtype
from rrra_haystack.model.rrra_model import DEFAULT_MODEL, RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import CandidateSet, SplitConfig, prepare
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.data.beir import split_of
from rrra_training.judging.detector import HiddenPositives, features_of, fit_detection, hide_positives
from rrra_training.judging.fitting import expected_calibration_error
from rrra_training.judging.verdicts import judge, projected, relevance_of
from rrra_training.negatives.samplers import Candidates, MarginPos, PercPos, SimANS

app = typer.Typer(add_completion=False)

_BASELINE = "logistic regression on 8 features"
_BASELINE_WITH_LABELS = "the same and labels of other queries"
_PERC_POS = "TopK-PercPos"
_OURS = "RRRA, detection"
_BLIND = "RRRA, detection, no labels of other queries"
# With the ratio to the positive's score, the eight features of the baseline. Detection has the lead over the positive
# in the ratio's place.
_CHEAP = (
    "cosine",
    "z-score of the cosine",
    "relative rank",
    "similarity to the positive",
    "similarity to the centroid of the top 5",
    "density of the list",
    "cosine of the positive",
)
_ENCODER = (
    *_CHEAP,
    "lead over the positive",
    "z-score of the similarity to the positive",
    "similarity to its 5 nearest, the positive among them",
    "share of the list nearer to it than the positive",
)
_FOLDS = 5
# A positive that the encoder scores near 0 gives a ratio without bound, which costs the baseline 0.005 of AUROC on
# Cranfield.
_GREATEST_RATIO = 3.0
_EVEN = 0.5


@dataclass(frozen=True)
class Method:
    """
    What a method says of the c candidates of a set.

    :param score: The higher, the more probably a hidden positive, shape ``[c]``.
    :param flagged: Which candidates the method takes for false negatives, shape ``[c]``, bool.
    :param probability: Its probability, shape ``[c]``; `None` if it gives none.
    """

    score: np.ndarray
    flagged: np.ndarray
    probability: np.ndarray | None = None


@dataclass(frozen=True)
class Judged:
    """
    The candidates of the queries of a split, one query after the other.

    :param hidden: What is hidden.
    :param features: Shape ``[c, 15]``.
    :param relevance: The model's probability of relevance without sight of the positive, shape ``[c]``.
    """

    hidden: HiddenPositives
    features: np.ndarray
    relevance: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """Number of each candidate's query, shape ``[c]``."""
        return np.repeat(np.arange(len(self.hidden)), self.hidden.candidate.sum(axis=1))


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
            said = np.concatenate([_cross_encoded(other, one.hidden) for one in measured])
            methods["cross-encoder"] = Method(said, said >= _EVEN, said)
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
            name: auroc_interval(methods[name].score, methods[_BASELINE].score, truth, owner, seed=seed)
            for name in (_BLIND, _OURS)
        },
        "auroc_over_baseline_with_labels": auroc_interval(
            methods[_OURS].score, methods[_BASELINE_WITH_LABELS].score, truth, owner, seed=seed
        ),
        "precision_at_perc_pos_recall": precision_at(methods[_OURS].score, truth, figures[_PERC_POS]["recall"]),
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
    relevance = relevance_of(model, verdicts, hidden.candidate)
    return Judged(hidden, features, relevance[hidden.candidate])


def _check_enough(measured: Sequence[Judged], data: Sequence[str]) -> None:
    found = sum(int(one.hidden.hidden.any(axis=1).sum()) for one in measured)
    if found < _FOLDS:
        msg = (
            f"Hidden positives are among the candidates of {found} queries of {', '.join(data)}, but the "
            f"cross-validation needs {_FOLDS} such queries. Name further splits."
        )
        raise ValueError(msg)


def methods_for(measured: Sequence[Judged], detection: Detection) -> tuple[dict[str, Method], np.ndarray, np.ndarray]:
    """
    What every method says, the truth, and the number of each candidate's query, over all sets together.

    :param measured: The sets.
    :param detection: RRRA's detection.
    """
    features = np.concatenate([one.features for one in measured])
    truth = np.concatenate([one.hidden.truth for one in measured])
    offsets = np.cumsum([0, *(len(one.hidden) for one in measured[:-1])])
    owner = np.concatenate([one.owner + offset for one, offset in zip(measured, offsets, strict=True)])
    score, positive = (features[:, FEATURES.index(name)] for name in ("cosine", "cosine of the positive"))
    simans, perc_pos, margin_pos = SimANS(), PercPos(), MarginPos()
    # SimANS has a peak: what it avoids on the far side of it are easy negatives, on the near side false ones.
    sign = np.where(score - positive - simans.b > 0, 1.0, -1.0)
    avoided = sign * (1 - _weights(simans, score, positive))
    lead = score - positive
    ratio = score / np.maximum(positive, 1e-6)
    cheap = features[:, [FEATURES.index(name) for name in _CHEAP]]
    cheap = np.column_stack([cheap, ratio.clip(max=_GREATEST_RATIO)])
    baseline = cross_validated(cheap, truth, owner)
    labels = features[:, FEATURES.index("labels of other queries")]
    with_labels = cross_validated(np.column_stack([cheap, labels]), truth, owner)
    relevance = np.concatenate([one.relevance for one in measured])
    encoder = cross_validated(features[:, [FEATURES.index(name) for name in _ENCODER]], truth, owner)
    every = cross_validated(features, truth, owner)
    found = detection.probability(torch.from_numpy(features)).numpy()
    features[:, FEATURES.index("labels of other queries")] = 0
    blind = detection.probability(torch.from_numpy(features)).numpy()
    methods = {
        "encoder score": Method(score, lead > 0),
        "ratio to the positive's score": Method(ratio, ratio > 1),
        "SimANS weight": Method(avoided, avoided > _EVEN),
        "TopK-MarginPos": Method(lead, lead > -margin_pos.margin),
        _PERC_POS: Method(ratio, ratio > perc_pos.share),
        _BASELINE: Method(baseline, baseline >= _EVEN, baseline),
        _BASELINE_WITH_LABELS: Method(with_labels, with_labels >= _EVEN, with_labels),
        "logistic regression on all 11 of the encoder": Method(encoder, encoder >= _EVEN, encoder),
        "logistic regression on all 15 features": Method(every, every >= _EVEN, every),
        "RRRA, relevance": Method(relevance, relevance >= _EVEN, relevance),
        _BLIND: Method(blind, blind >= _EVEN, blind),
        _OURS: Method(found, found >= _EVEN, found),
    }
    return methods, truth, owner


def _weights(sampler: SimANS, scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    columns = torch.from_numpy(scores)[:, None]
    candidates = Candidates(columns, torch.from_numpy(positive), torch.ones_like(columns, dtype=torch.bool))
    return sampler.weights(candidates)[:, 0].numpy()


def cross_validated(features: np.ndarray, truth: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """
    Probabilities of a logistic regression that never saw the query it judges: five folds over the queries.

    :param features: Shape ``[c, f]``.
    :param truth: Shape ``[c]``.
    :param owner: Number of each candidate's query, shape ``[c]``.
    """
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    folds = GroupKFold(_FOLDS)
    return cross_val_predict(regression, features, truth, groups=owner, cv=folds, method="predict_proba")[:, 1]


def _cross_encoded(model: CrossEncoder, hidden: HiddenPositives) -> np.ndarray:
    data: CandidateSet = hidden.data
    mined = np.asarray(data.mined.rows)[hidden.queries]
    pairs = [
        (data.queries.text(int(query)), data.passages.text(int(row)))
        for query, rows, own in zip(hidden.queries, mined, hidden.candidate, strict=True)
        for row in rows[own]
    ]
    logits = model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=64, show_progress_bar=True)
    # In bfloat16 a probability near 1 has two digits.
    return expit(logits)


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
        caption=f"AUROC over the {_BASELINE}: {over}\n{_OURS} over {_BASELINE_WITH_LABELS}: "
        f"{_interval(report['auroc_over_baseline_with_labels'])}\nprecision of {_OURS} at the recall of {_PERC_POS}: "
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
