"""The learnable adapter that judges, query by query, whether a candidate is relevant."""

import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import Judgement, Matching, Observation, Outcome
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.adapter.relations import contrast_weights, places, relation_product
from rrra_haystack.model.adapter.scan import Scan


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
            self.token_weight = nn.Linear(config.reading_dim, 1)
        if config.probes:
            self.scan = Scan(config.reading_dim, config.token_dim, config.probes)
        scores = 1 + 2 * config.observed_context + bool(config.probes)
        self.trunk = nn.Sequential(nn.Linear(config.hidden_dim + 2 * scores, config.hidden_dim), nn.GELU())
        if config.pooled_dim:
            self.correction = nn.Linear(config.hidden_dim, config.pooled_dim)
        self.outcome_head = nn.Linear(config.hidden_dim, len(Outcome))
        if config.score_correction:
            self.score_head = nn.Linear(config.hidden_dim, 1)
        # Of match, QA score and coverage.
        self.score_mix = nn.Parameter(torch.tensor([1.0, 0.0, 0.0] if config.observed_context else [0.0, 1.0, 0.0]))
        for layer in self._begins_silent:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def _begins_silent(self) -> list[nn.Linear]:
        """The layers that say nothing before any training."""
        config = self.config
        silent: list[nn.Linear] = [self.outcome_head]
        if config.score_correction:
            silent.append(self.score_head)
        if config.pooled_dim and config.context_initialisation and config.residual:
            silent.append(self.correction)
        if config.observed_context:
            silent.append(self.token_weight)
        return silent

    def forward(self, observation: Observation) -> Judgement:
        """Judge the candidates of one query."""
        config = self.config
        query = nn.functional.normalize(observation.query, dim=-1)
        contexts = nn.functional.normalize(observation.contexts, dim=-1)
        base = contexts @ query if config.pooled_dim else _max_sim(observation.tokens.match(observation.query_tokens))
        scores = [base]
        hidden = torch.zeros(len(contexts), config.hidden_dim, device=contexts.device, dtype=contexts.dtype)
        adapter = torch.zeros_like(base)
        matching = None
        if config.pooled_relation:
            hidden = hidden + relation_product(self.pooled_relation, query, contexts)
        if config.observed_context:
            found, relation, matching = self._observe(observation, base)
            adapter = adapter + self.score_mix[0] * found[0] + self.score_mix[2] * found[1] + sum(found[2:])
            scores += found
            hidden = hidden + relation
        phi = self.trunk(torch.cat([nn.functional.gelu(hidden), *_beside_best(scores)], dim=1))
        corrected = self.correction(phi) if config.pooled_dim else contexts
        if config.residual:
            corrected = contexts + corrected
        adapter = adapter + self.score_mix[1] * (nn.functional.normalize(corrected, dim=-1) @ query)
        if config.score_correction:
            adapter = adapter + self.score_head(phi)[:, 0]
        return Judgement(base, adapter, self.outcome_head(phi), corrected, matching)

    def _observe(self, observation: Observation, base: Tensor) -> tuple[list[Tensor], Tensor, Matching | None]:
        """
        What the tokens say of each candidate.

        :returns: Token match, coverage and scan, each of shape ``[n]``; the token relation, ``[n, hidden_dim]`` or 0;
            what they were read from.
        """
        tokens, query_tokens = observation.tokens, observation.query_tokens
        segments = tokens.segments
        nothing = torch.zeros_like(base)
        scanning = bool(self.config.probes)
        if not len(query_tokens) or not len(base):
            return [nothing] * (2 + scanning), nothing[:, None], None
        count = len(query_tokens)
        states = self.reading(query_tokens, observation.query_states)
        vectors = torch.cat([query_tokens, self.scan.probes(states)]) if scanning else query_tokens
        similarity = tokens.similarity(vectors)
        with torch.no_grad():
            highest = segments.maximum_of_stretches(similarity[:count])
        # A gradient has to reach the token; without one, the maxima of the stretches are read in place of all tokens.
        per_token = (
            segments.maximum(similarity[:count]) if similarity.requires_grad else segments.of_stretches.maximum(highest)
        ).T
        learned = self.learned_weights(states)
        weights = self.query_token_weights(learned, per_token)
        # Where the query is covered is read, not learned: no gradient flows through the windows.
        with torch.no_grad():
            coverage = weights @ segments.widest_of_three(highest)
        found = [per_token @ weights, segments.of_stretches.maximum(coverage[None])[0]]
        if scanning:
            near = segments.stretches.spread(coverage)
            local = weights @ similarity[:count]
            binary = tokens.is_binary
            kind = segments.spread(binary) if isinstance(binary, Tensor) else torch.full_like(near, float(binary))
            further = torch.stack([near, local, segments.spread(base), kind])
            found.append(self.scan(torch.cat([similarity[count:], further]), segments))
        relation = nothing[:, None]
        if self.config.token_relation:
            observed = tokens.states_at(places(similarity[:count].detach(), per_token.detach(), segments))
            product = relation_product(self.token_relation, query_tokens, observed)
            relation = torch.einsum("nmk,m->nk", nn.functional.gelu(product), weights)
        return found, relation, Matching(similarity[:count], learned)

    def judge_by_match(self, observation: Observation) -> Judgement:
        """What an adapter that :attr:`is_silent` says of the candidates, without the trunk and the observed context."""
        contexts = nn.functional.normalize(observation.contexts, dim=-1)
        query_tokens = observation.query_tokens
        match = observation.tokens.match(query_tokens)
        has_embedding = bool(self.config.pooled_dim)
        base = contexts @ nn.functional.normalize(observation.query, dim=-1) if has_embedding else _max_sim(match)
        adapter = torch.zeros_like(base)
        if len(query_tokens) and len(base):
            states = self.reading(query_tokens, observation.query_states)
            adapter = match @ self.query_token_weights(self.learned_weights(states), match)
        even = torch.zeros((len(base), len(Outcome)))
        return Judgement(base=base, adapter=adapter, outcomes=even)

    def reading(self, projected: Tensor, hidden: Tensor | None) -> Tensor:
        """
        Which token states of a query its weights and probes are read from.

        :param projected: Those after projection, shape ``[m, token_dim]``.
        :param hidden: Those before projection, shape ``[m, query_dim]``; needed if the adapter has a `query_dim`.
        """
        if self.config.query_dim is None:
            return projected
        assert hidden is not None
        return hidden

    def learned_weights(self, query_states: Tensor) -> Tensor:
        """
        How much each query token counts in the token match, whatever the candidates are.

        :param query_states: What :meth:`reading` gives, of length 1.
        :returns: Shape ``[m]``; they sum to 1.
        """
        weights: Tensor = self.token_weight(query_states).softmax(dim=0)[:, 0]
        return weights

    def query_token_weights(self, learned: Tensor, match: Tensor) -> Tensor:
        """
        How much each query token counts in the token match: the learned part times its contrast.

        :param learned: What :meth:`learned_weights` gives, shape ``[m]``.
        :param match: Shape ``[n, m]``.
        :returns: Shape ``[m]``; they sum to 1.
        """
        weights = learned * contrast_weights(match.detach()) if self.config.contrast_weighting else learned
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


def _max_sim(match: Tensor) -> Tensor:
    """What a late-interaction model says of n candidates: the mean of their matches, ``[n, m]``; 0 without a token."""
    return match.sum(dim=1) / max(match.shape[1], 1)


def _beside_best(scores: list[Tensor]) -> list[Tensor]:
    """Each score, and how far it lies below the best of its list, as columns; no gradient flows back to the scores."""
    columns = [score.detach()[:, None] for score in scores]
    return [part for column in columns for part in (column, column - column.amax(dim=0) if len(column) else column)]
