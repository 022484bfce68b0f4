"""Positives hidden among the candidates: false negatives whose truth is known, to fit detection and to measure it."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.detection import FEATURES, SHARED_LABELS_WEIGHT, Detection, list_features
from rrra_haystack.model.words import lexical_scores
from rrra_training.candidates.preparing import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.judging.verdicts import ProjectedStates, judge, projected
from rrra_training.phases.adapter.training import PHASE
from rrra_training.runs.directory import RunDirectory

logger = logging.getLogger(__name__)

# Fewer queries than these say too little of the weights.
LEAST_QUERIES = 50
_DEFAULT = Detection()


@dataclass(frozen=True)
class HiddenPositives:
    """
    The queries of a set that have several positives, of which one is kept as the labelled one and the others are hidden
    among the mined candidates.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[n]``.
    :param kept: Rows of their labelled positives, shape ``[n]``.
    :param candidate: Which mined passages are candidates: all but the labelled positive, shape ``[n, k]``, bool.
    :param hidden: Which of them are hidden positives, shape ``[n, k]``, bool.
    """

    data: CandidateSet
    queries: np.ndarray
    kept: np.ndarray
    candidate: np.ndarray
    hidden: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def truth(self) -> np.ndarray:
        """Whether each candidate is a hidden positive, one query after the other, shape ``[c]``."""
        return self.hidden[self.candidate]

    @property
    def known(self) -> np.ndarray:
        """Which of the set's labels are not hidden, shape ``[P]``, bool."""
        owner = np.repeat(np.arange(len(self.data)), self.data.positives.counts)
        kept = np.full(len(self.data), -1)
        kept[self.queries] = self.kept
        return (kept[owner] < 0) | (self.data.positives.rows == kept[owner])


def hide_positives(
    data: CandidateSet, *, seed: int, limit: int | None = None, least_positives: int = 2
) -> HiddenPositives:
    """
    Keep one positive of each query that has several, drawn at random, and hide the others.

    Restyled queries are left out: they have the positives of those that they were made from.

    :param data: The set.
    :param seed: Seed of the draw.
    :param limit: Draw this many queries; all if `None`.
    :param least_positives: Leave out queries with fewer positives.
    """
    generator = np.random.default_rng(seed)
    queries = np.flatnonzero(data.positives.counts[: data.asked] >= least_positives)
    if limit is not None and limit < len(queries):
        queries = np.sort(generator.choice(queries, size=limit, replace=False))
    kept = np.asarray([generator.choice(data.positives.of(int(query))) for query in queries], dtype=np.int64)
    mined = np.asarray(data.mined.rows)[queries]
    candidate = (mined >= 0) & (mined != kept[:, None])
    hidden = np.zeros_like(candidate)
    for place, query in enumerate(queries):
        hidden[place] = candidate[place] & np.isin(mined[place], data.positives.of(int(query)))
    return HiddenPositives(data, queries, kept, candidate, hidden)


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


def detection_at_start(run: RunDirectory) -> Detection:
    """Detection of the model whose adapter a run has begun with, or the defaults."""
    begun = run.done(PHASE) or {}
    return Detection.model_validate(begun["detection"]) if "detection" in begun else _DEFAULT


class Detector:
    """
    False-negative probabilities of mined candidates as an adapter sees them. A context manager.

    It is fitted to the adapter on the hidden positives of the sets, or stays as it was if fewer than 50 queries have
    several positives.

    :param adapter: The adapter.
    :param projection: The projection that goes with it.
    :param sets: Queries whose positives may be hidden.
    :param cache: Where projected passages are kept meanwhile.
    :param seed: Seed of what is hidden.
    :param limit: Hide positives of so many queries of each set at most.
    :param default: Detection where it cannot be fitted.
    """

    def __init__(
        self,
        adapter: RelationAwareAdapter,
        projection: nn.Linear | None,
        sets: Sequence[CandidateSet],
        cache: Path,
        *,
        seed: int,
        limit: int = 1000,
        default: Detection = _DEFAULT,
    ) -> None:
        self._adapter, self._projection = adapter, projection
        self._sets, self._cache = sets, cache
        self._seed, self._limit = seed, limit
        self._passages: dict[Path, ProjectedStates] = {}
        self._shared: dict[Path, SharedLabels] = {}
        self._stack = ExitStack()
        self.detection = default

    def __enter__(self) -> Self:
        for data in self._sets:
            if data.passages.path not in self._passages:
                context = projected(data.passages, self._projection, self._cache)
                self._passages[data.passages.path] = self._stack.enter_context(context)
        hidden = [hide_positives(data, seed=self._seed, limit=self._limit) for data in self._sets]
        if sum(map(len, hidden)) < LEAST_QUERIES or not any(own.hidden.any() for own in hidden):
            logger.info("Detection stays as it was: too few queries have several positives.")
        else:
            self.detection = fit_detection([(self._features(own), own.truth) for own in hidden if len(own)])
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def probability(self, data: CandidateSet, queries: np.ndarray, positives: np.ndarray) -> Tensor:
        """
        The false-negative probability s_FN of all mined candidates, 0 where there is none.

        :param data: One of the sets.
        :param queries: Rows of the queries, shape ``[n]``.
        :param positives: Row of the labelled positive of each, shape ``[n]``.
        :returns: Shape ``[n, k]``.
        """
        mined = np.asarray(data.mined.rows)[queries]
        candidate = (mined >= 0) & (mined != positives[:, None])
        scores = self._scores(data, queries)
        if data.queries.path not in self._shared:
            self._shared[data.queries.path] = SharedLabels(data)
        passages, shared = self._passages[data.passages.path], self._shared[data.queries.path]
        found = false_negatives(self.detection, data, passages, shared, queries, positives, candidate, scores)
        return torch.from_numpy(found)

    def _features(self, hidden: HiddenPositives) -> np.ndarray:
        data, scores = hidden.data, self._scores(hidden.data, hidden.queries)
        passages, shared = self._passages[data.passages.path], SharedLabels(data, hidden.known)
        return features_of(data, passages, shared, hidden.queries, hidden.kept, hidden.candidate, scores)

    def _scores(self, data: CandidateSet, queries: np.ndarray) -> np.ndarray:
        passages = self._passages[data.passages.path]
        return judge(self._adapter, self._projection, data, passages, "int8", queries=queries).adapter
