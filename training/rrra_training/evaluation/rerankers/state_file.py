"""Token states of a corpus in a file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import StateTokens
from rrra_haystack.model.segments import Segments


class StateFile:
    """
    Token states of length 1 in a file, which are too large for memory.

    :param path: The file.
    :param count: How many passages there are.
    :param dimension: Of a state.
    :param kind: Format of its numbers.
    """

    def __init__(self, path: Path, count: int, dimension: int, kind: type[np.floating]) -> None:
        self._path = path
        self._file = path.open("wb")
        self._written = 0
        self._spans = np.zeros((count, 2), dtype=np.int64)
        self._states = np.zeros((0, dimension), dtype=kind)

    def add(self, indices: np.ndarray, states: Tensor, lengths: Tensor) -> None:
        """Write the states of a batch of passages."""
        counts = lengths.cpu().numpy()
        ends = self._written + np.cumsum(counts)
        self._spans[indices] = np.stack([ends - counts, ends], axis=1)
        unit = nn.functional.normalize(states.float(), dim=-1).cpu().numpy()
        unit.astype(self._states.dtype, copy=False).tofile(self._file)
        self._written = int(ends[-1])

    def close(self) -> None:
        """Map what was written."""
        self._file.close()
        if self._written:
            shape = (self._written, self._states.shape[1])
            self._states = np.memmap(self._path, dtype=self._states.dtype, mode="r", shape=shape)

    @property
    def bytes_per_document(self) -> float:
        """Bytes of the states of a passage."""
        return self._states.nbytes / len(self._spans)

    def read(self, rows: np.ndarray) -> StateTokens:
        """The states of some passages."""
        spans = self._spans[rows]
        states = np.concatenate([self._states[begin:end] for begin, end in spans])
        return StateTokens(torch.from_numpy(states).float(), Segments(spans[:, 1] - spans[:, 0]))
