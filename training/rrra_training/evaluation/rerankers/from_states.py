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
from rrra_haystack.model.threads import threads_for_list
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form, Ranked
from rrra_training.evaluation.rerankers.state_file import StateFile


class _FromStates:
    """
    What reranks by token states in a file.

    :param states: The file.
    """

    def __init__(self, states: StateFile) -> None:
        self._states = states

    def close(self) -> None:
        """Map what was written."""
        self._states.close()

    @property
    def bytes_per_document(self) -> float:
        """Of the token states."""
        return self._states.bytes_per_document


class StateReranker(_FromStates):
    """
    RRRA from token states in float32, to see what the codes cost.

    :param form: The model.
    :param words: Words of each passage, as :func:`~rrra_haystack.model.words.word_codes` gives them.
    :param folder: Where the states are kept.
    """

    def __init__(self, form: Form, words: Sequence[np.ndarray], folder: Path) -> None:
        dimension = form.model.config.adapter.token_dim
        super().__init__(StateFile(folder / f"{form.name}.f32", len(words), dimension, np.float32))
        self.form = form
        self.name = form.name
        self._words = words
        self._pooled = np.zeros((len(words), form.model.encoder.dimension), dtype=np.float32)

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """Keep the token states of a batch of passages."""
        self._pooled[indices] = pooled.float().cpu().numpy()
        self._states.add(indices, self.form.model.project(states), lengths)

    def prepare(self, query: EncodedQuery) -> QueryEncoding:
        """The query with its projected token states."""
        return query.read_by(self.form.model)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002  (the interface's signature)
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
            self.form.model.score(prepared, candidates).fused, match=lambda: _max_sim(query_tokens, candidates)
        )


@dataclass(frozen=True, kw_only=True)
class _StateEncodings(StateTokens):
    """Candidates whose token states were never quantised, as :meth:`RRRAModel.score` takes them."""

    pooled: Tensor
    words: np.ndarray
    word_counts: np.ndarray


class MaxSimReranker(_FromStates):
    """
    MaxSim of ColBERT (arXiv 2004.12832) over the encoder's own token states, with nothing learned and in float16.

    :param encoder: The encoder.
    :param count: How many passages there are.
    :param folder: Where the states are kept.
    """

    name = "maxsim"

    def __init__(self, encoder: Encoder, count: int, folder: Path) -> None:
        super().__init__(StateFile(folder / "maxsim.f16", count, encoder.hidden_size, np.float16))

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:  # noqa: ARG002  (the interface's signature)
        """Keep the token states of a batch of passages."""
        self._states.add(indices, states, lengths)

    def prepare(self, query: EncodedQuery) -> Tensor:
        """The query's token states, length 1."""
        return nn.functional.normalize(query.hidden, dim=-1)

    def rank(self, prepared: Tensor, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002  (the interface's signature)
        """Match the candidates' tokens."""
        tokens = self._states.read(rows)
        with threads_for_list(len(tokens.states)):
            return Ranked(_max_sim(prepared, tokens))


def _max_sim(query_tokens: Tensor, tokens: StateTokens) -> np.ndarray:
    """
    The mean over the query's tokens of their best match in each candidate.

    :param query_tokens: Length 1, shape ``[m, h]``.
    :param tokens: Token states of n candidates.
    :returns: Shape ``[n]``.
    """
    return tokens.segments.maximum(tokens.similarity(query_tokens)).mean(dim=0).numpy()
