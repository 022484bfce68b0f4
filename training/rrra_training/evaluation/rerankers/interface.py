"""What reranks an encoder's candidates: RRRA from codes or from token states, MaxSim, and any Haystack ranker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pybase64
import torch
from haystack import Document, Pipeline
from torch import Tensor, nn

from rrra_haystack.files import read_yaml
from rrra_haystack.model.adapter.adapter import Observation, StateTokens
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import QueryEncoding, RRRAModel
from rrra_haystack.model.scoring import reranking_score
from rrra_haystack.model.segments import Segments
from rrra_haystack.model.words import lexical_scores, query_word_codes
from rrra_training.data import Passage, Query


@dataclass(frozen=True)
class Form:
    """
    One way in which RRRA ranks.

    :param name: What the system is called.
    :param model: The model.
    :param kind: Kind of the token codes; ``float32`` for token states that were never quantised.
    :param match: What its token match alone is called; not reported if `None`.
    """

    name: str
    model: RRRAModel
    kind: str
    match: str | None = None


@dataclass(frozen=True)
class EncodedQuery:
    """
    A query as the encoder sees it.

    :param query: The query.
    :param pooled: Pooled embedding, shape ``[d]``.
    :param hidden: Token states before any projection, shape ``[m, hidden]``.
    """

    query: Query
    pooled: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Ranked:
    """
    What a reranker says of n candidates.

    :param scores: Shape ``[n]``.
    :param relevance: Their probabilities of relevance, shape ``[n]``; `None` if the system has none.
    :param match: Gives the token match alone, shape ``[n]``, which nobody waits for.
    """

    scores: np.ndarray
    relevance: np.ndarray | None = None
    match: Callable[[], np.ndarray] | None = None


class Reranker(Protocol):
    """Something that reranks the candidates of an encoder."""

    @property
    def name(self) -> str:
        """What the system is called."""

    def prepare(self, query: EncodedQuery) -> Any:
        """What of a query the application has at hand before it reranks."""

    def rank(self, prepared: Any, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """
        Score candidates.

        :param prepared: What :meth:`prepare` returned.
        :param rows: Numbers of the passages, shape ``[n]``.
        :param base: Encoder scores, shape ``[n]``.
        """


class CodeReranker:
    """
    RRRA from token codes.

    :param form: Model and kind of codes.
    :param words: Words of each passage, as :func:`~rrra_haystack.model.words.word_codes` gives them.
    """

    def __init__(self, form: Form, words: Sequence[np.ndarray]) -> None:
        self.form = form
        self.name = form.name
        self.codes = [""] * len(words)
        self._words = words
        self._codec = form.model.codec(form.kind)  # type: ignore[arg-type]  # float32 has a class of its own

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """Keep the codes of a batch of passages."""
        words = [self._words[index] for index in indices]
        records = self._codec.pack(pooled, self.form.model.project(states), lengths, words)
        for index, record in zip(indices, records, strict=True):
            self.codes[index] = pybase64.b64encode_as_string(record)

    def close(self) -> None:
        """Nothing more will be added."""

    @property
    def bytes_per_document(self) -> float:
        """As stored, base64 included."""
        return float(np.mean([len(code) for code in self.codes]))

    def prepare(self, query: EncodedQuery) -> QueryEncoding:
        """The query with its projected token states."""
        return _prepared(self.form.model, query)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002
        """Decode the candidates' codes and judge them."""
        batch = self.form.model.read_codes([self.codes[row] for row in rows])
        scores = self.form.model.score(prepared, batch)
        return Ranked(scores.fused, scores.relevance, lambda: batch.match(prepared.states).mean(dim=1).numpy())


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
        return _prepared(self.form.model, query)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """Judge the candidates from their states."""
        query_tokens = nn.functional.normalize(prepared.states, dim=-1)
        tokens = self._states.read(rows)
        model = self.form.model
        with torch.inference_mode():
            hidden = nn.functional.normalize(prepared.hidden, dim=-1)
            contexts = torch.from_numpy(self._pooled[rows])
            judged = model.adapter(Observation(prepared.embedding, contexts, query_tokens, tokens, hidden))
        words = [self._words[row] for row in rows]
        lexical = lexical_scores(prepared.words, np.concatenate(words), np.asarray([len(own) for own in words]))
        adapter = judged.adapter + model.config.lexical_weight * torch.from_numpy(lexical)
        fused = reranking_score(torch.from_numpy(base), adapter, model.config.fusion_weight).numpy()
        return Ranked(fused, match=lambda: max_sim(query_tokens, tokens))


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


def _prepared(model: RRRAModel, query: EncodedQuery) -> QueryEncoding:
    return QueryEncoding(query.pooled, model.project(query.hidden), query.hidden, query_word_codes(query.query.text))


class HaystackReranker:
    """
    Any Haystack ranker, from a YAML file with its ``type`` and ``init_parameters``.

    :param path: The file; its name without the ending is the system's name.
    :param passages: The corpus.
    :raises ValueError: If the file does not hold a component.
    """

    def __init__(self, path: Path, passages: Sequence[Passage]) -> None:
        self.name = path.stem
        self._documents = [Document(id=one.id, content=one.title_and_text) for one in passages]
        self._ranker = load_ranker(path)

    def prepare(self, query: EncodedQuery) -> str:
        """The query's text."""
        return query.query.text

    def rank(self, prepared: str, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """
        Let the ranker order the candidates. What it leaves out follows in the encoder's order.

        A score is the negative rank: rankers need not return scores at all.
        """
        documents = [self._documents[row] for row in rows]
        returned = self._ranker.run(query=prepared, documents=documents, top_k=len(documents))["documents"]
        place = {document.id: -float(rank) for rank, document in enumerate(returned)}
        left_out = -float(len(documents)) - np.argsort(np.argsort(-base, kind="stable"))
        return Ranked(np.asarray([place.get(one.id, left_out[i]) for i, one in enumerate(documents)]))


def load_ranker(path: Path) -> Any:
    """
    Load a Haystack component from a YAML file.

    :param path: A file with ``type`` and ``init_parameters``.
    :raises ValueError: If it holds something else.
    """
    described = read_ranker(path)
    ranker = Pipeline.from_dict({"components": {"ranker": described}, "connections": []}).get_component("ranker")
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    return ranker


def read_ranker(path: Path) -> dict[str, Any]:
    """
    Read what a YAML file says of a Haystack component.

    :param path: A file with ``type`` and ``init_parameters``.
    :raises ValueError: If it holds something else.
    """
    held = read_yaml(path)
    if not isinstance(held, dict) or not isinstance(held.get("type"), str):
        msg = f"{path} is not a ranker: expected the keys 'type' and 'init_parameters' of one Haystack component."
        raise ValueError(msg)
    return {"type": held["type"], "init_parameters": held.get("init_parameters") or {}}
