"""Reranks by token states on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import StateTokens
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.segments import Segments
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form, Ranked, as_encoding


class _StateFile:
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


@dataclass(frozen=True, kw_only=True)
class _StateEncodings(StateTokens):
    """Candidates whose token states were never quantised, as :meth:`RRRAModel.score` takes them."""

    pooled: Tensor
    words: np.ndarray
    word_counts: np.ndarray


class StateReranker:
    """
    RRRA from token states in float32, to see what the codes cost.

    :param form: The model.
    :param words: Words of each passage, as :func:`~rrra_haystack.model.words.word_codes` gives them.
    :param folder: Where the states are kept.
    """

    def __init__(self, form: Form, words: Sequence[np.ndarray], folder: Path) -> None:
        self.form = form
        self.name = form.name
        self._words = words
        self._pooled = np.zeros((len(words), form.model.encoder.dimension), dtype=np.float32)
        path = folder / f"{form.name}.f32"
        self._states = _StateFile(path, len(words), form.model.config.adapter.token_dim, np.float32)

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """Keep the token states of a batch of passages."""
        self._pooled[indices] = pooled.float().cpu().numpy()
        self._states.add(indices, self.form.model.project(states), lengths)

    def close(self) -> None:
        """Map what was written."""
        self._states.close()

    @property
    def bytes_per_document(self) -> float:
        """Of the token states."""
        return self._states.bytes_per_document

    def prepare(self, query: EncodedQuery) -> QueryEncoding:
        """The query with its projected token states."""
        return as_encoding(self.form.model, query)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002
        """Judge the candidates from their states."""
        tokens = self._states.read(rows)
        words = [self._words[row] for row in rows]
        candidates = _StateEncodings(
            tokens.states,
            tokens.segments,
            pooled=torch.from_numpy(self._pooled[rows]),
            words=np.concatenate(words),
            word_counts=np.asarray([len(own) for own in words]),
        )
        query_tokens = nn.functional.normalize(prepared.states, dim=-1)
        return Ranked(
            self.form.model.score(prepared, candidates).fused, match=lambda: max_sim(query_tokens, candidates)
        )


class MaxSimReranker:
    """
    MaxSim of ColBERT (arXiv 2004.12832) over the encoder's own token states, with nothing learned and in float16.

    :param encoder: The encoder.
    :param count: How many passages there are.
    :param folder: Where the states are kept.
    """

    name = "maxsim"

    def __init__(self, encoder: Encoder, count: int, folder: Path) -> None:
        self._states = _StateFile(folder / "maxsim.f16", count, encoder.hidden_size, np.float16)

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:  # noqa: ARG002
        """Keep the token states of a batch of passages."""
        self._states.add(indices, states, lengths)

    def close(self) -> None:
        """Map what was written."""
        self._states.close()

    @property
    def bytes_per_document(self) -> float:
        """Of the token states."""
        return self._states.bytes_per_document

    def prepare(self, query: EncodedQuery) -> Tensor:
        """The query's token states, length 1."""
        return nn.functional.normalize(query.hidden, dim=-1)

    def rank(self, prepared: Tensor, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002
        """Match the candidates' tokens."""
        return Ranked(max_sim(prepared, self._states.read(rows)))


def max_sim(query_tokens: Tensor, tokens: StateTokens) -> np.ndarray:
    """
    The mean over the query's tokens of their best match in each candidate.

    :param query_tokens: Length 1, shape ``[m, h]``.
    :param tokens: Token states of n candidates.
    :returns: Shape ``[n]``.
    """
    return tokens.segments.maximum(tokens.similarity(query_tokens)).mean(dim=0).numpy()
