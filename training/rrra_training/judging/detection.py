"""Fits the detection of false negatives to hidden positives."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.preprocessing import StandardScaler

from rrra_haystack.model.detection import FEATURES, SHARED_LABELS_WEIGHT, Detection, list_features
from rrra_haystack.model.words import lexical_scores
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.judging.projecting import ProjectedStates

logger = logging.getLogger(__name__)
# Fewer queries than these say too little of the weights.
LEAST_QUERIES = 50


def features_of(
    data: CandidateSet,
    passages: ProjectedStates,
    shared: SharedLabels,
    queries: np.ndarray,
    positives: np.ndarray,
    candidate: np.ndarray,
    adapter: np.ndarray,
) -> np.ndarray:
    """
    Features of mined candidates beside a labelled positive.

    :param data: The set.
    :param passages: Its projected passages, for their words.
    :param shared: What the labels of the other queries say.
    :param queries: Rows of the queries, shape ``[n]``.
    :param positives: Row of the labelled positive of each, shape ``[n]``.
    :param candidate: Which mined passages are candidates, shape ``[n, k]``, bool.
    :param adapter: Adapter scores of the mined passages, shape ``[n, k]``.
    :returns: Shape ``[c, 15]``, the candidates one query after the other.
    """
    mined = np.asarray(data.mined.rows)[queries]
    parts = []
    for place, query in enumerate(queries):
        own = candidate[place]
        if not own.any():
            continue
        rows, positive = mined[place, own], positives[place]
        words, _ = passages.words(positives[place : place + 1])
        parts.append(
            list_features(
                torch.from_numpy(np.array(data.queries.pooled[query])),
                torch.from_numpy(data.passages.pooled[rows]),
                torch.from_numpy(np.array(data.passages.pooled[positive])),
                torch.from_numpy(adapter[place, own]),
                torch.from_numpy(lexical_scores(words, *passages.words(rows))),
                torch.from_numpy(shared.log_odds(np.full(len(rows), query), rows)),
            )
        )
    return torch.cat(parts).numpy() if parts else np.zeros((0, len(FEATURES)), dtype=np.float32)


def false_negatives(
    detection: Detection,
    data: CandidateSet,
    passages: ProjectedStates,
    shared: SharedLabels,
    queries: np.ndarray,
    positives: np.ndarray,
    candidate: np.ndarray,
    adapter: np.ndarray,
) -> np.ndarray:
    """
    False-negative probabilities s_FN of mined candidates; parameters as for :func:`features_of`.

    :returns: Shape ``[n, k]``; 0 where there is no candidate.
    """
    found = np.zeros(candidate.shape, dtype=np.float32)
    features = features_of(data, passages, shared, queries, positives, candidate, adapter)
    found[candidate] = detection.probability(torch.from_numpy(features)).numpy()
    return found


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
