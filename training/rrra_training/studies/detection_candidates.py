"""The candidates on which methods of detection are compared: some are positives that were hidden."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data.beir import split_of
from rrra_training.judging.examined import features_of
from rrra_training.judging.hidden_positives import HiddenPositives, hide_positives
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge, relevance_probabilities


@dataclass(frozen=True)
class JudgedSplit:
    """
    The queries of a split with hidden positives, and what a model says of their candidates, one query after the other.

    :param hidden: What is hidden.
    :param features: Shape ``[c, 15]``.
    :param relevance: The model's probability of relevance without sight of the positive, shape ``[c]``.
    """

    hidden: HiddenPositives
    features: np.ndarray
    relevance: np.ndarray


@dataclass(frozen=True)
class JudgedCandidates:
    """
    The candidates of several splits, one query after the other.

    :param features: Shape ``[c, 15]``.
    :param relevance: The model's probability of relevance without sight of the positive, shape ``[c]``.
    :param truth: Which are hidden positives, shape ``[c]``, bool.
    :param owner: Number of each candidate's query, shape ``[c]``.
    """

    features: np.ndarray
    relevance: np.ndarray
    truth: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(cls, splits: Sequence[JudgedSplit]) -> Self:
        """Join splits; their queries are numbered on."""
        counts = np.concatenate([one.hidden.candidate.sum(axis=1) for one in splits])
        return cls(
            features=np.concatenate([one.features for one in splits]),
            relevance=np.concatenate([one.relevance for one in splits]),
            truth=np.concatenate([one.hidden.truth for one in splits]),
            owner=np.repeat(np.arange(len(counts)), counts),
        )


def judge_split(model: RRRAModel, data: str, cache: Path, *, seed: int, limit: int | None) -> JudgedSplit:
    """
    Hide positives of a split, and let a model judge the candidates.

    :param model: The model.
    :param data: A folder in the BEIR layout, as ``FOLDER:SPLIT``.
    :param cache: Where encoded corpora are kept.
    :param seed: Seed of what is hidden.
    :param limit: Hide positives of so many queries; of all if `None`.
    :raises ValueError: If no query has several positives.
    """
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
            model.adapter, model.projection, prepared, passages, "int8", queries=hidden.queries,
            lexical=model.lexical_scores, show_progress=True,
        )  # fmt: skip
        features = features_of(hidden, passages, SharedLabels(prepared, hidden.known), verdicts.adapter)
    return JudgedSplit(hidden, features, relevance_probabilities(model, verdicts, hidden.candidate)[hidden.candidate])
