"""Positives hidden among the candidates: false negatives whose truth is known, to fit detection and to measure it."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.detection import Detection
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.judging.detection import LEAST_QUERIES, false_negatives, features_of, fit_detection
from rrra_training.judging.hidden_positives import HiddenPositives, hide_positives
from rrra_training.judging.projecting import ProjectedStates, projected
from rrra_training.judging.verdicts import judge

logger = logging.getLogger(__name__)
DEFAULT = Detection()


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
        default: Detection = DEFAULT,
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
