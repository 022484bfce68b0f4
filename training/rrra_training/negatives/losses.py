"""Contrastive losses over the candidates of a query, some of which look negative and are not."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import softplus

from rrra_training.negatives.named import named


class Loss(BaseModel, ABC):
    """
    A loss, which is its own configuration.

    Where a query has several positives, each is compared with the negatives alone, never with the other positives, and
    the losses are averaged, if the loss does not say otherwise.

    :param temperature: What cosines are divided by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(0.05, gt=0)

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        """
        The mean loss of the queries, a scalar.

        :param scores: Cosines of each query and its m candidates, shape ``[b, m]``.
        :param labels: 1 positive, 0 negative or unlabelled, -1 left out; shape ``[b, m]``.
        :raises ValueError: If the shapes differ, a label is none of these or a query has no positive.
        """
        _check(scores, labels)
        # What is left out may be anything, even not a number.
        logits = scores.masked_fill(labels == -1, 0) / self.temperature
        return self._of_queries(logits, labels == 1, labels == 0).mean()

    @abstractmethod
    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of each query, shape ``[b]``."""


class InfoNCE(Loss):
    """Cross-entropy of the positive among the negatives (arXiv 1807.03748): log(1 + sum exp(n / t) / exp(p / t))."""

    name: Literal["infonce"] = "infonce"

    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return _mean(softplus(_log_sum(logits, negative)[:, None] - logits), positive)


class CCR(Loss):
    """
    Contrastive confidence regularisation (arXiv 2401.00165).

    InfoNCE less `beta` times the mean of -log p over the positive and all negatives, p being the softmax among them:
    what the authors released as the loss of the positive (``loss_my_cores_positive_v2`` of wangskyGit/passage-sieve).
    It rewards confidence, so that a negative that scores high is pushed less than the many that score low.

    :param beta: Weight of the regulariser, for which the loss has no lower bound. The release begins with 1, where it
        is linear in the scores. The default made an encoder worse within 100 steps.
    """

    name: Literal["ccr"] = "ccr"
    beta: float = Field(0.5, ge=0, le=1)

    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        infonce = softplus(_log_sum(logits, negative)[:, None] - logits)
        mean_logit = (logits + logits.where(negative, 0).sum(1, keepdim=True)) / (1 + negative.sum(1, keepdim=True))
        mean_surprise = infonce + logits - mean_logit
        return _mean(infonce - self.beta * mean_surprise, positive)


class PUCL(Loss):
    """
    Positive-unlabelled contrastive learning (arXiv 2401.08690): the negatives are unlabelled, and corrected.

    Under the paper's assumptions (one training set, of whose positives a share c was labelled, selected completely at
    random) the unlabelled are a mixture of alpha (1 - c) / (1 - alpha c) positives, and the rest negatives, so that
    E-[e] = ((1 - alpha c) E_u[e] - alpha (1 - c) E+[e]) / (1 - alpha), with e = exp(s / t). The loss is
    log(1 + N E-[e] / exp(p / t)), N unlabelled candidates. This follows from the assumptions and is not checked against
    the numbered equations of the paper. E- is at least exp(-1 / t), the least it can be, as in arXiv 2007.00224; there
    the negatives have no gradient. E+ is the mean over the query's positives.

    :param prior: alpha, the share of relevant ones among all candidates. With a low temperature it must be small: the
        default silences the negatives once the positive's cosine is 0.23 above theirs, 0.1 once it is 0.15 above.
    :param label_frequency: c; 1 is InfoNCE.
    """

    name: Literal["pucl"] = "pucl"
    prior: float = Field(0.02, gt=0, lt=1)
    label_frequency: float = Field(0.5, gt=0, le=1)

    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        unlabelled_part = (1 - self.prior * self.label_frequency) / (1 - self.prior)
        positive_part = self.prior * (1 - self.label_frequency) / (1 - self.prior)
        log_mean = _log_difference(
            _log_mean(logits, negative) + math.log(unlabelled_part),
            _log_mean(logits, positive) + (math.log(positive_part) if positive_part else -math.inf),
            at_least=-1 / self.temperature,
        )
        return _mean(softplus((negative.sum(1).log() + log_mean)[:, None] - logits), positive)


class CW(Loss):
    """
    Correct and weight (arXiv 2601.04291): negatives corrected for the positives among them, weighted by confidence.

    The form implemented here follows the paper's description, not its numbered equations: the loss is
    log(1 + N E-[e] / exp(p / t)) with E-[e] = (E_w[e] - prior E+[e]) / (1 - prior), at least exp(-1 / t). E_w is the
    mean over the N unlabelled candidates with weights proportional to sigmoid((p - s) / weight_temperature), p the mean
    cosine of the positives: a candidate that scores far below the positive is surely negative and weighs most, one that
    scores above it is perhaps a positive. The weights have no gradient. E+ is the mean over the query's positives.

    :param prior: Share of relevant ones among the unlabelled; see :class:`PUCL` for why it is small.
    :param weight_temperature: Difference of cosines over which confidence changes.
    """

    name: Literal["cw"] = "cw"
    prior: float = Field(0.01, ge=0, lt=1)
    weight_temperature: float = Field(0.1, gt=0)

    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        below = (_mean(logits, positive)[:, None] - logits) * (self.temperature / self.weight_temperature)
        log_weights = torch.nn.functional.logsigmoid(below).detach()
        log_mean = _log_difference(
            _log_sum(logits + log_weights, negative)
            - _log_sum(log_weights, negative, empty=0)
            - math.log1p(-self.prior),
            _log_mean(logits, positive) + (math.log(self.prior / (1 - self.prior)) if self.prior else -math.inf),
            at_least=-1 / self.temperature,
        )
        return _mean(softplus((negative.sum(1).log() + log_mean)[:, None] - logits), positive)


class PNE(Loss):
    """
    Positive-negative equal (arXiv 2207.01417): log(1 + mean exp(n / t) / mean exp(p / t)).

    From semantic segmentation, where as many positives as negatives are drawn, so that neither outweighs the other by
    number; means take the place of the draw. The release (jingw193/PNE_Loss) also weights positives by the confidence
    of a classifier, which there is none of here. All positives of a query are in one mean.
    """

    name: Literal["pne"] = "pne"

    def _of_queries(self, logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return softplus(_log_mean(logits, negative) - _log_mean(logits, positive))


AnyLoss = Annotated[
    InfoNCE | CCR | PUCL | CW | PNE,
    Field(discriminator="name"),
    named("loss", InfoNCE, CCR, PUCL, CW, PNE),
]


def _check(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape:  # noqa: PLR2004
        msg = f"scores and labels must be [b, m] alike, but are {list(scores.shape)} and {list(labels.shape)}."
        raise ValueError(msg)
    unknown = (labels != 1) & (labels != 0) & (labels != -1)
    if unknown.any():
        msg = f"labels must be 1 (positive), 0 (negative) or -1 (left out), but one is {labels[unknown][0].item()}."
        raise ValueError(msg)
    without = ~(labels == 1).any(dim=1)
    if without.any():
        msg = f"labels: query {int(without.nonzero()[0])} of {len(labels)} has no positive: leave it out of the batch."
        raise ValueError(msg)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.where(mask, 0).sum(1) / mask.sum(1)


def _log_sum(logits: Tensor, mask: Tensor, *, empty: float = -math.inf) -> Tensor:
    """Log of the sum of exponentials over the mask of each row; `empty` where there is none."""
    some = mask.any(dim=1)
    # The gradient of a sum over nothing is not a number: take the sum over something, and do not use it.
    kept = logits.masked_fill(~mask & some[:, None], -math.inf)
    return torch.logsumexp(kept, dim=1).where(some, empty)


def _log_mean(logits: Tensor, mask: Tensor) -> Tensor:
    return _log_sum(logits, mask) - mask.sum(1).clamp_min(1).log()


def _log_difference(larger: Tensor, smaller: Tensor, *, at_least: float) -> Tensor:
    """log(exp(larger) - exp(smaller)), or `at_least` where this is lower or does not exist."""
    exists = larger > smaller
    # Both branches of a choice are differentiated: the one that is not taken must be finite as well.
    gap = (smaller - larger).where(exists, -1.0)
    difference = larger.where(exists, 0.0) + torch.log(-torch.expm1(gap))
    return difference.where(exists, at_least).clamp_min(at_least)
