"""Token states as a projection and the codes leave them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import StateTokens
from rrra_haystack.model.codes.kinds import QUANTISERS, CodeKind, Levels
from rrra_haystack.model.segments import Segments
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.model.words import word_codes
from rrra_training.corpora.store import StateStore

_TOKENS_AT_ONCE = 1 << 16
# Texts whose words are kept: some hundred bytes each.
_TEXTS_KEPT = 1 << 18


def project(states: Tensor, projection: nn.Linear | None, kind: CodeKind | None = None) -> Tensor:
    """
    Token states as the codes keep them, in the fastest format that the processor knows.

    :param states: Shape ``[T, hidden]``.
    :param projection: To h dimensions; none if `None`.
    :param kind: Kind of the codes; ``None`` for the states before quantisation.
    :returns: Shape ``[T, h]``, float32, of length 1 before quantisation. Its gradient passes straight through the
        quantiser (arXiv 1308.3432).
    """
    if projection is not None:
        weight = projection.weight
        native = native_dtype(weight.device)
        states = nn.functional.linear(states.to(weight.device, native), weight.to(native))
    return _UnitCode.apply(states.float(), kind)


def quantised(states: Tensor, kind: CodeKind) -> Tensor:
    """
    What a code keeps of token states.

    :param states: Shape ``[T, h]``, length 1.
    :param kind: ``int8``; or one of fewer bits, of which a token has the scale that makes its product with itself 1.
    """
    size = states.abs()
    if kind == "int8":
        step = size.amax(dim=-1, keepdim=True).clamp_min_(1e-12) / 127
        return (states / step).round_().mul_(step)
    quantiser = QUANTISERS[kind]
    if isinstance(quantiser, Levels):
        kept = quantiser.restored(quantiser.nearest(states))
        return kept.div_((states * kept).sum(dim=-1, keepdim=True).clamp_min_(1e-12))
    scale = 1 / size.sum(dim=-1, keepdim=True).clamp_min_(1e-12)
    return torch.where(states > 0, scale, -scale)


def code_tokens(states: Tensor, lengths: np.ndarray, kind: CodeKind) -> StateTokens:
    """
    Token states as codes of a kind keep them, for the adapter.

    :param states: States of all texts, one text after the other, shape ``[T, h]``.
    :param lengths: Tokens of each text, shape ``[n]``.
    :param kind: Kind of the codes.
    """
    return StateTokens(states, Segments(lengths), is_binary=kind == "1bit")


class _UnitCode(torch.autograd.Function):
    """Normalise and quantise in one step; a quarter of the time that the separate steps and their gradients take."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, kind: CodeKind | None) -> Tensor:
        length = states.norm(dim=-1, keepdim=True).clamp_min_(1e-12)
        unit = states / length
        ctx.save_for_backward(unit, length)
        return unit if kind is None else quantised(unit, kind)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        unit, length = ctx.saved_tensors
        (gradient,) = gradients
        along = torch.einsum("th,th->t", gradient, unit)[:, None]
        return torch.addcmul(gradient, unit, along, value=-1).div_(length), None


class ProjectedStates:
    """
    Token states of a store after the projection, memory-mapped.

    :param store: The store.
    :param states: Shape ``[T, h]``, float16, of any length.
    """

    def __init__(self, store: StateStore, states: np.ndarray) -> None:
        self.store = store
        self.states = states
        self._words_of = lru_cache(_TEXTS_KEPT)(lambda row: word_codes(store.text(row)))

    def words(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Words of some texts.

        :param rows: Rows of the texts, shape ``[n]``.
        :returns: The words, one text after the other, shape ``[W]``, and how many each text has, shape ``[n]``.
        """
        own = [self._words_of(int(row)) for row in rows]
        return np.concatenate(own), np.asarray([len(one) for one in own])

    def tokens(self, rows: np.ndarray, kind: CodeKind) -> StateTokens:
        """
        Tokens of some texts, as codes of a kind keep them.

        :param rows: Rows of the texts, shape ``[n]``.
        :param kind: Kind of the codes. What int8 rounds off is below what can be measured, and is left out.
        """
        states = nn.functional.normalize(torch.from_numpy(self.states[self.store.token_rows(rows)]).float(), dim=-1)
        if kind != "int8":
            states = quantised(states, kind)
        return code_tokens(states, self.store.lengths[rows], kind)


@contextmanager
def projected(store: StateStore, projection: nn.Linear | None, folder: Path) -> Iterator[ProjectedStates]:
    """
    Project all token states of a store.

    :param store: The store.
    :param projection: To h dimensions; none if `None`.
    :param folder: Where the temporary file is put; it is gone at the end. Without a projection there is none.
    """
    if projection is None:
        yield ProjectedStates(store, store.all_states)
        return
    width = projection.out_features
    total = int(store.lengths.sum())
    with tempfile.TemporaryDirectory(dir=folder, prefix="projected-") as scratch:
        shape = (max(total, 1), width)
        states = np.memmap(Path(scratch) / "states.f16", dtype=np.float16, mode="w+", shape=shape)
        with torch.inference_mode():
            for begin in range(0, total, _TOKENS_AT_ONCE):
                span = slice(begin, begin + _TOKENS_AT_ONCE)
                states[span][: total - begin] = project(store.states(span), projection).half().cpu().numpy()
        yield ProjectedStates(store, states)
