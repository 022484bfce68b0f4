"""What a sampler of hard negatives is given and gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """
    Mined candidates of b queries, n each.

    :param scores: Encoder scores (cosines), descending by row, shape ``[b, n]``; anything where not eligible.
    :param positive_scores: Encoder score of the labelled positive of each query, shape ``[b]``.
    :param eligible: Which candidates may be drawn: neither padding nor known to be relevant, shape ``[b, n]``, bool.
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

    # More than one where something is estimated over the queries.
    least_queries: ClassVar[int] = 1

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
