"""The learnable adapter that judges, query by query, whether a candidate is relevant."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from rrra_haystack.model.segments import Segments


class Outcome(IntEnum):
    """Relevant or not, times retrieved by the encoder or not: the classes of the outcome head."""

    TP = 0
    FN = 1
    FP = 2
    TN = 3


class AdapterParts(BaseModel):
    """
    Which parts of an adapter are on.

    :param hidden_dim: Width of the trunk.
    :param pooled_relation: Read [q-c, q*c, q+c] of the pooled embeddings.
    :param observed_context: Read how well the best-matching context token matches each query token.
    :param token_relation: Read the relation of each query token and its best-matching context token too.
    :param probes: Learned views of the query that scan every token of a candidate; 0 for no scan.
    :param contrast_weighting: Weight each query token by how well its match tells the candidates apart; see
        :func:`contrast_weights`.
    :param score_correction: Let the trunk add to the adapter score, not to the outcomes alone.
    :param residual: a = c + MLP(z) rather than a = MLP(z).
    :param context_initialisation: Begin with a = c, as published. Without the residual there is nothing to begin from.

    The form of arXiv 2508.11670 is ``observed_context=False``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_dim: int = Field(256, gt=0)
    pooled_relation: bool = True
    observed_context: bool = True
    token_relation: bool = False
    probes: int = Field(0, ge=0)
    contrast_weighting: bool = True
    score_correction: bool = True
    residual: bool = True
    context_initialisation: bool = True

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not (self.pooled_relation or self.observed_context):
            msg = "An adapter must read something: switch pooled_relation or observed_context on."
            raise ValueError(msg)
        if not self.observed_context and (self.token_relation or self.probes):
            msg = "token_relation and probes read the token states: switch observed_context on, or these off."
            raise ValueError(msg)
        return self


class AdapterConfig(AdapterParts):
    """
    The shape of an adapter, and which of its parts are on.

    :param pooled_dim: Dimensions d of the pooled embeddings.
    :param token_dim: Dimensions h of the projected token states.
    :param query_dim: Dimensions of the query's token states before projection, which nothing has to be stored of:
        weights and probes are read from them. `None` to read them from the projected ones.
    """

    pooled_dim: int = Field(gt=0)
    token_dim: int = Field(gt=0)
    query_dim: int | None = Field(None, gt=0)


class ContextTokens(Protocol):
    """The token states of the n candidates of a query, however they are stored."""

    @property
    def segments(self) -> Segments:
        """Which of the T tokens belong to which candidate."""

    @property
    def is_binary(self) -> bool:
        """Whether only the signs of the states are kept."""

    def similarity(self, vectors: Tensor) -> Tensor:
        """Cosines of v vectors of shape ``[v, h]`` with all tokens, shape ``[v, T]``."""

    def states_at(self, places: Tensor) -> Tensor:
        """States of length 1 at places among the T tokens, shape ``[*places.shape, h]``; 0 where a place is -1."""


@dataclass(frozen=True)
class StateTokens:
    """
    Token states that were not packed into codes.

    :param states: Shape ``[T, h]``, length 1.
    :param segments: Which of them belong to which candidate.
    :param is_binary: Whether only the signs of the states are kept.
    """

    states: Tensor
    segments: Segments
    is_binary: bool = False

    def similarity(self, vectors: Tensor) -> Tensor:
        """Cosines of vectors of length 1, shape ``[v, h]``, with all tokens, shape ``[v, T]``."""
        return vectors @ self.states.T

    def states_at(self, places: Tensor) -> Tensor:
        """States at places among the T tokens, shape ``[*places.shape, h]``; 0 where a place is -1."""
        padded = torch.cat([self.states, self.states.new_zeros((1, self.states.shape[1]))])
        return padded[places]


@dataclass(frozen=True)
class Observation:
    """
    What the adapter reads of one query and its n candidates.

    :param query: Pooled embedding of the query, shape ``[d]``.
    :param contexts: Pooled embeddings of the candidates, shape ``[n, d]``.
    :param query_tokens: Projected token states of the query, length 1, shape ``[m, h]``.
    :param tokens: Token states of the candidates.
    :param query_states: Token states of the query before projection, length 1, shape ``[m, query_dim]``; needed if the
        adapter has a `query_dim`.
    """

    query: Tensor
    contexts: Tensor
    query_tokens: Tensor
    tokens: ContextTokens
    query_states: Tensor | None = None


@dataclass(frozen=True)
class Judgement:
    """
    What the adapter says of the n candidates of one query.

    :param base: Encoder score, the cosine of query and context, shape ``[n]``.
    :param qa: QA score, cos(q, a), shape ``[n]``.
    :param ca: CA score, cos(a, c), shape ``[n]``.
    :param adapter: Adapter score, which reranking fuses with `base`, shape ``[n]``.
    :param outcomes: Logits of the outcomes in the order of :class:`Outcome`, shape ``[n, 4]``.
    :param corrected: Corrected embeddings a, shape ``[n, d]``; `None` if nothing was corrected.
    """

    base: Tensor
    qa: Tensor
    ca: Tensor
    adapter: Tensor
    outcomes: Tensor
    corrected: Tensor | None = None

    @property
    def relevance_logit(self) -> Tensor:
        """Log [P(TP) + P(FN)] - log [P(FP) + P(TN)], shape ``[n]``."""
        outcomes = self.outcomes.unbind(dim=1)
        relevant = torch.logaddexp(outcomes[Outcome.TP], outcomes[Outcome.FN])
        return relevant - torch.logaddexp(outcomes[Outcome.FP], outcomes[Outcome.TN])


