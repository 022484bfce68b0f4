"""Every system over one collection, timed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.corpora.building import encoded_passages
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.data import Passage, Query
from rrra_training.evaluation.figures import Runs, code_key
from rrra_training.evaluation.rerankers.from_codes import CodeReranker
from rrra_training.evaluation.rerankers.interface import Form, Reranker
from rrra_training.evaluation.rerankers.of_haystack import HaystackReranker
from rrra_training.evaluation.stages import Bm25Stage, EncoderStage
from rrra_training.evaluation.systems import is_file

# What the distribution of relevance probabilities is drawn from.
_SAMPLED_QUERIES = 500
_HARD_NEGATIVES = 10
_RANDOM_PASSAGES = 10


class Bench:
    """
    Runs systems over the queries, one system after the other and one query at a time as an application would, and keeps
    what they return.

    :param dataset: Name of the data.
    :param passages: The corpus.
    :param queries: The queries.
    :param judged: Their judgments.
    :param top_k: How many passages are retrieved for a query, and reranked.
    :param seed: Seed of the passages that are drawn for the distribution of probabilities.
    :param cache: Where encoded corpora are kept; nothing is kept if `None`.
    :param show_progress: Show progress and the time left.
    """

    def __init__(
        self,
        dataset: str,
        passages: Sequence[Passage],
        queries: Sequence[Query],
        judged: Mapping[str, Mapping[str, int]],
        top_k: int,
        seed: int,
        cache: Path | None,
        show_progress: bool,
    ) -> None:
        self._dataset = dataset
        self._cache = cache
        self.passages = passages
        self.queries = queries
        self.runs: Runs = {}
        self.times: dict[str, list[float]] = {}
        # What a query of each system consists of, by the names of the times; without what was not timed by itself.
        self.stages: dict[str, list[str]] = {}
        self.sizes: dict[str, float] = {}
        self.probabilities: dict[str, list[float]] = {}
        self._judged = judged
        self._top_k = top_k
        self._generator = np.random.default_rng(seed)
        self._show_progress = show_progress
        self._ids = [passage.id for passage in passages]

    def measure_encoder(
        self,
        model: RRRAModel,
        forms: Sequence[Form],
        systems: Sequence[str],
        scratch: Path,
        *,
        name: str = "encoder",
    ) -> None:
        """
        Measure an encoder's retrieval, and what reranks it.

        :param model: A model over the encoder.
        :param forms: Forms of RRRA; those over other encoders are left out.
        :param systems: Names of all systems, of which ``maxsim`` and the YAML files of rankers are taken here.
        :param scratch: A folder for what is too large for memory.
        :param name: What the encoder alone is called.
        """
        key = cache_key(model.encoder)
        own = {form.name: form for form in forms if cache_key(form.model.encoder) == key}
        kept = None
        if self._cache is not None:
            kept = encoded_passages(
                self._dataset, self.passages, model.encoder, self._cache,
                total=len(self.passages), show_progress=self._show_progress,
            )  # fmt: skip
        stage = EncoderStage(
            name, model.encoder, list(own.values()), self.passages, self.queries, scratch,
            top_k=self._top_k, max_sim="maxsim" in systems, kept=kept, show_progress=self._show_progress,
        )  # fmt: skip
        rerankers = [*stage.rerankers, *(HaystackReranker(Path(one), self.passages) for one in systems if is_file(one))]
        first = name == "encoder"
        retrieval = "retrieve" if first else f"retrieve {name}"
        self.stages[name] = [retrieval]
        self.stages |= {reranker.name: [retrieval, _time_key(reranker.name)] for reranker in rerankers}
        self.sizes |= {"embedding": stage.dimension * 4} if first else {}
        self.sizes |= {code_key(form): size for form, size in stage.sizes.items()}
        for query in self._progress(stage.queries, f"Retrieving: {name}"):
            (base, rows), elapsed = _timed(partial(stage.retrieve, query))
            self._note(retrieval, elapsed)
            self._keep(name, query.query, rows, base)
        for reranker in rerankers:
            self._measure_reranker(stage, reranker, own.get(reranker.name))
            if "hybrid" in systems and reranker.name == "rrra":
                self._measure_hybrid(stage, reranker)

    def _measure_reranker(self, stage: EncoderStage, reranker: Reranker, form: Form | None) -> None:
        """What a reranker makes of the encoder's candidates, each list searched for first, as in an application."""
        has_probabilities = reranker.name == "rrra" and isinstance(reranker, CodeReranker)
        sampled = self._sample() if has_probabilities else set()
        for number, query in enumerate(self._progress(stage.queries, f"Reranking: {reranker.name}")):
            prepared = reranker.prepare(query)
            base, rows = stage.retrieve(query)
            ranked, elapsed = _timed(partial(reranker.rank, prepared, rows, base))
            self._note(_time_key(reranker.name), elapsed)
            self._keep(reranker.name, query.query, rows, ranked.scores)
            if form is not None and form.match is not None and ranked.match is not None:
                self._keep(form.match, query.query, rows, ranked.match())
            if number in sampled:
                self._sample_probabilities(reranker, prepared, query.query, rows, base)

    @cached_property
    def _lexical(self) -> Bm25Stage:
        return Bm25Stage(self.passages, self._top_k)

    def _measure_hybrid(self, stage: EncoderStage, reranker: Reranker) -> None:
        """The candidates of encoder and BM25 together."""
        lexical = self._lexical
        self.stages["hybrid"] = ["retrieve", "bm25 candidates", "hybrid"]
        for query in self._progress(stage.queries, "Reranking: hybrid"):
            prepared = reranker.prepare(query)
            _, rows = stage.retrieve(query)
            (_, found), elapsed = _timed(partial(lexical.retrieve, query.query.text))
            self._note("bm25 candidates", elapsed)
            union = np.concatenate([rows, np.setdiff1d(found, rows)])
            ranked, elapsed = _timed(partial(reranker.rank, prepared, union, np.zeros(len(union))))
            self._note("hybrid", elapsed)
            self._keep("hybrid", query.query, union, ranked.scores)

    def measure_bm25(self) -> None:
        """Measure BM25's own retrieval."""
        stage = self._lexical
        self.stages["bm25"] = ["bm25"]
        for query in self._progress(self.queries, "BM25"):
            (scores, rows), elapsed = _timed(partial(stage.retrieve, query.text))
            self._note("bm25", elapsed)
            self._keep("bm25", query, rows, scores)

    def _sample(self) -> set[int]:
        count = min(_SAMPLED_QUERIES, len(self.queries))
        return set(self._generator.choice(len(self.queries), size=count, replace=False).tolist())

    def _sample_probabilities(
        self, reranker: Reranker, prepared: Any, query: Query, rows: np.ndarray, base: np.ndarray
    ) -> None:
        """Probabilities of positives, hard negatives and random passages, judged in the list of candidates."""
        drawn = np.setdiff1d(self._generator.integers(len(self._ids), size=_RANDOM_PASSAGES), rows)
        longer = np.concatenate([rows, drawn])
        relevance = reranker.rank(prepared, longer, np.pad(base, (0, len(drawn)))).relevance
        assert relevance is not None
        relevant = np.asarray([self._judged[query.id].get(self._ids[row], 0) > 0 for row in longer])
        candidate = np.arange(len(longer)) < len(rows)
        for name, values in (
            ("positives", relevance[candidate & relevant]),
            ("hard negatives", relevance[candidate & ~relevant][:_HARD_NEGATIVES]),
            ("random passages", relevance[~candidate & ~relevant]),
        ):
            self.probabilities.setdefault(name, []).extend(values.tolist())

    def _keep(self, system: str, query: Query, rows: np.ndarray, scores: np.ndarray) -> None:
        run = self.runs.setdefault(system, {})
        run[query.id] = {self._ids[row]: float(score) for row, score in zip(rows, scores, strict=True)}

    def _note(self, name: str, milliseconds: float) -> None:
        self.times.setdefault(name, []).append(milliseconds)

    def _progress(self, items: Sequence[Any], text: str) -> Iterable[Any]:
        return tqdm(items, desc=text, unit="query", disable=not self._show_progress)


def _time_key(system: str) -> str:
    return system.replace("rrra", "rerank", 1) if system == "rrra" or system.startswith("rrra-") else system


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - begin) * 1000
