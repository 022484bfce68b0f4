"""False negatives estimated by two normal distributions."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rrra_training.negatives.sampler import Candidates, Sampler

# A spread of scores smaller than a hundredth of a cosine is too few queries, not knowledge.
_LEAST_DEVIATION = 0.01


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

    # One score has no spread.
    least_queries: ClassVar[int] = 2

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
        if len(positives) < self.least_queries or len(negatives) == 0:
            msg = (
                f"The sampler 'fne' estimates how the scores of positives and of candidates are spread, but got "
                f"{len(positives)} queries with {len(negatives)} eligible candidates: pass more queries at a time."
            )
            raise ValueError(msg)
        at = candidates.scores.double().clamp_min(negatives.mean())
        odds = _log_normal(at, positives) - _log_normal(at, negatives)
        return torch.sigmoid(odds + torch.logit(torch.tensor(self.prior, dtype=torch.float64, device=at.device)))


def _log_normal(at: Tensor, sample: Tensor) -> Tensor:
    """Log density of the normal distribution fitted to a sample, but for a constant."""
    deviation = sample.std(correction=0).clamp_min(_LEAST_DEVIATION)
    return -0.5 * ((at - sample.mean()) / deviation) ** 2 - deviation.log()