class RelationAwareAdapter(nn.Module):
    """
    Reads the relations of a query and its candidates and judges each candidate.

    The adapter score is the token match, the coverage (how much of the query one stretch of the candidate matches), and
    what a :class:`Scan` of the candidate's tokens finds. The trunk reads the pooled relation z = [q-c, q*c, q+c]
    (arXiv 2508.11670) and these scores; it gives the corrected embedding a = c + MLP(z), the outcomes, and a correction
    of the adapter score. An adapter that was never trained corrects nothing: its score is the mean match of the query
    tokens, weighted by contrast (or, without observed context, the encoder's score).

    :param config: Shape and parts.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        if config.pooled_relation:
            self.pooled_relation = nn.Linear(3 * config.pooled_dim, config.hidden_dim)
        if config.token_relation:
            self.token_relation = nn.Linear(3 * config.token_dim, config.hidden_dim)
        if config.observed_context:
            self.token_weight = nn.Linear(config.query_dim or config.token_dim, 1)
        if config.probes:
            self.scan = Scan(config.query_dim or config.token_dim, config.token_dim, config.probes)
        scores = 1 + 2 * config.observed_context + bool(config.probes)
        self.trunk = nn.Sequential(nn.Linear(config.hidden_dim + 2 * scores, config.hidden_dim), nn.GELU())
        self.correction = nn.Linear(config.hidden_dim, config.pooled_dim)
        self.outcome_head = nn.Linear(config.hidden_dim, len(Outcome))
        if config.score_correction:
            self.score_head = nn.Linear(config.hidden_dim, 1)
        # Of match, QA score and coverage.
        self.score_mix = nn.Parameter(torch.tensor([1.0, 0.0, 0.0] if config.observed_context else [0.0, 1.0, 0.0]))
        silent: list[nn.Linear] = [self.outcome_head]
        if config.score_correction:
            silent.append(self.score_head)
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
        scores = [base]
        hidden = torch.zeros(len(contexts), config.hidden_dim, device=contexts.device, dtype=contexts.dtype)
        adapter = torch.zeros_like(base)
        if config.pooled_relation:
            hidden = hidden + relation_product(self.pooled_relation, query, contexts)
        if config.observed_context:
            found, relation = self._observe(observation, base)
            adapter = adapter + self.score_mix[0] * found[0] + self.score_mix[2] * found[1] + sum(found[2:])
            scores += found
            hidden = hidden + relation
        phi = self.trunk(torch.cat([nn.functional.gelu(hidden), *_beside_best(scores)], dim=1))
        corrected = self.correction(phi)
        if config.residual:
            corrected = contexts + corrected
        unit = nn.functional.normalize(corrected, dim=-1)
        qa, ca = unit @ query, (unit * contexts).sum(dim=1)
        adapter = adapter + self.score_mix[1] * qa
        if config.score_correction:
            adapter = adapter + self.score_head(phi)[:, 0]
        return Judgement(base=base, qa=qa, ca=ca, adapter=adapter, outcomes=self.outcome_head(phi), corrected=corrected)

    def _observe(self, observation: Observation, base: Tensor) -> tuple[list[Tensor], Tensor]:
        """Token match, coverage and scan, each of shape ``[n]``, and the token relation, ``[n, hidden_dim]`` or 0."""
        tokens, query_tokens = observation.tokens, observation.query_tokens
        segments = tokens.segments
        nothing = torch.zeros_like(base)
        scanning = bool(self.config.probes)
        if not len(query_tokens) or not len(base):
            return [nothing] * (2 + scanning), nothing[:, None]
        count = len(query_tokens)
        states = query_tokens if self.config.query_dim is None else observation.query_states
        assert states is not None
        vectors = torch.cat([query_tokens, self.scan.probes(states)]) if scanning else query_tokens
        similarity = tokens.similarity(vectors)
        per_token = segments.maximum(similarity[:count]).T
        weights = self.query_token_weights(states, per_token)
        # Where the query is covered is read, not learned: no gradient flows through the windows.
        with torch.no_grad():
            stretches = segments.stretches
            windows = segments.widest_of_three(segments.maximum_of_stretches(similarity[:count]))
            coverage = weights @ windows
        found = [per_token @ weights, segments.of_stretches.maximum(coverage[None])[0]]
        if scanning:
            near = coverage[stretches.owner]
            local = weights @ similarity[:count]
            kind = torch.full_like(near, float(tokens.is_binary))
            further = torch.stack([near, local, base[segments.owner], kind])
            found.append(self.scan(torch.cat([similarity[count:], further]), segments))
        relation = nothing[:, None]
        if self.config.token_relation:
            observed = tokens.states_at(places(similarity[:count].detach(), per_token.detach(), segments))
            product = relation_product(self.token_relation, query_tokens, observed)
            relation = torch.einsum("nmk,m->nk", nn.functional.gelu(product), weights)
        return found, relation

    def query_token_weights(self, query_states: Tensor, match: Tensor) -> Tensor:
        """
        How much each query token counts in the token match: a learned part times its contrast.

        :param query_states: The query's token states, shape ``[m, query_dim]`` or, without it, ``[m, token_dim]``.
        :param match: Shape ``[n, m]``.
        :returns: Shape ``[m]``; they sum to 1.
        """
        weights = self.token_weight(query_states).softmax(dim=0)[:, 0]
        if self.config.contrast_weighting:
            weights = weights * contrast_weights(match.detach())
        return weights / weights.sum()

    @property
    def is_silent(self) -> bool:
        """
        Whether the adapter score is the token match alone and the outcomes are even, as before any training.

        Reranking then needs neither the trunk nor the observed context.
        """
        if not self.config.observed_context or self.config.probes:
            return False
        heads = [self.outcome_head, *([self.score_head] if self.config.score_correction else [])]
        speaks = any(bool(parameter.any()) for head in heads for parameter in head.parameters())
        return self.score_mix.tolist() == [1.0, 0.0, 0.0] and not speaks


class Scan(nn.Module):
    """
    Looks through every token of a candidate for the place that answers the query.

    Probes are views of the query that are made to match what the query asks for rather than what it says. Each
    context token is scored from the probes that it matches, from the coverage of the query around it, and from its own
    match; a candidate's score is that of its best tokens, as a mean of exponentials: what one token says loudly counts,
    and the length of the text does not.

    :param query_dim: Dimensions of the query's token states.
    :param token_dim: Dimensions h of the candidates' projected token states.
    :param probes: Views of the query.
    """

    _SHARPNESS = 10.0
    # Differences of cosines are small numbers; the layer learns faster from larger ones.
    _SCALE = 4.0

    def __init__(self, query_dim: int, token_dim: int, probes: int) -> None:
        super().__init__()
        hidden = 2 * token_dim
        self.reading = nn.Linear(query_dim, hidden)
        self.attention = nn.Linear(query_dim, probes)
        self.start = nn.Parameter(torch.randn(probes, hidden) * 0.3)
        self.aim = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, token_dim))
        self.place = nn.ModuleList([nn.Linear(probes + 4, 32), nn.GELU(), nn.Linear(32, 1)])
        nn.init.normal_(self._layers[1].weight, std=0.01)
        nn.init.zeros_(self._layers[1].bias)

    @property
    def _layers(self) -> tuple[nn.Linear, nn.Linear]:
        first, _, last = self.place
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        return first, last

    def probes(self, query_states: Tensor) -> Tensor:
        """Views of the query, length 1, shape ``[probes, h]``, from its token states of shape ``[m, query_dim]``."""
        attention = self.attention(query_states).softmax(dim=0)
        read = attention.T @ self.reading(query_states) + self.start
        return nn.functional.normalize(self.aim(nn.functional.gelu(read)), dim=-1)

    def forward(self, features: Tensor, segments: Segments) -> Tensor:
        """
        Score candidates from features of their tokens.

        :param features: One row a feature, as the products come, shape ``[probes + 4, T]``.
        :param segments: Which tokens belong to which of the n candidates.
        :returns: Shape ``[n]``.
        """
        first, last = self._layers
        hidden = torch.addmm(first.bias[:, None], self._SCALE * first.weight, features)
        scores = (last.weight @ nn.functional.gelu(hidden) + last.bias)[0] * self._SHARPNESS
        # One shift for all candidates keeps the exponentials finite and cancels out.
        shift = scores.detach().max() if len(scores) else scores.new_zeros(())
        counts = torch.from_numpy(segments.lengths).to(scores).clamp_min(1)
        mean = segments.total((scores - shift).exp()) / counts
        return (mean.clamp_min(1e-30).log() + shift) / self._SHARPNESS


def _beside_best(scores: list[Tensor]) -> list[Tensor]:
    """Each score, and how far it lies below the best of its list, as columns; no gradient flows back to the scores."""
    columns = [score.detach()[:, None] for score in scores]
    return [part for column in columns for part in (column, column - column.amax(dim=0) if len(column) else column)]


def places(similarity: Tensor, best: Tensor, segments: Segments) -> Tensor:
    """
    Where the best-matching token of each candidate stands for each query token.

    :param similarity: Shape ``[m, T]``.
    :param best: Highest similarity of each candidate, shape ``[n, m]``.
    :param segments: Which tokens belong to which candidate.
    :returns: Places among the T tokens, shape ``[n, m]``; -1 where a candidate has no token.
    """
    owner = segments.owner.to(similarity.device)
    found = torch.full(best.shape, -1, dtype=torch.int64, device=best.device)
    query_token, token = (similarity == best.T[:, owner]).nonzero(as_tuple=True)
    # Of equals the first counts: what is written last stays.
    query_token, token = query_token.flip(0), token.flip(0)
    found[owner[token], query_token] = token
    return found


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
