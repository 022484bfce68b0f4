"""Fits the detection of false negatives to hidden positives."""

import logging
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.preprocessing import StandardScaler

from rrra_haystack.model.detection import SHARED_LABELS_WEIGHT, Detection
from rrra_training.candidates.sets import CandidateSet

logger = logging.getLogger(__name__)
# Fewer queries than these say too little of the weights.
LEAST_QUERIES = 50


def fit_detection(lists: Sequence[tuple[np.ndarray, np.ndarray]]) -> Detection:
    """
    Logistic regression of being a hidden positive; the weight of the labels of other queries is held.

    :param lists: Features of shape ``[c, 15]`` and truth of shape ``[c]`` of each set. A set counts with the root of
        its candidates: a large one teaches more, and does not drown the others.
    :raises ValueError: If there is no hidden positive.
    """
    features = np.concatenate([own for own, _ in lists]).astype(np.float64)
    truth = np.concatenate([own for _, own in lists]).astype(np.float64)
    if not truth.any():
        msg = "There is no hidden positive among the candidates to fit detection on: it needs queries with several."
        raise ValueError(msg)
    weights = np.concatenate([np.full(len(own), len(own) ** -0.5) for _, own in lists])
    weights *= len(weights) / weights.sum()
    fitted, held = features[:, :-1], SHARED_LABELS_WEIGHT * features[:, -1]
    scaler = StandardScaler().fit(fitted)
    scaled = scaler.transform(fitted)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, intercept = parameters[:-1], parameters[-1]
        logit = scaled @ slopes + intercept + held
        residual = weights * (expit(logit) - truth)
        value = weights @ (np.logaddexp(0, logit) - truth * logit) + slopes @ slopes / 2
        return float(value), np.append(scaled.T @ residual + slopes, residual.sum())

    start = np.zeros(fitted.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    if not found.success:
        logger.warning("The fit of detection did not converge: %s", found.message)
    slopes = found.x[:-1] / scaler.scale_
    intercept = float(found.x[-1] - slopes @ scaler.mean_)
    return Detection(weights=(*slopes.tolist(), SHARED_LABELS_WEIGHT), intercept=intercept)


def can_fit_detection(sets: Sequence[CandidateSet]) -> bool:
    """Whether at least 50 queries of the sets have several positives."""
    return sum(int((data.positives.counts[: data.asked] > 1).sum()) for data in sets) >= LEAST_QUERIES
