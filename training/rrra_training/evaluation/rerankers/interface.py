"""What reranks an encoder's candidates: RRRA from codes or from token states, MaxSim, and any Haystack ranker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import query_word_codes
from rrra_training.data import Query


@dataclass(frozen=True)
class Form:
    """
    One way in which RRRA ranks.

    :param name: What the system is called.
    :param model: The model.
    :param kind: Kind of the token codes; ``float32`` for token states that were never quantised.
    :param match: What its token match alone is called; not reported if `None`.
    """

    name: str
    model: RRRAModel
    kind: str
    match: str | None = None


@dataclass(frozen=True)
class EncodedQuery:
    """
    A query as the encoder sees it.

    :param query: The query.
    :param pooled: Pooled embedding, shape ``[d]``.
    :param hidden: Token states before any projection, shape ``[m, hidden]``.
    """

    query: Query
    pooled: Tensor
    hidden: Tensor

    def read_by(self, model: RRRAModel) -> QueryEncoding:
        """The query as an RRRA model over this encoder takes it."""
        words = query_word_codes(self.query.text)
        return QueryEncoding(self.pooled, model.project(self.hidden), self.hidden, words)


@dataclass(frozen=True)
class Ranked:
    """
    What a reranker says of n candidates.

    :param scores: Shape ``[n]``.
    :param relevance: Their probabilities of relevance, shape ``[n]``; `None` if the system has none.
    :param match: Gives the token match alone, shape ``[n]``, which nobody waits for.
    """

    scores: np.ndarray
    relevance: np.ndarray | None = None
    match: Callable[[], np.ndarray] | None = None


class Reranker(Protocol):
    """Something that reranks the candidates of an encoder."""

    @property
    def name(self) -> str:
        """What the system is called."""

    def prepare(self, query: EncodedQuery) -> Any:
        """The query as this reranker reads it, whatever the candidates are."""

    def rank(self, prepared: Any, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """
        Score candidates.

        :param prepared: What :meth:`prepare` returned.
        :param rows: Numbers of the passages, shape ``[n]``.
        :param base: Encoder scores, shape ``[n]``.
        """


class TokenReranker(Reranker, Protocol):
    """A reranker that is shown the encoder's token states of each passage, and keeps of them what it reads."""

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """
        Keep what is needed of a batch of passages.

        :param indices: Numbers of the passages, shape ``[b]``.
        :param pooled: Pooled embeddings, shape ``[b, d]``.
        :param states: Token states, one passage after the other, shape ``[T, hidden]``.
        :param lengths: How many tokens each passage has, shape ``[b]``.
        """

    def close(self) -> None:
        """Nothing more will be added."""

    @property
    def bytes_per_document(self) -> float:
        """The mean size of what is kept of a passage."""
