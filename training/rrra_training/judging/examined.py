"""Candidates that are examined for false negatives, and what detection reads and says of them."""

from dataclasses import dataclass

import numpy as np
import torch

from rrra_haystack.model.detection import FEATURES, Detection, list_features
from rrra_haystack.model.lexical import DETECTION_FORM, lexical_scores
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.judging.projecting import ProjectedStates


@dataclass(frozen=True)
class Examined:
    """
    Mined candidates of n queries of a set, each list beside one labelled positive.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[n]``.
    :param kept: Row of the labelled positive of each, shape ``[n]``.
    :param candidate: Which mined passages are candidates, shape ``[n, k]``, bool.
    """

    data: CandidateSet
    queries: np.ndarray
    kept: np.ndarray
    candidate: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def mined(self) -> np.ndarray:
        """Rows of the mined passages, shape ``[n, k]``."""
        return np.asarray(self.data.mined.rows)[self.queries]


def beside_positives(data: CandidateSet, queries: np.ndarray, kept: np.ndarray) -> Examined:
    """All mined candidates of queries but the labelled positive of each; parameters as for :class:`Examined`."""
    mined = np.asarray(data.mined.rows)[queries]
    return Examined(data, queries, kept, (mined >= 0) & (mined != kept[:, None]))


def false_negatives(
    detection: Detection, lists: Examined, passages: ProjectedStates, shared: SharedLabels, adapter: np.ndarray
) -> np.ndarray:
    """
    False-negative probabilities s_FN of candidates.

    :param detection: The regression.
    :param lists: The candidates.
    :param passages: Projected passages of the set, for their words.
    :param shared: What the labels of the other queries say.
    :param adapter: Adapter scores of the mined passages, shape ``[n, k]``.
    :returns: Shape ``[n, k]``; 0 where there is no candidate.
    """
    found = np.zeros(lists.candidate.shape, dtype=np.float32)
    features = features_of(lists, passages, shared, adapter)
    found[lists.candidate] = detection.probability(torch.from_numpy(features)).numpy()
    return found


def features_of(lists: Examined, passages: ProjectedStates, shared: SharedLabels, adapter: np.ndarray) -> np.ndarray:
    """
    Features of candidates; parameters as for :func:`false_negatives`.

    :returns: Shape ``[c, 15]``, the candidates one query after the other.
    """
    data, mined = lists.data, lists.mined
    parts = []
    for place, query in enumerate(lists.queries):
        own = lists.candidate[place]
        if not own.any():
            continue
        rows, positive = mined[place, own], lists.kept[place]
        words, _ = passages.words(lists.kept[place : place + 1])
        parts.append(
            list_features(
                torch.from_numpy(np.array(data.queries.pooled[query])),
                torch.from_numpy(data.passages.pooled[rows]),
                torch.from_numpy(np.array(data.passages.pooled[positive])),
                torch.from_numpy(adapter[place, own]),
                torch.from_numpy(lexical_scores(words, *passages.words(rows), DETECTION_FORM)),
                torch.from_numpy(shared.log_odds(np.full(len(rows), query), rows)),
            )
        )
    return torch.cat(parts).numpy() if parts else np.zeros((0, len(FEATURES)), dtype=np.float32)
