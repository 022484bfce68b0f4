"""The learnable adapter that judges, query by query, whether a candidate is relevant."""

from dataclasses import dataclass
from enum import IntEnum

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn


class Outcome(IntEnum):
    """Relevant or not, times retrieved by the encoder or not: the classes of the outcome head."""

    TP = 0
    FN = 1
    FP = 2
    TN = 3


class AdapterConfig(BaseModel):
    """
    The shape of an adapter, and which of its parts are on.

    :param pooled_dim: Dimensions d of the pooled embeddings.
    :param token_dim: Dimensions h of the projected token states.
    :param hidden_dim: Width of the trunk.
    :param pooled_relation: Read [q-c, q*c, q+c] of the pooled embeddings.
    :param observed_context: Read each query token beside its best-matching context token, and the match scores.
    :param contrast_weighting: Weight each query token by how well its match tells the candidates apart; see
        :func:`contrast_weights`.
    :param residual: a = c + MLP(z) rather than a = MLP(z).
    :param context_initialisation: Begin with a = c, as published. Without the residual there is nothing to begin from.

    The form of arXiv 2508.11670 is ``observed_context=False``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pooled_dim: int = Field(gt=0)
    token_dim: int = Field(gt=0)
    hidden_dim: int = Field(256, gt=0)
    pooled_relation: bool = True
    observed_context: bool = True
    contrast_weighting: bool = True
    residual: bool = True
    context_initialisation: bool = True

    @model_validator(mode="after")
    def _reads_something(self) -> "AdapterConfig":
        if not (self.pooled_relation or self.observed_context):
            msg = "An adapter must read something: switch pooled_relation or observed_context on."
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class Observation:
    """
    What the adapter reads of one query and its n candidates.

    :param query: Pooled embedding of the query, shape ``[d]``.
    :param contexts: Pooled embeddings of the candidates, shape ``[n, d]``.
    :param query_tokens: Projected token states of the query, length 1, shape ``[m, h]``.
    :param match: Score of the best-matching context token of each query token, shape ``[n, m]``.
    :param observed: Observed context: these best-matching context tokens, length 1, shape ``[n, m, h]``.
    """

    query: Tensor
    contexts: Tensor
    query_tokens: Tensor
    match: Tensor
    observed: Tensor


@dataclass(frozen=True)
class Judgement:
    """
    What the adapter says of the n candidates of one query.

    :param base: Encoder score, the cosine of query and context, shape ``[n]``.
    :param qa: QA score, cos(q, a), shape ``[n]``.
    :param ca: CA score, cos(a, c), shape ``[n]``.
    :param adapter: Adapter score, which reranking fuses with `base`, shape ``[n]``.
    :param outcomes: Logits of the outcomes in the order of :class:`Outcome`, shape ``[n, 4]``.
    """

    base: Tensor
    qa: Tensor
    ca: Tensor
    adapter: Tensor
    outcomes: Tensor

    @property
    def relevance_logit(self) -> Tensor:
        """Log [P(TP) + P(FN)] - log [P(FP) + P(TN)], shape ``[n]``."""
        relevant = torch.logsumexp(self.outcomes[:, [Outcome.TP, Outcome.FN]], dim=1)
        irrelevant = torch.logsumexp(self.outcomes[:, [Outcome.FP, Outcome.TN]], dim=1)
        return relevant - irrelevant


class RelationAwareAdapter(nn.Module):
    """
    Reads the relations of a query and its candidates and judges each candidate.

    Pooled relation z = [q-c, q*c, q+c] (arXiv 2508.11670); the same of each query token and its observed context,
    averaged over the query; both through one trunk. The trunk gives the corrected embedding a = c + MLP(z), the
    outcomes, and a correction of the adapter score. An adapter that was never trained corrects nothing: its score is
    the mean match of the query tokens, weighted by contrast (or, without observed context, the encoder's score).

    :param config: Shape and parts.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        if config.pooled_relation:
            self.pooled_relation = nn.Linear(3 * config.pooled_dim, config.hidden_dim)
        if config.observed_context:
            self.token_relation = nn.Linear(3 * config.token_dim, config.hidden_dim)
            self.token_weight = nn.Linear(config.token_dim, 1)
        features = 2 if config.observed_context else 1
        self.trunk = nn.Sequential(nn.Linear(config.hidden_dim + features, config.hidden_dim), nn.GELU())
        self.correction = nn.Linear(config.hidden_dim, config.pooled_dim)
        self.outcome_head = nn.Linear(config.hidden_dim, len(Outcome))
        self.score_head = nn.Linear(config.hidden_dim, 1)
        self.score_mix = nn.Parameter(torch.tensor([1.0, 0.0] if config.observed_context else [0.0, 1.0]))
        silent: list[nn.Linear] = [self.outcome_head, self.score_head]
        if config.context_initialisation and config.residual:
            silent.append(self.correction)
        if config.observed_context:
            silent.append(self.token_weight)
        for layer in silent:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, observation: Observation) -> Judgement:
        """Judge the candidates of one query."""
        config = self.config
        query = nn.functional.normalize(observation.query, dim=-1)
        contexts = nn.functional.normalize(observation.contexts, dim=-1)
        base = contexts @ query
        features = [base[:, None]]
        hidden = torch.zeros(len(contexts), config.hidden_dim, device=contexts.device, dtype=contexts.dtype)
        match = torch.zeros_like(base)
        if config.pooled_relation:
            hidden = hidden + relation_product(self.pooled_relation, query, contexts)
        if config.observed_context and len(observation.query_tokens):
            weights = self.query_token_weights(observation.query_tokens, observation.match)
            match = observation.match @ weights
            relation = relation_product(self.token_relation, observation.query_tokens, observation.observed)
            hidden = hidden + torch.einsum("nmk,m->nk", nn.functional.gelu(relation), weights)
        if config.observed_context:
            features.append(match[:, None])
        phi = self.trunk(torch.cat([nn.functional.gelu(hidden), *features], dim=1))
        corrected = self.correction(phi)
        if config.residual:
            corrected = contexts + corrected
        unit = nn.functional.normalize(corrected, dim=-1)
        qa, ca = unit @ query, (unit * contexts).sum(dim=1)
        adapter = self.score_mix[0] * match + self.score_mix[1] * qa + self.score_head(phi)[:, 0]
        return Judgement(base=base, qa=qa, ca=ca, adapter=adapter, outcomes=self.outcome_head(phi))

    def query_token_weights(self, query_tokens: Tensor, match: Tensor) -> Tensor:
        """
        How much each query token counts in the token match: a learned part times its contrast.

        :param query_tokens: Shape ``[m, h]``.
        :param match: Shape ``[n, m]``.
        :returns: Shape ``[m]``; they sum to 1.
        """
        weights = self.token_weight(query_tokens).softmax(dim=0)[:, 0]
        if self.config.contrast_weighting:
            weights = weights * contrast_weights(match)
        return weights / weights.sum()

    @property
    def is_silent(self) -> bool:
        """
        Whether the adapter score is the token match alone and the outcomes are even, as before any training.

        Reranking then needs neither the trunk nor the observed context.
        """
        if not self.config.observed_context:
            return False
        return self.score_mix.tolist() == [1.0, 0.0] and not any(
            parameter.any() for head in (self.score_head, self.outcome_head) for parameter in head.parameters()
        )


