"""
Maxima and sums over runs of columns: the tokens of each document, or of each stretch of a document.

Values come as one row a vector and one column a token, and are fastest if they lie in memory token by token.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

STRETCH = 16


@dataclass(frozen=True)
class Segments:
    """
    Runs of columns, one after the other.

    :param lengths: Columns of each run, shape ``[s]``, int64; may be 0.
    """

    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> np.ndarray:
        """First column of each run, shape ``[s]``."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def owner(self) -> Tensor:
        """Run of each column, shape ``[T]``."""
        return torch.from_numpy(np.repeat(np.arange(len(self.lengths)), self.lengths))

    @cached_property
    def stretches(self) -> "Segments":
        """The same columns in stretches of 16 that end where a run ends; shape ``[b]``."""
        whole, rest = np.divmod(self.lengths, STRETCH)
        counts = whole + (rest > 0)
        lengths = np.full(counts.sum(), STRETCH, dtype=np.int64)
        shorter = np.flatnonzero(rest > 0)
        lengths[np.cumsum(counts)[shorter] - 1] = rest[shorter]
        return Segments(lengths)

    @cached_property
    def of_stretches(self) -> "Segments":
        """The runs in units of stretches."""
        return Segments(-(-self.lengths // STRETCH))

    def maximum(self, values: Tensor, *, empty: float = -1.0) -> Tensor:
        """
        Highest value of each run.

        :param values: Shape ``[v, T]``.
        :param empty: Value of a run without columns.
        :returns: Shape ``[v, s]``; the gradient flows to the highest column.
        """
        if torch.is_grad_enabled() and values.requires_grad:
            highest = values.new_full((len(values), len(self)), empty)
            owner = self.owner.to(values.device).expand_as(values)
            return highest.scatter_reduce(1, owner, values, "amax", include_self=False)
        filled = np.flatnonzero(self.lengths)
        result = np.full((len(values), len(self)), empty, dtype=np.float32)
        if len(filled) and len(values):
            by_column = values.detach().cpu().numpy().T
            result[:, filled] = np.maximum.reduceat(by_column, self.starts[filled], axis=0).T
        return torch.from_numpy(result).to(values.device)

    def maximum_of_parts(self, values: Tensor, owners: np.ndarray, begins: np.ndarray, counts: np.ndarray) -> Tensor:
        """
        Highest value of each of p parts of runs.

        :param values: Shape ``[v, T]``, on the CPU.
        :param owners: The run of each part, shape ``[p]``.
        :param begins: Its first column in the run, shape ``[p]``.
        :param counts: Its columns, one at least, shape ``[p]``, int64.
        :returns: Shape ``[p, v]``.
        """
        by_column = values.numpy().T[ranges(self.starts[owners] + begins, counts)]
        return torch.from_numpy(np.maximum.reduceat(by_column, np.cumsum(counts) - counts, axis=0))

    def maximum_of_stretches(self, values: Tensor) -> Tensor:
        """
        Highest value of each stretch; faster than the maximum over runs of differing lengths.

        :param values: Shape ``[v, T]``.
        :returns: Shape ``[v, b]``.
        """
        columns = self._columns_of_stretches.to(values.device)
        return values.T.index_select(0, columns).view(STRETCH, len(self.stretches), len(values)).amax(dim=0).T

    def total(self, values: Tensor) -> Tensor:
        """
        Sum of each run.

        :param values: Shape ``[T]``.
        :returns: Shape ``[s]``; 0 for a run without columns.
        """
        if torch.is_grad_enabled() and values.requires_grad:
            return values.new_zeros(len(self)).index_add(0, self.owner.to(values.device), values)
        filled = np.flatnonzero(self.lengths)
        result = np.zeros(len(self), dtype=np.float32)
        if len(filled):
            result[filled] = np.add.reduceat(values.detach().cpu().numpy(), self.starts[filled])
        return torch.from_numpy(result).to(values.device)

    def spread(self, values: Tensor) -> Tensor:
        """
        The value of its run for each column.

        :param values: Shape ``[s]``.
        :returns: Shape ``[T]``.
        """
        counts = torch.from_numpy(self.lengths).to(values.device)
        return values.repeat_interleave(counts, output_size=int(self.lengths.sum()))

    def widest_of_three(self, values: Tensor) -> Tensor:
        """
        Highest of each stretch and its neighbours within the same run.

        :param values: A value of each stretch, shape ``[v, b]``.
        :returns: Shape ``[v, b]``.
        """
        before, after = (index.to(values.device) for index in self._neighbours)
        by_stretch = values.T
        wider = torch.maximum(by_stretch, by_stretch.index_select(0, before))
        return torch.maximum(wider, by_stretch.index_select(0, after)).T

    @cached_property
    def _columns_of_stretches(self) -> Tensor:
        """The first column of all stretches, then the second, shape ``[16 * b]``; a short one repeats its last."""
        stretches = self.stretches
        within = np.minimum(np.arange(STRETCH)[:, None], stretches.lengths - 1)
        return torch.from_numpy((stretches.starts + within).reshape(-1))

    @cached_property
    def _neighbours(self) -> tuple[Tensor, Tensor]:
        runs = self.of_stretches
        at = np.arange(runs.lengths.sum())
        owner = runs.owner.numpy()
        starts, ends = runs.starts, runs.starts + runs.lengths
        before = np.maximum(at - 1, starts[owner])
        after = np.minimum(at + 1, ends[owner] - 1)
        return torch.from_numpy(before), torch.from_numpy(after)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenation of ``arange(start, start + count)`` of each pair."""
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
