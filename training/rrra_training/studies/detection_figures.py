"""How well methods of detection find what is hidden."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.measures.significance import bootstrap_interval
from rrra_training.studies.detection_candidates import JudgedCandidates
from rrra_training.studies.detection_methods import (
    BLIND_DETECTION,
    DETECTION,
    PERC_POS,
    REGRESSION,
    REGRESSION_WITH_LABELS,
    Method,
)


def figures_of(methods: Mapping[str, Method], judged: JudgedCandidates, *, seed: int) -> dict[str, Any]:
    """
    Figures of each method, and how far detection is ahead of others.

    :param methods: What each says, by its name.
    :param judged: The candidates.
    :param seed: Seed of the intervals.
    """
    truth, owner = judged.truth, judged.owner

    def over(name: str, other: str) -> dict[str, float]:
        return auroc_interval(methods[name].score, methods[other].score, truth, owner, seed=seed)

    figures = {name: measure(method, truth, owner) for name, method in methods.items()}
    return {
        "methods": figures,
        "auroc_over_baseline": {name: over(name, REGRESSION) for name in (BLIND_DETECTION, DETECTION)},
        "auroc_over_baseline_with_labels": over(DETECTION, REGRESSION_WITH_LABELS),
        "precision_at_perc_pos_recall": precision_at(methods[DETECTION].score, truth, figures[PERC_POS]["recall"]),
    }


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

    def difference(rows: np.ndarray) -> float:
        return _auroc(truth[rows], system[rows]) - _auroc(truth[rows], baseline[rows])

    low, high = bootstrap_interval(
        lambda drawn: difference(np.concatenate([lists[query] for query in drawn])), len(lists), seed=seed, draws=draws
    )
    return {"difference": difference(np.arange(len(truth))), "low": low, "high": high}


def _auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """AUROC from ranks (Mann and Whitney, 1947): at each draw, scikit-learn would check its input for much longer."""
    right = int(truth.sum())
    pairs = right * (len(truth) - right)
    return float(rankdata(score)[truth].sum() - right * (right + 1) / 2) / pairs if pairs else float("nan")


def precision_at(score: np.ndarray, truth: np.ndarray, recall: float) -> float:
    """The precision of a method where its threshold is set such that it reaches a recall."""
    precisions, recalls, _ = precision_recall_curve(truth, score)
    return float(precisions[recalls >= recall].max())
