"""What the adapter is given, and what it says."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import torch
from torch import Tensor

from rrra_haystack.model.segments import Segments


class Outcome(IntEnum):
    """Relevant or not, times retrieved by the encoder or not: the classes of the outcome head."""

    TP = 0
    FN = 1
    FP = 2
    TN = 3


class ContextTokens(Protocol):
    """The token states of the n candidates of a query, however they are stored."""

    @property
    def segments(self) -> Segments:
        """Which of the T tokens belong to which candidate."""

    @property
    def is_binary(self) -> bool | Tensor:
        """Whether only the signs of the states are kept; of each candidate, 1 or 0 of shape ``[n]``, if they differ."""

    def match(self, query_states: Tensor) -> Tensor:
        """Highest cosine of states, ``[m, h]``, with the tokens of each candidate, ``[n, m]``; -1 without any."""

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

    def match(self, query_states: Tensor) -> Tensor:
        """Highest cosine of states of length 1, ``[m, h]``, with each candidate's tokens, ``[n, m]``; -1 if none."""
        return self.segments.maximum(self.similarity(query_states)).T

    def similarity(self, vectors: Tensor) -> Tensor:
        """Cosines of vectors of length 1, shape ``[v, h]``, with all tokens, shape ``[v, T]``."""
        return (self.states @ vectors.T).T

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
class Matching:
    """
    How the m tokens of a query match the T tokens of its candidates.

    :param similarity: Cosines, shape ``[m, T]``.
    :param weights: How much each token of the query counts, whatever the candidates are, shape ``[m]``; they sum to 1.
    """

    similarity: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Judgement:
    """
    What the adapter says of the n candidates of one query.

    :param base: Encoder score, shape ``[n]``: the cosine of query and context, or MaxSim of a late-interaction model,
        as a mean over the query's tokens.
    :param adapter: Adapter score, which reranking fuses with `base`, shape ``[n]``.
    :param outcomes: Logits of the outcomes in the order of :class:`Outcome`, shape ``[n, 4]``.
    :param corrected: Corrected embeddings a, shape ``[n, d]``; `None` if nothing was corrected.
    :param matching: What the adapter read from the tokens; `None` if it did not need the cosines of all.
    """

    base: Tensor
    adapter: Tensor
    outcomes: Tensor
    corrected: Tensor | None = None
    matching: Matching | None = None

    @classmethod
    def of_no_query(cls, count: int) -> "Judgement":
        """
        What is said of candidates where nothing is asked: they are all alike.

        An empty text is nearest to another one, so that candidates without text would come first.

        :param count: How many candidates there are.
        """
        zero = torch.zeros(count)
        return cls(base=zero, adapter=zero, outcomes=torch.zeros(count, len(Outcome)))

    @property
    def relevance_logit(self) -> Tensor:
        """Log [P(TP) + P(FN)] - log [P(FP) + P(TN)], shape ``[n]``."""
        outcomes = self.outcomes.unbind(dim=1)
        relevant = torch.logaddexp(outcomes[Outcome.TP], outcomes[Outcome.FN])
        return relevant - torch.logaddexp(outcomes[Outcome.FP], outcomes[Outcome.TN])