def contrast_weights(match: Tensor) -> Tensor:
    """
    How well the match of each query token tells the candidates apart.

    The square root of how far its best candidate stands above the mean candidate. A token that every candidate
    matches equally ("what", or the topic that all share) says nothing about their order. Chosen on dev splits against
    other powers and measures of spread; ``docs/untrained.md`` has the table.

    :param match: Score of the best-matching context token of each query token, shape ``[n, m]``.
    :returns: Shape ``[m]``; they sum to 1, and are equal if no token tells the candidates apart.
    """
    if len(match) == 0:
        return torch.full((match.shape[1],), 1 / max(match.shape[1], 1), dtype=match.dtype, device=match.device)
    contrast = (match.amax(dim=0) - match.mean(dim=0)).clamp_min(1e-6).sqrt()
    return contrast / contrast.sum()


def relation_product(layer: nn.Linear, query: Tensor, context: Tensor) -> Tensor:
    """
    ``layer([q-c, q*c, q+c])`` without forming the relation.

    With W = [W1|W2|W3], W z = (W1+W3) q + ((W3-W1) + W2 * q) c. The product with the query part is made once a query
    (or query token); the context is read once rather than three times.

    :param layer: Linear layer from ``3 * d`` to k dimensions.
    :param query: Shape ``[d]``, or ``[m, d]`` for m query tokens.
    :param context: Shape ``[n, d]``, or ``[n, m, d]``.
    :returns: Shape ``[n, k]``, or ``[n, m, k]``.
    """
    difference, product, total = layer.weight.chunk(3, dim=1)
    constant = nn.functional.linear(query, difference + total, layer.bias)
    if query.ndim == 1:
        return constant + context @ (total - difference + product * query).T
    # One matrix a query token would be larger than the relation itself; two products are the cheaper exact form.
    return constant + context @ (total - difference).T + (context * query) @ product.T


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
