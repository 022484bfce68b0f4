"""Which mined candidates become negatives: samplers that weight the candidates of a query, and the draw by weight."""

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from rrra_haystack.model.scoring import resampling_score

# Below every key of a draw by weight: log weights of float64 end at -745, and Gumbel noise adds little to them.
_FILL = -1e6

# A spread of scores smaller than a hundredth of a cosine is too few queries, not knowledge.
_LEAST_DEVIATION = 0.01


@dataclass(frozen=True)
class Candidates:
    """
    Mined candidates of b queries, n each.

    :param scores: Encoder scores (cosines), descending by row, shape ``[b, n]``; anything where not eligible.
    :param positive_scores: Encoder score of the labelled positive of each query, shape ``[b]``.
    :param eligible: Which candidates may be drawn: neither padding nor labelled relevant, shape ``[b, n]``, bool.
    :param positive_similarity: Cosine of candidate and labelled positive, shape ``[b, n]``.
    :param false_negative: The adapter's probability that the candidate is in truth relevant, shape ``[b, n]``.
    """

    scores: Tensor
    positive_scores: Tensor
    eligible: Tensor
    positive_similarity: Tensor | None = None
    false_negative: Tensor | None = None


class Sampler(BaseModel, ABC):
    """A way of weighting candidates, which is its own configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def weights(self, candidates: Candidates) -> Tensor:
        """
        How readily each candidate is drawn, compared with the others of its row.

        :param candidates: The candidates.
        :returns: Shape ``[b, n]``, float64, >= 0, and 0 where not eligible.
        :raises ValueError: If the sampler reads a field of the candidates that is not set.
        """
        # Double: the weight of a far candidate must become small, not 0.
        return self._raw(candidates).double().where(candidates.eligible, 0.0)

    @abstractmethod
    def _raw(self, candidates: Candidates) -> Tensor:
        """The weights of eligible candidates; anything elsewhere."""


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
        similarity = _need(candidates.positive_similarity, "positive_similarity", self.name)
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


class FNE(Sampler):
    """
    False-negative elimination (arXiv 2308.04380): the less probable that a candidate is relevant, the more it weighs.

    Bayes' rule: p = prior N+ / (prior N+ + (1 - prior) N-), where N+ and N- are normal densities at the candidate's
    score, fitted to the scores of the labelled positives and of the eligible candidates. The weight is
    exp(-sharpness p), and 0 for candidates that score at least `margin` less than the mean positive (the paper's
    cut-down of easy negatives).

    The released code (LuminosityX/FNE) differs. It keeps running means and deviations, those of negatives from the
    hardest one of each query; here they are of the positives and candidates of this call: pass many queries. Its
    sharpness, 0.5, weights even a certain false negative only down to 0.6. Where p <= 0.001 it weights
    exp(-0.5 (s - s_pos)^2), which on cosines is near 1. And here scores below the mean of the candidates count as this
    mean: the scores of positives spread more, so that the easiest candidates would else look like positives.

    :param prior: Share of relevant ones among the candidates. The release's is 1/10,000, of a buffer of any passages;
        of the hundred that an encoder ranks highest, a few percent are relevant.
    :param sharpness: How strongly probable false negatives are avoided.
    :param margin: See above; `None` keeps the easy ones.
    """

    name: Literal["fne"] = "fne"
    prior: float = Field(0.05, gt=0, lt=1)
    sharpness: float = Field(10.0, gt=0)
    margin: float | None = Field(0.3, ge=0)

    def _raw(self, candidates: Candidates) -> Tensor:
        scores, positives = candidates.scores.double(), candidates.positive_scores.double()
        weights = torch.exp(-self.sharpness * self.false_negative(candidates))
        if self.margin is None:
            return weights
        return weights * (scores > positives.mean() - self.margin)

    def false_negative(self, candidates: Candidates) -> Tensor:
        """
        Probability that each candidate is relevant, shape ``[b, n]``.

        :raises ValueError: If there are fewer than two queries, or nothing is eligible.
        """
        positives = candidates.positive_scores.double()
        negatives = candidates.scores[candidates.eligible].double()
        if len(positives) < 2 or len(negatives) == 0:  # noqa: PLR2004
            msg = (
                f"The sampler 'fne' estimates how the scores of positives and of candidates are spread, but got "
                f"{len(positives)} queries with {len(negatives)} eligible candidates: pass more queries at a time."
            )
            raise ValueError(msg)
        at = candidates.scores.double().clamp_min(negatives.mean())
        odds = _log_normal(at, positives) - _log_normal(at, negatives)
        return torch.sigmoid(odds + torch.logit(torch.tensor(self.prior, dtype=torch.float64, device=at.device)))


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
        false_negative = _need(candidates.false_negative, "false_negative", self.name)
        return resampling_score(self._hardness(candidates), false_negative.double(), self.gamma)

    def _hardness(self, candidates: Candidates) -> Tensor:
        if self.hardness == "simans":
            return self.simans.weights(candidates)
        if self.hardness == "top-k":
            return self.top_k.weights(candidates)
        logits = candidates.scores.double() / self.temperature
        return torch.softmax(logits.masked_fill(~candidates.eligible, -torch.inf), dim=1)


def named(kind: str, *models: type[BaseModel]) -> BeforeValidator:
    """
    Let a field of several models, told apart by `name`, also take the bare name of one.

    :param kind: What the models are, for the error of an unknown name.
    :param models: The models.
    """
    known = [str(model.model_fields["name"].default) for model in models]

    def spelt_out(value: Any) -> Any:
        spelt = {"name": value} if isinstance(value, str) else value
        if isinstance(spelt, dict) and "name" in spelt and spelt["name"] not in known:
            near = difflib.get_close_matches(str(spelt["name"]), known, n=1, cutoff=0)[0]
            msg = f"unknown {kind} '{spelt['name']}'; the nearest known one is '{near}' (known: {', '.join(known)})"
            raise ValueError(msg)
        return spelt

    return BeforeValidator(spelt_out)


AnySampler = Annotated[
    Random | TopK | SimANS | TriSampler | MarginPos | PercPos | FNE | RRRA,
    Field(discriminator="name"),
    named("sampler", Random, TopK, SimANS, TriSampler, MarginPos, PercPos, FNE, RRRA),
]


def draw(weights: Tensor, count: int, *, eligible: Tensor, generator: torch.Generator) -> Tensor:
    """
    Draw candidates of each row without replacement, one after the other with probability proportional to weight.

    All rows at once: the `count` largest sums of log weight and Gumbel noise (Gumbel top-k, arXiv 1903.06059). A row
    with fewer positive weights than `count` is filled up with its other eligible candidates from the end, the easiest
    first: what a sampler refused is most often too near the positive. A row with fewer eligible candidates than
    `count` ends in -1; label these -1 for the loss.

    :param weights: Shape ``[b, n]``, >= 0; on the generator's device.
    :param count: How many of each row.
    :param eligible: Which candidates may be drawn at all, shape ``[b, n]``, bool.
    :param generator: Source of randomness.
    :returns: Indices into the rows, in the order of the draw, shape ``[b, count]``, int64.
    :raises ValueError: If a weight is negative or not a finite number.
    """
    wrong = eligible & ~((weights >= 0) & weights.isfinite())
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        msg = f"weights must be finite numbers >= 0, but row {row} has {weights[row, column].item()} at {column}."
        raise ValueError(msg)
    rows, n = weights.shape
    uniform = torch.rand((rows, n), generator=generator, dtype=torch.float64, device=weights.device)
    noise = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    fill = torch.arange(n, dtype=torch.float64, device=weights.device) + _FILL
    keys = torch.where(weights > 0, weights.double().log() + noise, fill).masked_fill(~eligible, -torch.inf)
    best, indices = keys.topk(min(count, n), dim=1)
    drawn = indices.masked_fill(best.isneginf(), -1)
    return torch.nn.functional.pad(drawn, (0, count - drawn.shape[1]), value=-1)


def first_draw_probabilities(weights: Tensor, eligible: Tensor) -> Tensor:
    """
    How probably :func:`draw` takes each candidate first.

    :param weights: Shape ``[b, n]``, float64, >= 0.
    :param eligible: Which candidates may be drawn at all, shape ``[b, n]``, bool.
    :returns: Shape ``[b, n]``, float64; rows sum to 1, or to 0 where nothing is eligible.
    """
    # Of a list that the sampler refuses as a whole, the easiest candidate is taken.
    easiest = eligible & (eligible.cumsum(dim=1) == eligible.sum(dim=1, keepdim=True))
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, easiest.double())
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


def _first(among: Tensor, k: int) -> Tensor:
    """1 for the first k of each row that are among the chosen, else 0."""
    return among & (among.cumsum(dim=1) <= k)


def _log_normal(at: Tensor, sample: Tensor) -> Tensor:
    """Log density of the normal distribution fitted to a sample, but for a constant."""
    deviation = sample.std(correction=0).clamp_min(_LEAST_DEVIATION)
    return -0.5 * ((at - sample.mean()) / deviation) ** 2 - deviation.log()


def _need(value: Tensor | None, field: str, sampler: str) -> Tensor:
    if value is None:
        msg = f"The sampler '{sampler}' reads Candidates.{field}, which is not set: set it, or take another sampler."
        raise ValueError(msg)
    return value
