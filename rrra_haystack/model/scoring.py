"""Resampling and reranking scores, and the probability that a pair is relevant: pure functions of scores."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from rrra_haystack.model.adapter.observation import Judgement, Matching


@dataclass(frozen=True)
class Scores:
    """
    What a model says of the n candidates of a query, arrays of shape ``[n]``, float32.

    :param base: Encoder score: cosine of the pooled embeddings, or MaxSim of a late-interaction model, as a mean.
    :param adapter: Adapter score, to which the words in common have added.
    :param fused: Reranking score, which orders the candidates.
    :param scaled: The same, brought between 0 and 1 by the calibration.
    :param relevance: Probability of relevance.
    :param matching: What it read from the tokens; `None` if it did not need the cosines of all.
    """

    base: np.ndarray
    adapter: np.ndarray
    fused: np.ndarray
    scaled: np.ndarray
    relevance: np.ndarray
    matching: Matching | None = None


class Calibration(BaseModel):
    """
    Platt scaling of the reranking scores of a candidate list to probabilities of relevance.

    A score means more in a list where nothing scores higher: the log-odds are
    ``slope * score + gap_slope * (score - best score of the list) + outcome_slope * relevance logit + intercept``.

    :param slope: Log-odds per unit of the reranking score.
    :param gap_slope: Log-odds per unit that a score lies below the best of its list.
    :param intercept: Log-odds of a best score of 0.
    :param outcome_slope: Log-odds per unit of the adapter's own log-odds of relevance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    slope: float = Field(gt=0)
    gap_slope: float = Field(ge=0)
    intercept: float
    outcome_slope: float = Field(0.0, ge=0)

    def probability(self, scores: Tensor, relevance_logit: Tensor | None = None) -> Tensor:
        """
        Probability of relevance of each candidate of its list.

        :param scores: Reranking scores of n candidates a list, shape ``[..., n]``; the probability increases in them.
        :param relevance_logit: The adapter's log-odds of relevance, same shape; left out if `None`.
        """
        if scores.numel() == 0:
            return scores
        score, gap, logit = self.features(scores, relevance_logit).unbind(dim=-1)
        return torch.sigmoid(self.slope * score + self.gap_slope * gap + self.intercept + self.outcome_slope * logit)

    @staticmethod
    def features(scores: Tensor, relevance_logit: Tensor | None = None) -> Tensor:
        """
        What the slopes are of.

        :param scores: Reranking scores of n candidates a list, shape ``[..., n]``, n at least 1.
        :param relevance_logit: The adapter's log-odds of relevance, same shape; 0 if `None`.
        :returns: Score, gap to the best score and log-odds, shape ``[..., n, 3]``.
        """
        gap = scores - scores.amax(dim=-1, keepdim=True)
        logit = torch.zeros_like(scores) if relevance_logit is None else relevance_logit
        return torch.stack([scores, gap, logit], dim=-1)


def check_fusion_weight(fusion_weight: Any) -> float:
    """
    Return a usable fusion weight.

    :raises ValueError: If it is negative or not a finite number.
    """
    is_number = isinstance(fusion_weight, Real) and not isinstance(fusion_weight, bool)
    if not (is_number and 0 <= fusion_weight < math.inf):
        msg = f"fusion_weight must be a number >= 0, but got {fusion_weight!r}"
        raise ValueError(msg)
    return float(fusion_weight)


def reranking_score(base: Tensor, adapter: Tensor, fusion_weight: float) -> Tensor:
    """
    The reranking score ``s_base * s_adapter ** fusion_weight`` (arXiv 2508.11670), in log space.

    Cosines may be negative, and a product of negative numbers would turn the order round. The factors are therefore
    exponentials of the scores, and what is returned is the logarithm of the product, divided by ``1 + fusion_weight``:
    a weighted mean that has the same order and stays on the scale of the scores, whatever the weight.

    :param base: Encoder scores, any shape.
    :param adapter: Adapter scores, same shape.
    :param fusion_weight: The exponent, >= 0; 0 gives the encoder's order.
    """
    return torch.lerp(base, adapter, fusion_weight / (1 + fusion_weight))


def fused_scores(
    judgement: Judgement, adapter: Tensor, fusion_weight: float, own_weight: float, calibration: Calibration
) -> Scores:
    """
    What a model says of the n candidates of a query.

    :param judgement: What the adapter says.
    :param adapter: Its score, to which the words in common have added, shape ``[n]``.
    :param fusion_weight: The exponent lambda of the reranking score.
    :param own_weight: The exponent that the calibration was fitted with.
    :param calibration: Makes probabilities of relevance.
    """
    fused = reranking_score(judgement.base, adapter, fusion_weight)
    # The probability belongs to the pair, not to the weight of one call: it is made from the model's own weight.
    own = fused if fusion_weight == own_weight else reranking_score(judgement.base, adapter, own_weight)
    return Scores(
        base=judgement.base.numpy(),
        adapter=adapter.numpy(),
        fused=fused.numpy(),
        scaled=calibration.probability(fused).numpy(),
        relevance=calibration.probability(own, judgement.relevance_logit).numpy(),
        matching=judgement.matching,
    )


def resampling_score(hard_negative: Tensor, false_negative: Tensor, gamma: float) -> Tensor:
    """
    The weight of a candidate as a negative, ``s_HN * (1 - s_FN) ** gamma`` (arXiv 2508.11670).

    :param hard_negative: How hard each candidate is, >= 0, any shape.
    :param false_negative: Probability that each candidate is in truth relevant, same shape.
    :param gamma: How strongly probable false negatives are avoided, >= 0; 0 ignores them.
    """
    return hard_negative * (1 - false_negative).clamp_min(0) ** gamma
