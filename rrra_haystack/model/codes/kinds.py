"""The kinds of token codes: how token states become rows of bytes, and the numbers that the scorer multiplies."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

CodeKind = Literal["int8", "4bit", "2bit", "1bit"]


class Quantiser(ABC):
    """
    One kind of token codes.

    A row keeps a small integer of each dimension, its value, and each document has one scale: a token state is
    ``scale * (step * value + offset)``. The scorer multiplies the query with the values.
    """

    kind: ClassVar[CodeKind]
    bits: ClassVar[int]
    step: ClassVar[int] = 1  # above 0: the greatest product with the values is the greatest with the states
    offset: ClassVar[int] = 0

    def row_bytes(self, token_dim: int) -> int:
        """Bytes of one token code."""
        return token_dim * self.bits // 8

    @abstractmethod
    def quantise(self, states: Tensor, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Codes of the tokens of n documents.

        :param states: Token states of length 1, one document after the other, shape ``[T, token_dim]``.
        :param counts: Tokens of each document, shape ``[n]``.
        :returns: Rows, shape ``[T, row_bytes]``, uint8, and the scale of each document, shape ``[n]``, float32.
        """

    @abstractmethod
    def rows(self, states: np.ndarray, scale: float) -> np.ndarray:
        """
        The rows that token states of one document were restored from.

        :param states: Shape ``[t, token_dim]``; they may be off by less than half a step.
        :param scale: The document's scale.
        :returns: Shape ``[t, row_bytes]``, uint8.
        """

    @abstractmethod
    def values(self, rows: Tensor) -> Tensor:
        """The values that rows of shape ``[R, row_bytes]``, uint8, keep: shape ``[R, token_dim]``, int8."""

    def factors(self, rows: np.ndarray, query: Tensor) -> tuple[Tensor, Tensor]:
        """
        Rows and a query as matrices whose product is that of the values with the query.

        :param rows: Shape ``[R, row_bytes]``, uint8, contiguous.
        :param query: Shape ``[m, token_dim]``, int8.
        :returns: Shapes ``[R, token_dim]`` and ``[m, token_dim]``, int8, contiguous; the dimensions of both may stand
            in another order.
        """
        return self.values(torch.from_numpy(rows)), query

    def restored(self, values: Tensor) -> Tensor:
        """Token states before their scale, from their values: the same shape, float32."""
        states = values.float()
        return states if self._is_plain else states * self.step + self.offset

    def products(self, products: Tensor, query: Tensor) -> Tensor:
        """
        Products of a query with token states before their scale.

        :param products: Products of the values with the query, shape ``[R, m]``.
        :param query: The query that was multiplied, shape ``[m, token_dim]``, int8.
        """
        if self._is_plain:
            return products
        return torch.add(self.offset * query.sum(dim=1, dtype=torch.int32), products, alpha=self.step)

    @property
    def _is_plain(self) -> bool:
        return self.step == 1 and self.offset == 0


