"""How gradients lie over the ranks of a list."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rrra_training.negatives.drawing import first_draw_probabilities
from rrra_training.negatives.sampler import Candidates, Sampler


@dataclass(frozen=True)
class RankedLists:
    """
    The mined candidates of b queries, one labelled positive of each kept and all others hidden among them.

    :param candidates: What samplers read; eligible is all but padding and the kept positive.
    :param relevant: Which candidates are labelled relevant, false negatives by the labels, shape ``[b, n]``, bool.
    """

    candidates: Candidates
    relevant: Tensor


@dataclass(frozen=True)
class Profile:
    """
    What a sampler makes of the lists, averaged over all candidates at a rank; nan where there is none.

    :param every: Mean expected gradient of the candidates at each rank, shape ``[n]``.
    :param unlabelled: The same, of candidates that are not labelled relevant.
    :param relevant: The same, of those that are.
    :param total: Expected gradient of one draw, the mean over the queries.
    :param relevant_share: Share of it that comes from candidates that are labelled relevant.
    """

    every: np.ndarray
    unlabelled: np.ndarray
    relevant: np.ndarray
    total: float
    relevant_share: float


def score_gradients(candidates: Candidates, temperature: float) -> Tensor:
    """
    Size of the gradient of InfoNCE over the positive and all eligible candidates, by the score of each candidate.

    It is the softmax probability of the candidate, over the temperature. As queries have length 1, it is also the
    length of the gradient by the candidate's embedding.

    :param candidates: The candidates.
    :param temperature: What cosines are divided by.
    :returns: Shape ``[b, n]``, float64; 0 where not eligible.
    """
    logits = candidates.scores.double().masked_fill(~candidates.eligible, -torch.inf) / temperature
    positive = candidates.positive_scores.double()[:, None] / temperature
    return torch.softmax(torch.cat([positive, logits], dim=1), dim=1)[:, 1:] / temperature


def profile(sampler: Sampler, lists: RankedLists, temperature: float) -> Profile:
    """
    The expected gradient by rank: the probability of being drawn times the gradient of the candidate.

    :param sampler: The sampler.
    :param lists: The candidates. Ranks count eligible ones alone.
    :param temperature: Of the loss.
    """
    eligible = lists.candidates.eligible
    probability = first_draw_probabilities(sampler.weights(lists.candidates), eligible)
    expected = probability * score_gradients(lists.candidates, temperature)
    rank = eligible.cumsum(dim=1) - 1
    total = float(expected.sum())
    return Profile(
        every=_by_rank(expected, rank, eligible),
        unlabelled=_by_rank(expected, rank, eligible & ~lists.relevant),
        relevant=_by_rank(expected, rank, eligible & lists.relevant),
        total=total / len(expected),
        relevant_share=float(expected[lists.relevant].sum()) / total if total else math.nan,
    )


def _by_rank(values: Tensor, rank: Tensor, chosen: Tensor) -> np.ndarray:
    """Mean of the chosen values at each rank, shape ``[n]``; nan where none is chosen. Ranks begin at 0."""
    size = values.shape[1]
    sums = np.bincount(rank[chosen].numpy(), weights=values[chosen].numpy(), minlength=size)
    counts = np.bincount(rank[chosen].numpy(), minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
