"""Token codes against a query: integer products with all tokens of a candidate list, and what is made of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rrra_haystack.model.codes.kernel import KERNEL
from rrra_haystack.model.codes.kinds import Quantiser
from rrra_haystack.model.segments import Segments, ranges


@dataclass(frozen=True)
class CodeBatch:
    """
    The token codes of n documents, read but not expanded.

    :param rows: Rows of all documents as one matrix, a row a token, shape ``[R, row_bytes]``, uint8; rows of no
        document may lie between those of one and the next.
    :param ends: The row after the last token of each document, shape ``[n]``.
    :param lengths: Tokens of each document, shape ``[n]``, int64.
    :param token_scale: Factor that restores the scale of each document's tokens, shape ``[n]``, float32.
    :param pooled: The documents' pooled embeddings, shape ``[n, d]``, float32.
    :param words: The documents' words, one document after the other, shape ``[W]``, uint16.
    :param word_counts: Words of each document, shape ``[n]``, int64.
    :param contents: Check sums of the contents that the records were made of, shape ``[n]``, uint32; 0 where unknown.
    :param quantiser: What the rows mean.
    :param signs_only: Of which documents only the signs were kept before they were read as rows of this kind, shape
        ``[n]``, float32: 1 or 0; `None` if the kind tells.
    """

    rows: np.ndarray
    ends: np.ndarray
    lengths: np.ndarray
    token_scale: np.ndarray
    pooled: Tensor
    words: np.ndarray
    word_counts: np.ndarray
    contents: np.ndarray
    quantiser: Quantiser
    signs_only: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def words_of(self, number: int) -> np.ndarray:
        """The words of one document."""
        begin = int(self.word_counts[:number].sum())
        return self.words[begin : begin + int(self.word_counts[number])]

    @property
    def token_dim(self) -> int:
        """Dimensions of a token state."""
        return self.rows.shape[1] * 8 // self.quantiser.bits

    @property
    def is_binary(self) -> bool | Tensor:
        """Whether only the signs of the token states are kept; of each document, shape ``[n]``, if they differ."""
        return self.quantiser.bits == 1 if self.signs_only is None else self.signs_only

    @cached_property
    def _token_codes(self) -> np.ndarray:
        """The rows of the tokens, shape ``[T, row_bytes]``, uint8."""
        return self.rows.take(ranges(self.ends - self.lengths, self.lengths), axis=0)

    @cached_property
    def _token_values(self) -> Tensor:
        """What the rows of the tokens keep, shape ``[T, token_dim]``, int8."""
        return self.quantiser.values(torch.from_numpy(self._token_codes))

    def token_states(self) -> Tensor:
        """The token states as the codes keep them, one document after the other, shape ``[T, token_dim]``."""
        return self.quantiser.restored(self._token_values) * self._token_scales[:, None]

    def as_int8(self) -> np.ndarray:
        """The tokens as rows of an int8 code of the same scale, exact, shape ``[T, token_dim]``, uint8."""
        return self.quantiser.restored(self._token_values).to(torch.int8).numpy().view(np.uint8)

    def match(self, query_states: Tensor) -> Tensor:
        """
        The score of the best-matching token of each document for each query token (MaxSim, arXiv 2004.12832).

        :param query_states: Projected token states of the query, shape ``[m, token_dim]``; their lengths do not matter.
        :returns: Cosines, shape ``[n, m]``; -1 where a document has no token.
        """
        query, peak = _as_int8(query_states)
        best = torch.full((len(self), len(query)), -1.0)
        filled = np.flatnonzero(self.lengths)
        if len(query) == 0 or len(filled) == 0:
            return best
        # Rows of no document are multiplied too: that costs less than a copy of the others.
        products = KERNEL.product(*self.quantiser.factors(self.rows, query))
        # Segments: the tokens of a document, then what lies before the next one's tokens, which is skipped.
        bounds = np.stack([(self.ends - self.lengths)[filled], self.ends[filled]], axis=1).reshape(-1)
        # The last bound may lie behind the matrix; the last segment is then open.
        bounds = bounds[bounds < len(self.rows)]
        maxima = np.ascontiguousarray(np.maximum.reduceat(products.numpy(), bounds, axis=0)[::2])
        best[filled] = self._cosines(maxima, query, peak, self.token_scale[filled])
        return best

    def match_stretches(
        self, query_states: Tensor, owners: np.ndarray, begins: np.ndarray, counts: np.ndarray
    ) -> Tensor:
        """
        What :meth:`match` says of s stretches of the documents' tokens, as if each were a document.

        Where all cosines are known, :meth:`~rrra_haystack.model.segments.Segments.maximum_of_parts` says the same.

        :param query_states: Projected token states of the query, shape ``[m, token_dim]``.
        :param owners: The document of each stretch, shape ``[s]``.
        :param begins: Its first token in the document, shape ``[s]``.
        :param counts: Its tokens, one at least, shape ``[s]``, int64.
        :returns: Cosines, shape ``[s, m]``.
        """
        query, peak = _as_int8(query_states)
        rows = self.rows.take(ranges((self.ends - self.lengths)[owners] + begins, counts), axis=0)
        products = KERNEL.product(*self.quantiser.factors(rows, query)).numpy()
        maxima = np.maximum.reduceat(products, np.cumsum(counts) - counts, axis=0)
        return self._cosines(maxima, query, peak, self.token_scale[owners])

    def _cosines(self, products: np.ndarray, query: Tensor, peak: Tensor, scales: np.ndarray) -> Tensor:
        """Cosines of products of shape ``[s, m]`` with an int8 query, of documents with so many scales."""
        restored = self.quantiser.products(torch.from_numpy(products), query)
        return restored.float() * torch.from_numpy(scales)[:, None] * (peak / 127).T

    @cached_property
    def segments(self) -> Segments:
        """Which tokens belong to which document."""
        return Segments(self.lengths)

    @cached_property
    def _token_scales(self) -> Tensor:
        """Factor that restores each token's scale, shape ``[T]``."""
        return torch.from_numpy(np.repeat(self.token_scale, self.lengths))

    def similarity(self, vectors: Tensor) -> Tensor:
        """
        Cosines of vectors with every token.

        :param vectors: Shape ``[v, token_dim]``; their lengths do not matter.
        :returns: Shape ``[v, T]``, in memory token by token.
        """
        query, peak = _as_int8(vectors)
        if len(query) == 0 or not self.lengths.any():
            return torch.zeros((len(query), int(self.lengths.sum())))
        products = KERNEL.product(*self.quantiser.factors(self._token_codes, query)).float()
        similarity = self.quantiser.products(products, query).mul_(self._token_scales[:, None]).mul_((peak / 127).T)
        return similarity.T

    def states_at(self, places: Tensor) -> Tensor:
        """
        Token states of length 1.

        :param places: Places among the T tokens, any shape.
        :returns: Shape ``[*places.shape, token_dim]``; 0 where a place is -1.
        """
        if not self.lengths.any():
            return torch.zeros((*places.shape, self.token_dim))
        states = self.quantiser.restored(self._token_values[places.clamp_min(0)]) * (places >= 0)[..., None]
        return torch.nn.functional.normalize(states, dim=-1)


def _as_int8(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 as int8 numbers, and of each the number that 127 stands for, shape ``[v, 1]``."""
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    peak = unit.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
    return (unit * (127 / peak)).round().to(torch.int8), peak


def eight_bits(vectors: Tensor) -> Tensor:
    """Vectors as the scorer sees a query: of length 1, in eight bits a dimension; shape ``[v, h]``, float32."""
    codes, peak = _as_int8(vectors)
    return codes * (peak / 127)
