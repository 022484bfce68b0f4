"""What is measured side by side: an encoder's retrieval, BM25, and what reranks the encoder's candidates."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import bm25s
import faiss
import numpy as np
import pybase64
import Stemmer
import torch
from haystack import Document, Pipeline
from torch import Tensor, nn

from rrra_haystack.adapter import Observation, StateTokens
from rrra_haystack.encoder import Encoder
from rrra_haystack.files import read_yaml
from rrra_haystack.model import QueryEncoding, RRRAModel
from rrra_haystack.scoring import reranking_score
from rrra_haystack.segments import Segments
from rrra_haystack.words import lexical_scores, query_word_codes, word_codes
from rrra_training.data import Passage, Query

KINDS = ("1bit", "int8", "float32")
NAMED = ("bm25", "match", "rrra", "untrained", "hybrid")


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
    :param words: Words of each passage, as :func:`~rrra_haystack.words.word_codes` gives them.
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


class StateReranker:
    """
    RRRA from token states in float32, to see what the codes cost.

    :param form: The model.
    :param words: Words of each passage, as :func:`~rrra_haystack.words.word_codes` gives them.
    :param folder: Where the states are kept, which are too large for memory.
    """

    def __init__(self, form: Form, words: Sequence[np.ndarray], folder: Path) -> None:
        count = len(words)
        self.form = form
        self._words = words
        self.name = form.name
        self._path = folder / f"{form.name}.f32"
        self._file = self._path.open("wb")
        self._written = 0
        self._spans = np.zeros((count, 2), dtype=np.int64)
        self._pooled = np.zeros((count, form.model.encoder.dimension), dtype=np.float32)
        self._states = np.zeros((0, form.model.config.adapter.token_dim), dtype=np.float32)

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """Keep the token states of a batch of passages."""
        counts = lengths.cpu().numpy()
        ends = self._written + np.cumsum(counts)
        self._spans[indices] = np.stack([ends - counts, ends], axis=1)
        self._pooled[indices] = pooled.float().cpu().numpy()
        nn.functional.normalize(self.form.model.project(states), dim=-1).cpu().numpy().tofile(self._file)
        self._written = int(ends[-1])

    def close(self) -> None:
        """Map what was written."""
        self._file.close()
        if self._written:
            shape = (self._written, self._states.shape[1])
            self._states = np.memmap(self._path, dtype=np.float32, mode="r", shape=shape)

    @property
    def bytes_per_document(self) -> float:
        """Of the token states."""
        return self._states.nbytes / len(self._spans)

    def prepare(self, query: EncodedQuery) -> QueryEncoding:
        """The query with its projected token states."""
        return _prepared(self.form.model, query)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """Judge the candidates from their states."""
        query_tokens = nn.functional.normalize(prepared.states, dim=-1)
        spans = self._spans[rows]
        states = torch.from_numpy(np.concatenate([self._states[begin:end] for begin, end in spans]))
        tokens = StateTokens(states, Segments(spans[:, 1] - spans[:, 0]))
        model = self.form.model
        with torch.inference_mode():
            hidden = nn.functional.normalize(prepared.hidden, dim=-1)
            contexts = torch.from_numpy(self._pooled[rows])
            judged = model.adapter(Observation(prepared.embedding, contexts, query_tokens, tokens, hidden))
        words = [self._words[row] for row in rows]
        lexical = lexical_scores(prepared.words, np.concatenate(words), np.asarray([len(own) for own in words]))
        adapter = judged.adapter + model.config.lexical_weight * torch.from_numpy(lexical)
        fused = reranking_score(torch.from_numpy(base), adapter, model.config.fusion_weight).numpy()
        return Ranked(fused, match=lambda: tokens.segments.maximum(tokens.similarity(query_tokens)).mean(dim=0).numpy())


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
    described = _described(path)
    ranker = Pipeline.from_dict({"components": {"ranker": described}, "connections": []}).get_component("ranker")
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    return ranker


def _described(path: Path) -> dict[str, Any]:
    held = read_yaml(path)
    if not isinstance(held, dict) or not isinstance(held.get("type"), str):
        msg = f"{path} is not a ranker: expected the keys 'type' and 'init_parameters' of one Haystack component."
        raise ValueError(msg)
    return {"type": held["type"], "init_parameters": held.get("init_parameters") or {}}


class EncoderStage:
    """
    An encoder's retrieval over a whole corpus, and the forms of RRRA that rerank it.

    :param name: What the encoder alone is called.
    :param encoder: The encoder.
    :param forms: Models over this encoder.
    :param passages: The corpus.
    :param queries: The queries.
    :param scratch: A folder for what is too large for memory.
    :param top_k: How many passages are retrieved at most.
    :param show_progress: Show progress and the time left.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        forms: Sequence[Form],
        passages: Sequence[Passage],
        queries: Sequence[Query],
        scratch: Path,
        *,
        top_k: int,
        show_progress: bool = False,
    ) -> None:
        self.name = name
        self._top_k = top_k
        self.dimension = encoder.dimension
        self.rerankers: list[Reranker] = []
        count = len(passages)
        texts = [passage.title_and_text for passage in passages]
        words = [word_codes(text) for text in texts] if forms else []
        own = [
            StateReranker(form, words, scratch) if form.kind == "float32" else CodeReranker(form, words)
            for form in forms
        ]
        self.rerankers += own
        pooled = np.empty((count, encoder.dimension), dtype=np.float32)
        for batch in encoder.encode(texts, task="document", tokens_per_batch=4096, show_progress_bar=show_progress):
            indices = batch.indices.numpy()
            pooled[indices] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
            for reranker in own:
                reranker.add(indices, batch.pooled, batch.states, batch.lengths)
        for reranker in own:
            reranker.close()
        self.sizes = {reranker.name: reranker.bytes_per_document for reranker in own}
        self._index = faiss.IndexFlatIP(encoder.dimension)
        self._index.add(pooled)
        self.queries = _encode_queries(encoder, queries, show_progress=show_progress)

    def retrieve(self, query: EncodedQuery) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages, each of shape ``[n]``."""
        unit = nn.functional.normalize(query.pooled, dim=-1).numpy()[None]
        scores, rows = self._index.search(unit, min(self._top_k, self._index.ntotal))
        return scores[0], rows[0]


def _encode_queries(encoder: Encoder, queries: Sequence[Query], *, show_progress: bool) -> list[EncodedQuery]:
    encoded: list[EncodedQuery | None] = [None] * len(queries)
    texts = [query.text for query in queries]
    for batch in encoder.encode(texts, task="query", show_progress_bar=show_progress):
        hidden = batch.states.float().cpu().split(batch.lengths.tolist())
        for index, pooled, states in zip(batch.indices.tolist(), batch.pooled.cpu(), hidden, strict=True):
            encoded[index] = EncodedQuery(queries[index], pooled, states)
    return [one for one in encoded if one is not None]


class Bm25Stage:
    """
    BM25 (k1 0.9, b 0.4, the parameters of Anserini) over stemmed English words without stop words.

    :param passages: The corpus.
    :param top_k: How many passages are retrieved at most.
    """

    name = "bm25"

    def __init__(self, passages: Sequence[Passage], top_k: int) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        words = bm25s.tokenize(
            [passage.title_and_text for passage in passages], stemmer=self._stemmer, show_progress=False
        )
        self._index = bm25s.BM25(k1=0.9, b=0.4)
        self._index.index(words, show_progress=False)
        self._top_k = min(top_k, len(passages))

    def retrieve(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best passages that share a word with the query, each of shape ``[n]``."""
        words = bm25s.tokenize([text], stemmer=self._stemmer, return_ids=False, show_progress=False)
        rows, scores = self._index.retrieve(words, k=self._top_k, show_progress=False)
        found = scores[0] > 0
        return scores[0][found], rows[0][found]


