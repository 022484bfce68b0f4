"""The losses that an adapter is trained by."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import Judgement, Observation, Outcome
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.recipe.settings import AdapterTraining

# A target above this speaks for relevance.
_LIKELY = 0.5


@dataclass(frozen=True)
class ListLabels:
    """
    What the loss knows of a list of n candidates, the first of which is the labelled positive.

    :param target: Probability that each is relevant, shape ``[n]``.
    :param known: Whether evidence says so, shape ``[n]``.
    :param retrieved: Whether the encoder retrieves it, shape ``[n]``.
    """

    target: Tensor
    known: Tensor
    retrieved: Tensor


@dataclass(frozen=True)
class AdapterLoss:
    """
    The loss of a list: the weighted sum of a listwise ranking loss, the loss of the outcomes and linear normalisation.

    :param config: Which losses there are, and their weights.
    :param prior: Share of relevant candidates among those without evidence.
    :param class_weights: Weight of each outcome, shape ``[4]``.
    """

    config: AdapterTraining
    prior: float
    class_weights: Tensor

    def of_list(self, learner: AdapterLearner, observation: Observation, labels: ListLabels) -> dict[str, Tensor]:
        """
        The loss of one list as ``loss``, and its parts before they are weighted.

        :param learner: The adapter.
        :param observation: What it sees.
        :param labels: What is known of the list.
        """
        config, judgement = self.config, learner.adapter(observation)
        ranking = listwise_loss(judgement.adapter * learner.log_scale.exp(), labels.target)
        outcome = self._of_outcomes(judgement, labels)
        normalisation = judgement.adapter.new_zeros(())
        if config.normalisation_weight and judgement.corrected is not None:
            query = nn.functional.normalize(observation.query, dim=-1)
            contexts = nn.functional.normalize(observation.contexts, dim=-1)
            normalisation = linear_normalisation_loss(judgement.corrected, query, contexts)
        loss = (
            config.ranking_weight * ranking
            + config.outcome_weight * outcome
            + config.normalisation_weight * normalisation
        )
        return {"loss": loss, "ranking": ranking, "outcome": outcome, "normalisation": normalisation}

    def _of_outcomes(self, judgement: Judgement, labels: ListLabels) -> Tensor:
        target, known = labels.target, labels.known
        if self.config.unlabelled == "pu":
            return non_negative_pu_risk(judgement.relevance_logit, target, known, self.prior)
        soft = torch.where(known, target, 0.0) if self.config.unlabelled == "negative" else target
        return outcome_loss(judgement.outcomes, soft, labels.retrieved, self.class_weights)


def listwise_loss(scores: Tensor, target: Tensor) -> Tensor:
    """
    Negative log-likelihood of the labelled positive in its list (ListNet with one relevant item), the mean over lists.

    Another candidate counts with the probability that it is irrelevant: a known positive is no negative.

    :param scores: Scaled scores, shape ``[n]`` or ``[B, n]``; the first of a list is that of the labelled positive.
    :param target: Probability that each candidate is relevant, of the same shape.
    """
    # Of a known positive nothing is left, however large the scale.
    log_weights = (1 - target).clamp_min(0).log()
    log_weights = torch.cat([torch.zeros_like(log_weights[..., :1]), log_weights[..., 1:]], dim=-1)
    return (torch.logsumexp(scores + log_weights, dim=-1) - scores[..., 0]).mean()


def outcome_loss(outcomes: Tensor, target: Tensor, retrieved: Tensor, class_weights: Tensor) -> Tensor:
    """
    Cross-entropy of the four outcomes, weighted by class (arXiv 2508.11670), with soft relevance.

    :param outcomes: Logits, shape ``[n, 4]``.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    :param retrieved: Whether the encoder retrieves it, shape ``[n]``.
    :param class_weights: Shape ``[4]``.
    """
    wanted = outcome_targets(target, retrieved)
    return -(wanted * class_weights * outcomes.log_softmax(dim=1)).sum(dim=1).mean()


def outcome_targets(target: Tensor, retrieved: Tensor) -> Tensor:
    """Probability of each :class:`Outcome`, shape ``[n, 4]``: relevant or not, times retrieved or not."""
    inside = retrieved.to(target)
    columns = {
        Outcome.TP: target * inside,
        Outcome.FN: target * (1 - inside),
        Outcome.FP: (1 - target) * inside,
        Outcome.TN: (1 - target) * (1 - inside),
    }
    return torch.stack([columns[outcome] for outcome in Outcome], dim=1)


def non_negative_pu_risk(logit: Tensor, target: Tensor, known: Tensor, prior: float) -> Tensor:
    """
    Risk of a relevance classifier from positive and unlabelled candidates (arXiv 1703.00593, eq. 6).

    ``prior * R_p(+) + max(0, R_u(-) - prior * R_p(-))`` with the logistic loss.

    :param logit: Log-odds of relevance, shape ``[n]``.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    :param known: Whether evidence says so, shape ``[n]``; known candidates with a target above 1/2 are the positives.
    :param prior: Share of relevant ones among the unlabelled.
    """
    positive, unlabelled = known & (target > _LIKELY), ~known
    nothing = logit.new_zeros(())
    accept, reject = nn.functional.softplus(-logit), nn.functional.softplus(logit)
    as_positive = accept[positive].mean() if positive.any() else nothing
    wrongly = reject[positive].mean() if positive.any() else nothing
    rejected = reject[unlabelled].mean() if unlabelled.any() else nothing
    return prior * as_positive + (rejected - prior * wrongly).clamp_min(0)


def linear_normalisation_loss(corrected: Tensor, query: Tensor, context: Tensor) -> Tensor:
    """
    Squared distance of the corrected embeddings from the segment between query and context (arXiv 2508.11670).

    The mean over the candidates of min over alpha in [0, 1] of ``|a - (alpha q + (1 - alpha) c)|^2``; the minimum has
    the closed form alpha = (a - c).(q - c) / |q - c|^2, clipped.

    :param corrected: Corrected embeddings a, shape ``[n, d]``.
    :param query: Shape ``[d]`` or ``[n, d]``.
    :param context: Shape ``[n, d]``.
    """
    direction = query - context
    alpha = ((corrected - context) * direction).sum(-1) / direction.square().sum(-1).clamp_min(1e-12)
    nearest = context + alpha.clamp(0, 1)[..., None] * direction
    return (corrected - nearest).square().sum(-1).mean()
