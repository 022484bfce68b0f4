"""A query and its candidates as a model reads them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

from rrra_haystack.model.adapter.observation import ContextTokens, Observation


@dataclass(frozen=True)
class QueryEncoding:
    """
    A query as the encoder sees it.

    :param embedding: Pooled embedding, shape ``[d]``, float32, on the CPU.
    :param states: Projected token states, shape ``[m, h]``, float32, on the CPU.
    :param hidden: Token states before projection, shape ``[m, hidden]``, float32, on the CPU; `None` if the adapter has
        no `query_dim` and reads those after it.
    :param words: The query's words (:func:`~rrra_haystack.model.words.query_word_codes`), shape ``[u]``, uint16.
    """

    embedding: Tensor
    states: Tensor
    hidden: Tensor | None
    words: np.ndarray


class CandidateEncodings(ContextTokens, Protocol):
    """The n candidates of a query as the encoder sees them, however they are stored."""

    @property
    def pooled(self) -> Tensor:
        """Pooled embeddings, shape ``[n, d]``, float32."""

    @property
    def words(self) -> np.ndarray:
        """
        Words, one candidate after the other, shape ``[W]``, uint16.

        They are those of :func:`~rrra_haystack.model.words.word_codes`.
        """

    @property
    def word_counts(self) -> np.ndarray:
        """Words of each candidate, shape ``[n]``, int64."""


def observation_of(query: QueryEncoding, candidates: CandidateEncodings) -> Observation:
    """
    What the adapter reads of a query and its candidates.

    :param query: The encoded query.
    :param candidates: The candidates.
    """
    return Observation(
        query=query.embedding,
        contexts=candidates.pooled,
        query_tokens=normalize(query.states, dim=-1),
        tokens=candidates,
        query_states=None if query.hidden is None else normalize(query.hidden, dim=-1),
    )
