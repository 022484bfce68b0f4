"""Detection as an adapter's own scores make it, fitted to the positives that are hidden among the candidates."""

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
from rrra_training.judging.examined import Examined, beside_positives, false_negatives, features_of
from rrra_training.judging.fitting_detection import LEAST_QUERIES, fit_detection
from rrra_training.judging.hidden_positives import HiddenPositives, hide_positives
from rrra_training.judging.projecting import ProjectedStates, projected
from rrra_training.judging.verdicts import judge

logger = logging.getLogger(__name__)


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
    :param default: Detection where it cannot be fitted; that of the bundled adapter if `None`.
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
        default: Detection | None = None,
    ) -> None:
        self._adapter, self._projection = adapter, projection
        self._sets, self._cache = sets, cache
        self._seed, self._limit = seed, limit
        self._passages: dict[Path, ProjectedStates] = {}
        self._shared: dict[Path, SharedLabels] = {}
        self._stack = ExitStack()
        self.detection = Detection() if default is None else default

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
        if data.queries.path not in self._shared:
            self._shared[data.queries.path] = SharedLabels(data)
        passages, shared = self._passages[data.passages.path], self._shared[data.queries.path]
        lists = beside_positives(data, queries, positives)
        return torch.from_numpy(false_negatives(self.detection, lists, passages, shared, self._scores(lists)))

    def _features(self, hidden: HiddenPositives) -> np.ndarray:
        passages, shared = self._passages[hidden.data.passages.path], SharedLabels(hidden.data, hidden.known)
        return features_of(hidden, passages, shared, self._scores(hidden))

    def _scores(self, lists: Examined) -> np.ndarray:
        """Adapter scores of the mined passages, shape ``[n, k]``."""
        data, passages = lists.data, self._passages[lists.data.passages.path]
        queries = lists.queries
        return judge(self._adapter, self._projection, data, passages, "int8", queries=queries, lexical=None).adapter