class EightBits(Quantiser):
    """One byte a dimension; 127 stands for the largest number of a document."""

    kind = "int8"
    bits = 8

    def quantise(self, states: Tensor, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the tokens of n documents."""
        peak = np.full(len(counts), 1e-12, dtype=np.float32)
        filled = np.flatnonzero(counts)
        if len(filled):
            token_peak = states.abs().amax(dim=1).cpu().numpy()
            peak[filled] = np.maximum.reduceat(token_peak, (np.cumsum(counts) - counts)[filled])
        factor = torch.from_numpy(np.repeat(127 / peak, counts)).to(states)
        return (states * factor[:, None]).round().to(torch.int8).cpu().numpy().view(np.uint8), peak / 127

    def rows(self, states: np.ndarray, scale: float) -> np.ndarray:
        """The rows that token states of one document were restored from."""
        return np.rint(states / scale).clip(-127, 127).astype(np.int8).view(np.uint8)

    def values(self, rows: Tensor) -> Tensor:
        """The bytes as signed numbers."""
        return rows.view(torch.int8)


class Signs(Quantiser):
    """
    The sign of each dimension, eight to a byte, as the values 0 and 1.

    A sign vector stands for x best at the scale where <x, scale * sign(x)> = 1, as RaBitQ (arXiv 2405.12497) corrects
    its estimate; one scale a document is exact enough and costs no bytes.
    """

    kind = "1bit"
    bits = 1
    step = 2
    offset = -1

    def quantise(self, states: Tensor, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the tokens of n documents."""
        scale = _unbiased_scale(states.abs().sum(dim=1), counts, states.shape[1])
        return np.packbits((states > 0).cpu().numpy(), axis=1), scale

    def rows(self, states: np.ndarray, scale: float) -> np.ndarray:  # noqa: ARG002  (signs need no scale)
        """The rows that token states of one document were restored from."""
        return np.packbits(states > 0, axis=1)

    def values(self, rows: Tensor) -> Tensor:
        """The bits."""
        bits = np.unpackbits(rows.numpy().reshape(-1)).view(np.int8)  # twice as fast as along an axis
        return torch.from_numpy(bits.reshape(len(rows), 8 * rows.shape[1]))


class Levels(Quantiser):
    """
    Evenly spaced levels on both sides of 0, several to a byte, as their numbers from the lowest.

    Of b bits there are 2**b levels. They stand for the odd numbers from ``1 - 2**b`` to ``2**b - 1``, of two bits for
    -3, -1, 1 and 3. The scale is that of :class:`Signs`.

    A byte of two bits a dimension holds dimensions i, i + h/4, i + h/2 and i + 3h/4, from its lowest bits to its
    highest, and one of four bits i and i + h/2: unpacked, each of these is a run that is written at once.
    """

    step = 2
    # Between two levels, in units of a dimension's root mean square.
    spacing: ClassVar[float]

    def quantise(self, states: Tensor, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the tokens of n documents."""
        values = self.nearest(states)
        scale = _unbiased_scale((states * self.restored(values)).sum(dim=1), counts, states.shape[1])
        return self._packed(values.cpu().numpy()), scale

    def nearest(self, states: Tensor) -> Tensor:
        """The values of the levels nearest to token states of length 1, shape ``[T, token_dim]``, uint8."""
        steps = states * (states.shape[1] ** 0.5 / self.spacing)
        return (steps + (1 << (self.bits - 1))).floor().clamp(0, -self.offset).to(torch.uint8)

    def rows(self, states: np.ndarray, scale: float) -> np.ndarray:
        """The rows that token states of one document were restored from."""
        values = np.rint((states / scale - self.offset) / self.step).clip(0, -self.offset)
        return self._packed(values.astype(np.uint8))

    def values(self, rows: Tensor) -> Tensor:
        """The levels' numbers."""
        packed = rows.numpy()
        runs = np.empty((len(packed), 8 // self.bits, packed.shape[1]), dtype=np.uint8)
        for place in range(8 // self.bits):
            np.right_shift(packed, self.bits * place, out=runs[:, place])
        runs &= -self.offset
        return torch.from_numpy(runs.view(np.int8).reshape(len(packed), packed.shape[1] * 8 // self.bits))

    def _packed(self, values: np.ndarray) -> np.ndarray:
        runs = values.reshape(len(values), 8 // self.bits, values.shape[1] * self.bits // 8)
        packed = runs[:, 0].copy()
        for place in range(1, 8 // self.bits):
            packed |= runs[:, place] << (self.bits * place)
        return packed


class TwoBits(Levels):
    """Four levels, as far apart as loses least of normally distributed numbers (Max, 1960)."""

    kind = "2bit"
    bits = 2
    offset = -3
    spacing = 0.9957

    def factors(self, rows: np.ndarray, query: Tensor) -> tuple[Tensor, Tensor]:
        """Rows with the four dimensions of a byte side by side, in a third of the time that their order takes."""
        four = rows.astype("<u4")
        four *= 1 + (1 << 12)
        four &= 0x000F000F
        four *= 1 + (1 << 6)
        four &= 0x03030303
        in_order = query.view(len(query), 4, -1).transpose(1, 2).reshape(query.shape)
        return torch.from_numpy(four.view(np.int8)), in_order


class FourBits(Levels):
    """Sixteen levels, as far apart as loses least of normally distributed numbers (Max, 1960)."""

    kind = "4bit"
    bits = 4
    offset = -15
    spacing = 0.3352


def _unbiased_scale(kept: Tensor, counts: np.ndarray, token_dim: int) -> np.ndarray:
    """
    The scale at which what codes keep of a token has the product 1 with the token itself, in the mean of each document.

    :param kept: Products of token states of length 1 with what their codes stand for, before any scale, shape ``[T]``.
    :param counts: Tokens of each document, shape ``[n]``.
    :param token_dim: Dimensions of a token state.
    :returns: Shape ``[n]``, float32.
    """
    scale = np.full(len(counts), 1 / token_dim, dtype=np.float32)
    filled = np.flatnonzero(counts)
    if len(filled):
        inverse = (1 / kept.clamp_min(1e-12)).cpu().numpy()
        scale[filled] = np.add.reduceat(inverse, (np.cumsum(counts) - counts)[filled]) / counts[filled]
    return scale


# A record names its kind by the place in this table: a new kind goes to the end.
QUANTISERS: dict[CodeKind, Quantiser] = {one.kind: one for one in (EightBits(), Signs(), TwoBits(), FourBits())}
KINDS: tuple[CodeKind, ...] = tuple(QUANTISERS)


def kind_named(name: str) -> CodeKind:
    """
    The kind of token codes that a user named.

    :param name: Its name.
    :raises ValueError: If there is no such kind.
    """
    for kind in KINDS:
        if kind == name:
            return kind
    msg = f"Unknown kind of codes {name!r}; the kinds are {', '.join(KINDS)}."
    raise ValueError(msg)
