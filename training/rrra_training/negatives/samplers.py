"""Which mined candidates become negatives: samplers that weight the candidates of a query."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from rrra_haystack.model.scoring import resampling_score
from rrra_training.negatives.fne import FNE
from rrra_training.negatives.named import named
from rrra_training.negatives.sampler import Candidates, Sampler


class Random(Sampler):
    """Every candidate alike."""

    name: Literal["random"] = "random"

    def _raw(self, candidates: Candidates) -> Tensor:
        return torch.ones_like(candidates.scores)


class TopK(Sampler):
    """
    The hardest candidates alike, the others never: the negatives of ANCE (arXiv 2007.00808), which draws from the top
    200 of the latest encoder.

    :param k: How many of the eligible candidates.
    """

    name: Literal["top-k"] = "top-k"
    k: int = Field(10, gt=0)

    def _raw(self, candidates: Candidates) -> Tensor:
        return _first(candidates.eligible, self.k)


class SimANS(Sampler):
    """
    Ambiguous negatives, near the positive's score (SimANS, arXiv 2210.11773).

    ``squared`` is the formula of the paper, exp(-a (s - s_pos - b)^2), which the released code uses on Natural
    Questions and TriviaQA; ``absolute`` is exp(-a |s - s_pos - b|), which it uses on MS MARCO with a = 3 and b = 0. The
    scores there are dot products of vectors of any length. Cosines of hard negatives differ by 0.05 to 0.1 only, so the
    defaults here are another scale: the weight falls to 1/e at 0.1 from its peak, which lies 0.05 below the positive.

    :param form: See above.
    :param a: Sharpness; `None` is 100 for ``squared`` and 10 for ``absolute``.
    :param b: Where the peak lies, from the positive's score on. The sign is the paper's; the released code adds b where
        the paper subtracts it.
    """

    name: Literal["simans"] = "simans"
    form: Literal["squared", "absolute"] = "squared"
    a: float | None = Field(None, gt=0)
    b: float = -0.05

    def _raw(self, candidates: Candidates) -> Tensor:
        distance = (candidates.scores.double() - candidates.positive_scores[:, None] - self.b).abs()
        if self.form == "absolute":
            return torch.exp(-(self.a or 10.0) * distance)
        return torch.exp(-(self.a or 100.0) * distance**2)


class TriSampler(Sampler):
    """
    The quasi-triangular principle (TriSampler, arXiv 2402.11855): negatives in the region between query and positive.

    The paper's two distributions, exp(-(s - s_pos)^2 / 4), which chooses candidates, and ReLU(cos(positive, candidate)
    - s), which draws among them, are multiplied here. The second leaves out what is nearer to the query than to the
    positive. The bound of 60 degrees on the difference of the angles from query to positive and to negative, by which
    the paper motivates them, is not checked apart.

    :param sharpness: The factor before the square. The paper's is 1/4, which is flat on cosines; the default falls to
        1/e at 0.1.
    """

    name: Literal["trisampler"] = "trisampler"
    sharpness: float = Field(100.0, gt=0)

    def _raw(self, candidates: Candidates) -> Tensor:
        similarity = _needed(candidates.positive_similarity, "positive_similarity", self.name)
        near = torch.exp(-self.sharpness * (candidates.scores.double() - candidates.positive_scores[:, None]) ** 2)
        return near * (similarity - candidates.scores).clamp_min(0)


class MarginPos(Sampler):
    """
    The hardest candidates that score at least a margin less than the positive: TopK-MarginPos of NV-Retriever (arXiv
    2407.15831).

    :param margin: Cosine.
    :param k: How many of them.
    """

    name: Literal["margin-pos"] = "margin-pos"
    margin: float = Field(0.05, ge=0)
    k: int = Field(10, gt=0)

    def _raw(self, candidates: Candidates) -> Tensor:
        threshold = candidates.positive_scores - self.margin
        return _first(candidates.eligible & (candidates.scores <= threshold[:, None]), self.k)


class PercPos(Sampler):
    """
    The hardest candidates that score at most a share of the positive's score: TopK-PercPos of NV-Retriever (arXiv
    2407.15831).

    Of a negative score, which the paper does not speak of, the threshold lies below by the same distance as of a
    positive one.

    :param share: Of the positive's score.
    :param k: How many of them.
    """

    name: Literal["perc-pos"] = "perc-pos"
    share: float = Field(0.95, gt=0, le=1)
    k: int = Field(10, gt=0)

    def _raw(self, candidates: Candidates) -> Tensor:
        positive = candidates.positive_scores
        threshold = positive - (1 - self.share) * positive.abs()
        return _first(candidates.eligible & (candidates.scores <= threshold[:, None]), self.k)


class RRRA(Sampler):
    """
    The resampling score s_HN (1 - s_FN)^gamma (arXiv 2508.11670), s_FN from the adapter.

    :param gamma: How strongly probable false negatives are avoided; 0 ignores them.
    :param hardness: What s_HN is: ``score``, a softmax over the scores of the row, or the weight of another sampler.
    :param temperature: Of the softmax.
    :param simans: Used if the hardness is ``simans``.
    :param top_k: Used if the hardness is ``top-k``.
    """

    name: Literal["rrra"] = "rrra"
    gamma: float = Field(1.0, ge=0)
    hardness: Literal["score", "simans", "top-k"] = "score"
    temperature: float = Field(0.05, gt=0)
    simans: SimANS = SimANS()
    top_k: TopK = TopK()

    def _raw(self, candidates: Candidates) -> Tensor:
        false_negative = _needed(candidates.false_negative, "false_negative", self.name)
        return resampling_score(self._hardness(candidates), false_negative.double(), self.gamma)

    def _hardness(self, candidates: Candidates) -> Tensor:
        if self.hardness == "simans":
            return self.simans.weights(candidates)
        if self.hardness == "top-k":
            return self.top_k.weights(candidates)
        logits = candidates.scores.double() / self.temperature
        return torch.softmax(logits.masked_fill(~candidates.eligible, -torch.inf), dim=1)


AnySampler = Annotated[
    Random | TopK | SimANS | TriSampler | MarginPos | PercPos | FNE | RRRA,
    Field(discriminator="name"),
    named("sampler", Random, TopK, SimANS, TriSampler, MarginPos, PercPos, FNE, RRRA),
]


def _first(among: Tensor, k: int) -> Tensor:
    """1 for the first k of each row that are among the chosen, else 0."""
    return among & (among.cumsum(dim=1) <= k)


def _needed(value: Tensor | None, field: str, sampler: str) -> Tensor:
    """A field of the candidates that a sampler cannot do without."""
    if value is None:
        msg = f"The sampler '{sampler}' reads Candidates.{field}, which is not set: set it, or take another sampler."
        raise ValueError(msg)
    return value