def check_systems(systems: Sequence[str], codes: Sequence[str] = ()) -> None:
    """
    See that every name is one that can be measured.

    :param systems: Names from ``bm25``, ``match``, ``rrra``, ``untrained`` and ``hybrid``, ``NAME=MODEL`` for further
        models, and YAML files of rankers.
    :param codes: Kinds of token codes, the first of which the model's own systems are named without.
    :raises ValueError: If one is unknown, a file holds no ranker, or two systems would have the same name.
    :raises FileNotFoundError: If the file of a ranker is missing.
    """
    names = []
    for system in systems:
        if is_file(system):
            if not Path(system).is_file():
                msg = f"There is no file {system}. A ranker is named by a YAML file with its type and init_parameters."
                raise FileNotFoundError(msg)
            _described(Path(system))
            names.append(Path(system).stem)
        elif "=" in system:
            names.append(system.partition("=")[0])
        elif system not in NAMED:
            near = difflib.get_close_matches(system, NAMED, n=1, cutoff=0)[0]
            msg = (
                f"Unknown system '{system}'; the nearest known one is '{near}'. Systems are {', '.join(NAMED)}, "
                "NAME=MODEL for a further model, or a YAML file of a Haystack ranker."
            )
            raise ValueError(msg)
        else:
            names.append(system)
    if "hybrid" in systems and codes and codes[0] == "float32":
        msg = "The system 'hybrid' reranks from codes. Name 1bit or int8 as the first --code."
        raise ValueError(msg)
    taken = [*names, *_implied(systems, codes), "encoder"]
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        msg = f"Two systems are called '{twice}'. Give each a name of its own."
        raise ValueError(msg)


def _implied(systems: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Systems that come with others."""
    if not {"rrra", "match", "hybrid"} & set(systems):
        return []
    implied = [] if "rrra" in systems else ["rrra"]
    kinds = [f"-{kind}" for kind in codes[1:]]
    return implied + [f"{name}{kind}" for kind in kinds for name in ("rrra", "match")]


def is_file(system: str) -> bool:
    """Whether a system is named by the YAML file of a ranker."""
    return Path(system).suffix in {".yaml", ".yml"}
