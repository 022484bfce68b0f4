"""A model's judgement of all mined candidates, from token states that were projected once to disk."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.model.adapter.adapter import Observation, RelationAwareAdapter, StateTokens
from rrra_haystack.model.codes.codec import CodeKind
from rrra_haystack.model.encoder import native_dtype
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.scoring import reranking_score
from rrra_haystack.model.segments import Segments
from rrra_haystack.model.words import lexical_scores, query_word_codes, word_codes
from rrra_training.candidates.preparing import CandidateSet
from rrra_training.corpora.store import StateStore

logger = logging.getLogger(__name__)

_TOKENS_AT_ONCE = 1 << 16


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
    :param kind: ``int8``, or ``1bit``: the signs, scaled such that the product with the state itself is 1.
    """
    size = states.abs()
    if kind == "int8":
        step = size.amax(dim=-1, keepdim=True).clamp_min_(1e-12) / 127
        return (states / step).round_().mul_(step)
    scale = 1 / size.sum(dim=-1, keepdim=True).clamp_min_(1e-12)
    return torch.where(states > 0, scale, -scale)


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


@dataclass(frozen=True)
class Verdicts:
    """
    What an adapter says of the mined candidates of Q queries, each of shape ``[Q, k]``, float32.

    :param base: Encoder scores.
    :param adapter: Adapter scores.
    :param relevance_logit: The adapter's log-odds of relevance.
    :param lexical: Lexical scores (:func:`~rrra_haystack.model.words.lexical_scores`); a model adds them to the adapter
        scores with a weight that is fitted on dev.
    """

    base: np.ndarray
    adapter: np.ndarray
    relevance_logit: np.ndarray
    lexical: np.ndarray

    def with_words(self, lexical_weight: float) -> np.ndarray:
        """Adapter scores to which the words in common have added, shape ``[Q, k]``."""
        return self.adapter + lexical_weight * self.lexical


def relevance_of(model: RRRAModel, verdicts: Verdicts, there: np.ndarray) -> np.ndarray:
    """
    A model's probabilities of relevance, list by list.

    :param model: Fuses and calibrates.
    :param verdicts: What its adapter says.
    :param there: Which candidates make the list of each query, shape ``[Q, k]``, bool.
    :returns: Shape ``[Q, k]``; nan where there is no candidate.
    """
    relevance = np.full(there.shape, np.nan, dtype=np.float32)
    scores = verdicts.with_words(model.config.lexical_weight)
    for place, own in enumerate(there):
        base, adapter, logit = (
            torch.from_numpy(part[place, own]) for part in (verdicts.base, scores, verdicts.relevance_logit)
        )
        fused = reranking_score(base, adapter, model.config.fusion_weight)
        relevance[place, own] = model.config.calibration.probability(fused, logit).numpy()
    return relevance


class ProjectedStates:
    """
    Token states of a store after the projection, memory-mapped.

    :param store: The store.
    :param states: Shape ``[T, h]``, float16, of any length.
    """

    def __init__(self, store: StateStore, states: np.ndarray) -> None:
        self.store = store
        self.states = states
        self._words: dict[int, np.ndarray] = {}

    def words(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Words of some texts.

        :param rows: Rows of the texts, shape ``[n]``.
        :returns: The words, one text after the other, shape ``[W]``, and how many each text has, shape ``[n]``.
        """
        own = [self._words_of(int(row)) for row in rows]
        return np.concatenate(own), np.asarray([len(one) for one in own])

    def _words_of(self, row: int) -> np.ndarray:
        if row not in self._words:
            self._words[row] = word_codes(self.store.text(row))
        return self._words[row]

    def tokens(self, rows: np.ndarray, kind: CodeKind) -> StateTokens:
        """
        Tokens of some texts, as codes of a kind keep them.

        :param rows: Rows of the texts, shape ``[n]``.
        :param kind: Kind of the codes. What int8 rounds off is below what can be measured, and is left out.
        """
        states = nn.functional.normalize(torch.from_numpy(self.states[self.store.token_rows(rows)]).float(), dim=-1)
        if kind == "1bit":
            states = quantised(states, kind)
        return StateTokens(states, Segments(self.store.lengths[rows]), is_binary=kind == "1bit")


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


def judge(
    adapter: RelationAwareAdapter,
    projection: nn.Linear | None,
    data: CandidateSet,
    passages: ProjectedStates,
    kind: CodeKind,
    *,
    queries: np.ndarray | None = None,
    show_progress: bool = False,
) -> Verdicts:
    """
    Judge all mined candidates of a set.

    :param adapter: The adapter.
    :param projection: The projection that goes with it.
    :param data: The set.
    :param passages: Its projected passages.
    :param kind: Kind of codes to judge from.
    :param queries: Rows of the queries to judge; all if `None`.
    :param show_progress: Show progress and the time left.
    """
    numbers = np.arange(len(data)) if queries is None else queries
    shape = (len(numbers), data.mined.rows.shape[1])
    base, scores, logits = (np.full(shape, -np.inf, dtype=np.float32) for _ in range(3))
    lexical = np.zeros(shape, dtype=np.float32)
    progress = tqdm(numbers, desc=f"Judging {data.name}", unit="query", disable=not show_progress)
    with torch.inference_mode():
        for at, number in enumerate(progress):
            rows = np.asarray(data.mined.rows[number])
            rows = rows[rows >= 0]
            hidden = data.queries.tokens(np.asarray([number])).states
            judgement = adapter(
                Observation(
                    query=torch.from_numpy(np.array(data.queries.pooled[number])),
                    contexts=torch.from_numpy(data.passages.pooled[rows]),
                    query_tokens=project(hidden, projection),
                    tokens=passages.tokens(rows, kind),
                    query_states=project(hidden, None),
                )
            )
            here = (at, slice(len(rows)))
            base[here], scores[here] = judgement.base.numpy(), judgement.adapter.numpy()
            logits[here] = judgement.relevance_logit.numpy()
            if len(rows):
                lexical[here] = lexical_scores(query_word_codes(data.queries.text(int(number))), *passages.words(rows))
    return Verdicts(base, scores, logits, lexical)
