"""Every system over one collection, timed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from rrra_haystack.model.encoder import EncodedBatch, Encoder
from rrra_haystack.model.words import word_codes
from rrra_training.corpora.building import encoded_passages
from rrra_training.data import Query
from rrra_training.evaluation.collection import Collection
from rrra_training.evaluation.figures import Runs
from rrra_training.evaluation.rerankers.from_codes import CodeReranker
from rrra_training.evaluation.rerankers.from_states import MaxSimReranker, StateReranker
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form, Ranked, Reranker, TokenReranker
from rrra_training.evaluation.rerankers.of_haystack import HaystackReranker
from rrra_training.evaluation.stages import (
    Bm25Stage,
    BorrowedStage,
    EncoderStage,
    Stage,
    encode_queries,
    read_corpus,
)
from rrra_training.evaluation.systems import BM25_SYSTEM, ENCODER_SYSTEM, RRRA_SYSTEM, code_key, is_ranker, time_key

# What the distribution of relevance probabilities is drawn from.
_SAMPLED_QUERIES = 500
_HARD_NEGATIVES = 10
_RANDOM_PASSAGES = 10
_RETRIEVAL = "retrieve"


class Bench:
    """
    Runs systems over the queries, one system after the other and one query at a time as an application would, and keeps
    what they return.

    :param collection: The corpus, the queries and their judgments.
    :param top_k: How many passages are retrieved for a query, and reranked.
    :param seed: Seed of the passages that are drawn for the distribution of probabilities.
    :param scratch: A folder for what is too large for memory.
    :param cache: Where encoded corpora are kept; nothing is kept if `None`.
    :param show_progress: Show progress and the time left.
    """

    def __init__(
        self, collection: Collection, *, top_k: int, seed: int, scratch: Path, cache: Path | None, show_progress: bool
    ) -> None:
        self._collection = collection
        self._top_k = top_k
        self._generator = np.random.default_rng(seed)
        self._scratch, self._cache = scratch, cache
        self._show_progress = show_progress
        # The retrieval of the model's own encoder, whose candidates late-interaction models rerank, or else BM25's.
        self._first: EncoderStage | None = None
        self.runs: Runs = {}
        # One time a query each, in the order of the queries.
        self.times: dict[str, list[float]] = {}
        # What a query of each system consists of, by the names of the times; without what was not timed by itself.
        self.stages: dict[str, list[str]] = {}
        self.sizes: dict[str, float] = {}
        self.probabilities: dict[str, list[float]] = {}

    def measure_encoder(
        self, encoder: Encoder, forms: Sequence[Form], systems: Sequence[str], *, name: str = ENCODER_SYSTEM
    ) -> None:
        """
        Measure an encoder's retrieval, and what reranks it.

        :param encoder: The encoder.
        :param forms: Forms of RRRA over this encoder.
        :param systems: Names of systems, of which ``maxsim``, ``hybrid`` and the YAML files of rankers are taken here.
        :param name: What the encoder alone is called. A late-interaction model, which retrieves nothing alone, reranks
            the candidates of the model's encoder, which comes before it; those of BM25 if it is the model itself.
        """
        # Opened first: what is wrong with a ranker is told before the corpus is encoded.
        others = [HaystackReranker(Path(one), self._collection.passages) for one in systems if is_ranker(one)]
        reading = self._token_rerankers(encoder, forms, with_max_sim="maxsim" in systems)
        pooled = read_corpus(self._encoded(encoder), len(self._collection.passages), encoder.dimension, reading)
        queries = encode_queries(encoder, self._collection.queries, show_progress=self._show_progress)
        stage: Stage
        if encoder.embeds:
            stage = EncoderStage(pooled, queries, self._top_k)
            retrieval = self._measure_retrieval(stage, name, encoder.dimension)
        else:
            stage = BorrowedStage(self._first or self._lexical, queries)
            retrieval = _RETRIEVAL if self._first else BM25_SYSTEM
        rerankers: list[Reranker] = [*reading, *others]
        self.stages |= {reranker.name: [retrieval, time_key(reranker.name)] for reranker in rerankers}
        self.sizes |= {code_key(reranker.name): reranker.bytes_per_document for reranker in reading}
        by_name = {form.name: form for form in forms}
        for reranker in rerankers:
            self._measure_reranker(stage, reranker, by_name.get(reranker.name))
            if "hybrid" in systems and reranker.name == RRRA_SYSTEM:
                self._measure_hybrid(stage, reranker)

    def _measure_retrieval(self, stage: EncoderStage, name: str, dimension: int) -> str:
        """What an encoder alone retrieves; under which name its times are kept."""
        is_first = name == ENCODER_SYSTEM
        retrieval = _RETRIEVAL if is_first else f"{_RETRIEVAL} {name}"
        if is_first:
            self._first = stage
            self.sizes["embedding"] = dimension * 4
        self.stages[name] = [retrieval]
        for query in self._progress(stage.queries, f"Retrieving: {name}"):
            (base, rows), elapsed = _timed(partial(stage.retrieve, query))
            self._note(retrieval, elapsed)
            base, rows = self._collection.candidates_of(query.query, base, rows)
            self._keep(name, query.query, rows, base)
        return retrieval

    def _token_rerankers(self, encoder: Encoder, forms: Sequence[Form], *, with_max_sim: bool) -> list[TokenReranker]:
        """The forms of RRRA, and MaxSim."""
        words = [word_codes(text) for text in self._collection.texts] if forms else []
        found: list[TokenReranker] = [
            StateReranker(form, words, self._scratch) if form.kind == "float32" else CodeReranker(form, words)
            for form in forms
        ]
        if with_max_sim:
            found.append(MaxSimReranker(encoder, len(self._collection.passages), self._scratch))
        return found

    def _encoded(self, encoder: Encoder) -> Iterator[EncodedBatch]:
        """What an encoder says of the corpus, from the cache if there is one."""
        if self._cache is None:
            return encoder.encode(
                self._collection.texts, task="document", tokens_per_batch=4096, show_progress_bar=self._show_progress
            )
        name, passages = self._collection.name, self._collection.passages
        kept = encoded_passages(
            name, passages, encoder, self._cache, total=len(passages), show_progress=self._show_progress
        )
        return kept.batches(show_progress=self._show_progress)

    def _measure_reranker(self, stage: Stage, reranker: Reranker, form: Form | None) -> None:
        """What a reranker makes of the encoder's candidates, each list searched for first, as in an application."""
        has_probabilities = reranker.name == RRRA_SYSTEM and isinstance(reranker, CodeReranker)
        sampled = self._sample() if has_probabilities else set()
        for number, query in enumerate(self._progress(stage.queries, f"Reranking: {reranker.name}")):
            base, rows = self._collection.candidates_of(query.query, *stage.retrieve(query))
            if not len(rows):
                # BM25 finds nothing where no word is shared.
                self._note(time_key(reranker.name), 0.0)
                for name in (reranker.name, form.match if form else None):
                    if name is not None:
                        self._keep(name, query.query, rows, base)
                continue
            (prepared, ranked), elapsed = _timed(partial(_reranked, reranker, query, rows, base))
            self._note(time_key(reranker.name), elapsed)
            self._keep(reranker.name, query.query, rows, ranked.scores)
            if form is not None and form.match is not None and ranked.match is not None:
                self._keep(form.match, query.query, rows, ranked.match())
            if number in sampled:
                self._sample_probabilities(reranker, prepared, query.query, rows, base)

    def _measure_hybrid(self, stage: Stage, reranker: Reranker) -> None:
        """The candidates of encoder and BM25 together."""
        lexical = self._lexical
        self.stages["hybrid"] = [_RETRIEVAL, "bm25 candidates", "hybrid"]
        for query in self._progress(stage.queries, "Reranking: hybrid"):
            _, rows = self._collection.candidates_of(query.query, *stage.retrieve(query))
            (scores, found), elapsed = _timed(partial(lexical.retrieve, query.query.text))
            self._note("bm25 candidates", elapsed)
            _, found = self._collection.candidates_of(query.query, scores, found)
            union = np.concatenate([rows, np.setdiff1d(found, rows)])
            (_, ranked), elapsed = _timed(partial(_reranked, reranker, query, union, np.zeros(len(union))))
            self._note("hybrid", elapsed)
            self._keep("hybrid", query.query, union, ranked.scores)

    def measure_bm25(self) -> None:
        """Measure BM25's own retrieval."""
        stage = self._lexical
        self.stages[BM25_SYSTEM] = [BM25_SYSTEM]
        for query in self._progress(self._collection.queries, "BM25"):
            (scores, rows), elapsed = _timed(partial(stage.retrieve, query.text))
            self._note(BM25_SYSTEM, elapsed)
            scores, rows = self._collection.candidates_of(query, scores, rows)
            self._keep(BM25_SYSTEM, query, rows, scores)

    def forget_unfinished(self) -> None:
        """Keep nothing of a system that did not come to its last query."""
        self.runs = {name: run for name, run in self.runs.items() if len(run) == len(self._collection.queries)}
        self.stages = {name: own for name, own in self.stages.items() if name in self.runs}

    @cached_property
    def _lexical(self) -> Bm25Stage:
        return Bm25Stage(self._collection.texts, self._top_k)

    def _sample(self) -> set[int]:
        count = min(_SAMPLED_QUERIES, len(self._collection.queries))
        return set(self._generator.choice(len(self._collection.queries), size=count, replace=False).tolist())

    def _sample_probabilities(
        self, reranker: Reranker, prepared: Any, query: Query, rows: np.ndarray, base: np.ndarray
    ) -> None:
        """Probabilities of positives, hard negatives and random passages, judged in the list of candidates."""
        drawn = np.setdiff1d(self._generator.integers(len(self._collection.ids), size=_RANDOM_PASSAGES), rows)
        longer = np.concatenate([rows, drawn])
        relevance = reranker.rank(prepared, longer, np.pad(base, (0, len(drawn)))).relevance
        assert relevance is not None
        judged, ids = self._collection.judged[query.id], self._collection.ids
        relevant = np.asarray([judged.get(ids[row], 0) > 0 for row in longer])
        candidate = np.arange(len(longer)) < len(rows)
        for name, values in (
            ("positives", relevance[candidate & relevant]),
            ("hard negatives", relevance[candidate & ~relevant][:_HARD_NEGATIVES]),
            ("random passages", relevance[~candidate & ~relevant]),
        ):
            self.probabilities.setdefault(name, []).extend(values.tolist())

    def _keep(self, system: str, query: Query, rows: np.ndarray, scores: np.ndarray) -> None:
        run = self.runs.setdefault(system, {})
        run[query.id] = {self._collection.ids[row]: float(score) for row, score in zip(rows, scores, strict=True)}

    def _note(self, name: str, milliseconds: float) -> None:
        self.times.setdefault(name, []).append(milliseconds)

    def _progress(self, items: Sequence[Any], text: str) -> Iterable[Any]:
        return tqdm(items, desc=text, unit="query", disable=not self._show_progress)


def _reranked(reranker: Reranker, query: EncodedQuery, rows: np.ndarray, base: np.ndarray) -> tuple[Any, Ranked]:
    """The query as the reranker reads it, and what it says of the candidates: an application waits for both."""
    prepared = reranker.prepare(query)
    return prepared, reranker.rank(prepared, rows, base)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - begin) * 1000
