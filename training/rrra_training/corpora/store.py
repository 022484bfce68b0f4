"""What a frozen encoder says of many texts, encoded once and kept in memory-mapped files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from rrra_haystack.files import read_json
from rrra_haystack.model.encoder import EncodedBatch
from rrra_haystack.model.segments import ranges

# Texts that are read together.
_BATCH = 256
POOLED, STATES, LENGTHS, META = "pooled.f32", "states.f16", "lengths.i32", "meta.json"
TEXTS, TEXT_ENDS = "texts.jsonl", "text_ends.i64"


@dataclass(frozen=True)
class TokenSlice:
    """
    Token states of some texts, one text after the other.

    :param states: Shape ``[T, hidden]``, float16.
    :param lengths: Tokens of each text, shape ``[n]``, int64.
    """

    states: Tensor
    lengths: Tensor


class StateStore:
    """
    Pooled embeddings and token states of n texts on disk, read through memory maps.

    A directory of flat files: ``pooled.f32`` (length 1, ``[n, d]``), ``states.f16`` (``[T, hidden]``), ``lengths.i32``
    (``[n]``), ``texts.jsonl`` (identifier and text a line), ``text_ends.i64`` (byte after each line) and ``meta.json``.
    Two bytes a number: 768 bytes a token of a 384-dimensional encoder.

    :param path: A directory that :func:`~rrra_training.corpora.building.build_store` made.
    :raises FileNotFoundError: If there is no store.
    :raises ValueError: If it is not complete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = read_meta(self.path)
        if meta is None:
            msg = f"There is no store of token states at {self.path}."
            raise FileNotFoundError(msg)
        if not meta["complete"]:
            msg = f"The store of token states at {self.path} is not complete: build it again to finish it."
            raise ValueError(msg)
        self.fingerprint: str = meta["fingerprint"]
        self.digest: str = meta["digest"]
        count, tokens, dimension, hidden = (meta[key] for key in ("count", "tokens", "dimension", "hidden"))
        self.pooled: np.ndarray = _map(self.path / POOLED, np.float32, (count, dimension))
        self.all_states: np.ndarray = _map(self.path / STATES, np.float16, (tokens, hidden))
        self.lengths: np.ndarray = np.fromfile(self.path / LENGTHS, dtype=np.int32, count=count).astype(np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._text_ends = np.fromfile(self.path / TEXT_ENDS, dtype=np.int64, count=count)
        text_bytes = int(self._text_ends[-1]) if count else 0
        self._texts = _map(self.path / TEXTS, np.uint8, (text_bytes, 1))[:, 0]

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def ids(self) -> list[str]:
        """Identifiers of the texts, in the order of the rows."""
        with (self.path / TEXTS).open(encoding="utf-8") as lines:
            # A corpus that became shorter leaves the rest of its file.
            return [json.loads(line)[0] for line in islice(lines, len(self))]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each identifier."""
        return {identifier: row for row, identifier in enumerate(self.ids)}

    def tokens(self, rows: np.ndarray) -> TokenSlice:
        """
        Read the token states of some texts.

        :param rows: Shape ``[n]``; a row may occur more than once.
        """
        rows = np.asarray(rows, dtype=np.int64)
        picked = self.all_states[self.token_rows(rows)]
        return TokenSlice(torch.from_numpy(picked), torch.from_numpy(self.lengths[rows]))

    def token_rows(self, rows: np.ndarray) -> np.ndarray:
        """Where the token states of some texts stand, one text after the other, shape ``[T]``."""
        return ranges(self._starts[rows], self.lengths[rows])

    def states(self, span: slice) -> Tensor:
        """Token states in a span of all of them, float16."""
        return torch.from_numpy(np.array(self.all_states[span]))

    def batches(self, *, show_progress: bool = False) -> Iterator[EncodedBatch]:
        """
        Read what the encoder says of all texts, in the order of the rows: embeddings of length 1, token states that
        were rounded to float16.

        :param show_progress: Show progress and the time left.
        """
        begins = range(0, len(self), _BATCH)
        for begin in tqdm(begins, desc=f"Reading {self.path.name}", unit="batch", disable=not show_progress):
            end = min(begin + _BATCH, len(self))
            lengths = self.lengths[begin:end]
            first = int(self._starts[begin])
            states = self.states(slice(first, first + int(lengths.sum()))).float()
            pooled = torch.from_numpy(np.array(self.pooled[begin:end]))
            yield EncodedBatch(torch.arange(begin, end), pooled, states, torch.from_numpy(lengths))

    def text(self, row: int) -> str:
        """The text of a row, read from disk."""
        begin, end = (int(self._text_ends[row - 1]) if row else 0), int(self._text_ends[row])
        return json.loads(self._texts[begin:end].tobytes())[1]


def _map(path: Path, dtype: type, shape: tuple[int, int]) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


def read_meta(folder: Path) -> dict[str, Any] | None:
    """What a store says of itself; `None` if there is none."""
    path = folder / META
    return read_json(path, "Remove the folder to encode the corpus again.") if path.exists() else None
