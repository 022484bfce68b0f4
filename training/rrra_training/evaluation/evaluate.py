"""Measure retrieval and reranking on retrieval data, side by side over the same queries."""

import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from tqdm.auto import tqdm

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.preparing import encoded_passages
from rrra_training.corpora.store import cache_key
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.rows import known_split
from rrra_training.evaluation.rerankers.interface import CodeReranker, Form, HaystackReranker, Reranker
from rrra_training.evaluation.stages import KINDS, Bm25Stage, EncoderStage, check_systems, is_file
from rrra_training.measures.ranking import (
    MEASURES,
    answer_recall,
    answer_tokens,
    condensed,
    has_judged_irrelevant,
    judged_share,
    mean,
    paired_interval,
    per_query,
    randomisation_test,
)

logger = logging.getLogger(__name__)

DEFAULT_SYSTEMS = ("match", "rrra")

# After the name of a further model: what its encoder retrieves, if that is not the encoder of all others.
ENCODER_OF = ": encoder"

# Systems that read the model's own codes, and which kind of them.
_OF_THE_MODEL = re.compile(rf"(?:rrra|match)(-(?:{'|'.join(KINDS)}))?|hybrid")
_PERCENTILES = (50, 95)
# The measures whose differences are tested.
COMPARED = ("R@1", "nDCG@10")
# Columns of tables in a terminal: what a head ends with whose cells hold an interval and p; characters of an interval.
_WITH_P = ", p"
_INTERVAL_WIDTH = len("-10.0 to -10.0,")
# What the distribution of relevance probabilities is drawn from.
_SAMPLED_QUERIES = 500
_HARD_NEGATIVES = 10
_RANDOM_PASSAGES = 10

# System -> query id -> passage id -> score.
Runs = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Evaluation:
    """
    What was measured on one data set.

    :param figures: What the JSON holds; ``docs/evaluation.md`` describes the keys.
    :param queries: The queries.
    :param per_query: System -> measure -> one value a query, in the order of `queries`.
    :param runs: System -> query id -> passage id -> score.
    :param qrels: Query id -> passage id -> grade; above 0 is relevant.
    :param probabilities: Relevance probabilities of ``positives``, ``hard negatives`` (the encoder's first ten that
        are not labelled relevant) and ``random passages``, each of shape ``[n]``; empty without the system ``rrra``.
    :param passages: The corpus by id.
    :param model: The model.
    """

    figures: dict[str, Any]
    queries: list[Query]
    per_query: dict[str, dict[str, np.ndarray]]
    runs: Runs
    qrels: dict[str, dict[str, int]]
    probabilities: dict[str, np.ndarray]
    passages: dict[str, Passage]
    model: RRRAModel


def evaluate(
    data: str | Path,
    *,
    model: str | RRRAModel,
    split: str = "test",
    systems: Sequence[str] = DEFAULT_SYSTEMS,
    codes: Sequence[str] | None = None,
    top_k: int = 100,
    limit: int | None = None,
    seed: int = 0,
    only_judged: bool = False,
    cache: Path | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """
    Measure systems: exact retrieval of the first passages of the whole corpus, then reranking of these.

    :param data: A folder in the BEIR layout.
    :param model: A model, or what :meth:`RRRAModel.load` takes.
    :param split: Which queries.
    :param systems: What is measured beside the encoder: ``bm25``; ``rrra``, the model; ``match``, its token match
        alone, which comes with it; ``untrained``, the untrained form over the model's encoder; ``maxsim``, MaxSim over
        this encoder's own token states; ``hybrid``, the model over the candidates of encoder and BM25 together;
        ``NAME=MODEL``, one more model; the path of a YAML file with a Haystack ranker.
    :param codes: Kinds of token codes to rerank from: ``1bit``, ``int8``, and ``float32`` for token states as they
        are. The first is reported as ``match`` and ``rrra``, further ones as ``match-KIND`` and ``rrra-KIND``. The
        model's own kind if `None`.
    :param top_k: How many passages are retrieved for a query, and reranked.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw, the bootstrap and the randomisation test.
    :param only_judged: Measure condensed lists too: the runs without what nobody judged.
    :param cache: Where encoded corpora are kept, those of a training included; nothing is kept if `None`.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If a split, a system or a kind of codes is unknown, the split has no queries, or condensed lists
        are asked for where nothing is judged irrelevant.
    """
    check_systems(systems, codes or ())
    if unknown := [kind for kind in codes or () if kind not in KINDS]:
        msg = f"Unknown kind of codes {unknown[0]!r}; the kinds are {', '.join(KINDS)}."
        raise ValueError(msg)
    dataset = check_split(data, split, only_judged=only_judged)
    queries = dataset.queries(split, limit=limit, seed=seed)
    qrels = dataset.qrels(split)
    judged = {query.id: qrels[query.id] for query in queries}
    if only_judged:
        _check_condensable(dataset, split, judged)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    passages = list(dataset.passages())
    further = {name: RRRAModel.load(source) for name, source in _named_models(systems)}
    forms = _forms(loaded, systems, codes, further)
    bench = _Bench(dataset.name, passages, queries, judged, top_k, seed, cache, show_progress)
    with tempfile.TemporaryDirectory(prefix="rrra-evaluate-") as scratch:
        bench.measure_encoder(loaded, forms, systems, Path(scratch))
        for key, (name, other) in _other_encoders(loaded, further).items():
            own = [form for form in forms if cache_key(form.model.encoder) == key]
            bench.measure_encoder(other, own, (), Path(scratch), name=f"{name}{ENCODER_OF}")
    if "bm25" in systems:
        bench.measure_bm25()
    figures = {
        "dataset": dataset.name,
        "split": split,
        "model": model if isinstance(model, str) else loaded.config.encoder,
        "queries": len(queries),
        "documents": len(passages),
        "top_k": top_k,
        "seed": seed,
    }
    values = {name: per_query(judged, run) for name, run in bench.runs.items()}
    figures |= _summary(values, seed)
    figures["judged@10"] = {name: judged_share(judged, run) for name, run in bench.runs.items()}
    if only_judged:
        figures["condensed"] = {
            name: mean(per_query(judged, condensed(judged, run))) for name, run in bench.runs.items()
        }
    if answers := _answers(bench, passages, queries):
        figures["answers"] = answers
    figures["latency_ms"] = {
        name: {f"p{p}": float(np.percentile(times, p)) for p in _PERCENTILES} for name, times in bench.times.items()
    }
    figures["stages"] = bench.stages
    figures["bytes_per_document"] = bench.sizes
    sampled = {name: np.asarray(own, dtype=np.float32) for name, own in bench.probabilities.items()}
    by_id = {passage.id: passage for passage in passages}
    return Evaluation(figures, queries, values, bench.runs, judged, sampled, by_id, loaded)


def check_split(data: str | Path, split: str, *, only_judged: bool = False) -> BeirDataset:
    """
    See that a split can be measured.

    :param data: A folder in the BEIR layout.
    :param split: Which queries.
    :param only_judged: Whether condensed lists are to be measured.
    :raises ValueError: If there is no such folder or split, it has no queries, or condensed lists are asked for where
        nothing is judged irrelevant.
    """
    dataset = BeirDataset(data)
    known_split(str(dataset.folder), split, dataset.splits())
    queries = dataset.queries(split)
    if not queries:
        msg = f"The split '{split}' of {dataset.folder} has no queries."
        raise ValueError(msg)
    if only_judged:
        qrels = dataset.qrels(split)
        _check_condensable(dataset, split, {query.id: qrels[query.id] for query in queries})
    return dataset


def _check_condensable(dataset: BeirDataset, split: str, judged: Mapping[str, Mapping[str, int]]) -> None:
    if not has_judged_irrelevant(judged):
        msg = (
            f"The {len(judged)} queries of the split '{split}' of {dataset.folder} have nothing judged irrelevant (no "
            "grade of 0 or less), so condensed lists would hold relevant passages only. Leave --condensed away, or "
            "leave out this set."
        )
        raise ValueError(msg)


def _named_models(systems: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [system.partition("=") for system in systems if "=" in system and not is_file(system)]
    return [(name, source) for name, _, source in pairs]


def _forms(
    model: RRRAModel, systems: Sequence[str], codes: Sequence[str] | None, further: Mapping[str, RRRAModel]
) -> list[Form]:
    forms = []
    if {"rrra", "match", "hybrid"} & set(systems):
        for number, kind in enumerate(codes or [model.config.code]):
            suffix = "" if number == 0 else f"-{kind}"
            forms.append(Form(f"rrra{suffix}", model, kind, f"match{suffix}" if "match" in systems else None))
    if "untrained" in systems:
        untrained = RRRAModel.untrained(model.encoder)
        forms.append(Form("untrained", untrained, untrained.config.code))
    forms += [Form(name, other, other.config.code) for name, other in further.items()]
    return forms


def _other_encoders(model: RRRAModel, further: Mapping[str, RRRAModel]) -> dict[str, tuple[str, RRRAModel]]:
    """The first further model of each encoder that is not the model's own, by the key of its weights."""
    found: dict[str, tuple[str, RRRAModel]] = {}
    for name, other in further.items():
        if (key := cache_key(other.encoder)) != cache_key(model.encoder):
            found.setdefault(key, (name, other))
    return found


class _Bench:
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


def _summary(values: Mapping[str, Mapping[str, np.ndarray]], seed: int) -> dict[str, Any]:
    """Means, what each system has over the encoder, and what the model has over each other system."""
    figures: dict[str, Any] = {"systems": {name: mean(own) for name, own in values.items()}}
    figures |= _differences([(name, own, values["encoder"]) for name, own in values.items() if name != "encoder"], seed)
    if "rrra" in values:
        others = [(name, values["rrra"], own) for name, own in values.items() if name != "rrra"]
        figures["rrra_over"] = _differences(others, seed)
    return figures


def _differences(
    pairs: Sequence[tuple[str, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Intervals and p-values of the difference of each two systems, by a name."""
    return {
        "intervals": {
            name: {measure: paired_interval(one[measure], other[measure], seed=seed) for measure in COMPARED}
            for name, one, other in pairs
        },
        "p_values": {
            name: {measure: randomisation_test(one[measure], other[measure], seed=seed) for measure in COMPARED}
            for name, one, other in pairs
        },
    }


def _answers(bench: _Bench, passages: Sequence[Passage], queries: Sequence[Query]) -> dict[str, dict[str, float]]:
    """Answer recall of each system, by cutoff; empty where no query has answers."""
    # A title answers no question: DPR looks in the text alone.
    text = {passage.id: passage.text for passage in passages}
    words = lru_cache(maxsize=None)(lambda passage: answer_tokens(text[passage]))
    holding: dict[str, frozenset[str]] = {}
    for query in queries:
        wanted = [answer for one in query.answers if (answer := answer_tokens(one)).strip()]
        if wanted:
            seen = {passage for run in bench.runs.values() for passage in run[query.id]}
            holding[query.id] = frozenset(one for one in seen if any(answer in words(one) for answer in wanted))
    if not holding:
        return {}
    return {name: answer_recall(run, holding) for name, run in bench.runs.items()}


def query_milliseconds(figures: Mapping[str, Any], system: str) -> float | None:
    """
    Median milliseconds a query, retrieval and reranking together, without the encoding of the query.

    :param figures: Figures of one data set.
    :param system: A system's name.
    :returns: `None` if the system was not timed by itself, as the token match is not.
    """
    stages = figures["stages"].get(system)
    return sum(figures["latency_ms"][stage]["p50"] for stage in stages) if stages else None


def code_key(system: str) -> str:
    """
    Under which key ``bytes_per_document`` holds the token codes that a system reads, or its token states.

    :param system: A system's name.
    """
    if system == "maxsim":
        return "states maxsim"
    own = _OF_THE_MODEL.fullmatch(system)
    return f"codes{own[1] or ''}" if own else f"codes {system}"


def difference(compared: Mapping[str, Any], system: str, measure: str) -> tuple[str, str]:
    """
    The interval and the p-value of a difference, as text, in percent.

    :param compared: What holds ``intervals`` and ``p_values``: figures of one data set, or their ``rrra_over``.
    :param system: A system's name.
    :param measure: One of those that are compared, ``R@1`` or ``nDCG@10``.
    :returns: Both are empty if the system is not among them.
    """
    if system not in compared["intervals"]:
        return "", ""
    low, high = compared["intervals"][system][measure]
    return f"{100 * low:+.1f} to {100 * high:+.1f}", f"{compared['p_values'][system][measure]:.4f}"


def query_costs(figures: Mapping[str, Any], system: str) -> tuple[str, str, str]:
    """
    What a system takes, as text.

    :param figures: Figures of one data set.
    :param system: A system's name.
    :returns: Median milliseconds a query; those of its last stage, with the 95th percentile; and the bytes of token
        codes or states a passage. Each is empty if there is none.
    """
    held = figures["bytes_per_document"].get(code_key(system))
    size = "" if held is None else f"{held:,.0f}"
    total = query_milliseconds(figures, system)
    if total is None:
        return "", "", size
    last = figures["latency_ms"][figures["stages"][system][-1]]
    return f"{total:,.1f}", f"{last['p50']:,.1f} ({last['p95']:,.1f})", size


def render(evaluations: Sequence[Evaluation]) -> Group:
    """
    The figures as tables, in percent, that fit 80 columns: quality, differences and costs of each data set; and one
    table over all data sets if there are several.
    """
    every = [one.figures for one in evaluations]
    tables = [table for figures in every for table in (_quality(figures), _compared(figures), _costs(figures))]
    return Group(*tables, *([_overview(every)] if len(every) > 1 else []))


def _new_table(title: str, *columns: str, caption: str | None = None) -> Table:
    """A table whose first column names systems, and gives way to the others where the terminal is narrow."""
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("system", overflow="fold", min_width=8)
    for column in columns:
        # An interval and its p may stand in two lines; a figure is never cut.
        wide = column.endswith(_WITH_P)
        table.add_column(column, justify="right", no_wrap=not wide, min_width=_INTERVAL_WIDTH if wide else None)
    return table


def title_of(figures: Mapping[str, Any]) -> str:
    """
    What the queries of figures are called: collection and split.

    :param figures: Figures of one data set.
    """
    return f"{figures['dataset']} {figures['split']}"


def _quality(figures: Mapping[str, Any]) -> Table:
    title = (
        f"{escape(title_of(figures))}: {figures['queries']:,} queries, {figures['documents']:,} documents, "
        f"top {figures['top_k']}, seed {figures['seed']}"
    )
    table = _new_table(title, *MEASURES, "judged@10")
    for system, values in figures["systems"].items():
        cells = [f"{values[name] * 100:.1f}" for name in MEASURES]
        table.add_row(escape(system), *cells, f"{figures['judged@10'][system] * 100:.1f}")
    return table


def _compared(figures: Mapping[str, Any]) -> Table:
    """Every comparison with the encoder, and of the model with every system."""
    over = [("over encoder", figures)]
    if "rrra_over" in figures:
        over.append(("rrra over it", figures["rrra_over"]))
    columns = [f"{measure} {text}{_WITH_P}" for text, _ in over for measure in COMPARED]
    table = _new_table("\nDifferences: 95 % intervals", *columns)
    for system in figures["systems"]:
        cells = [difference(held, system, measure) for _, held in over for measure in COMPARED]
        table.add_row(escape(system), *(", ".join(filter(None, cell)) for cell in cells))
    return table


def _costs(figures: Mapping[str, Any]) -> Table:
    """What a system takes, and its figures that not all collections have."""
    further = [name for name, held in (("answer@5", "answers"), ("condensed nDCG@10", "condensed")) if held in figures]
    caption = (
        "ms: median of a query, retrieval and reranking, without encoding it; bytes of codes or states a passage, "
        f"beside the {figures['bytes_per_document']['embedding']:,.0f} of the embedding."
    )
    table = _new_table("\nCosts", "ms", "last stage, ms (p95)", "bytes", *further, caption=caption)
    for system in figures["systems"]:
        cells = [figures["answers"][system]["5"]] if "answers" in figures else []
        cells += [figures["condensed"][system]["nDCG@10"]] if "condensed" in figures else []
        table.add_row(escape(system), *query_costs(figures, system), *(f"{value * 100:.1f}" for value in cells))
    return table


def _overview(every: Sequence[Mapping[str, Any]]) -> Table:
    table = _new_table(
        "\nAll collections; intervals of nDCG@10", "R@1", "nDCG@10", f"over encoder{_WITH_P}", "judged@10"
    )
    for figures in every:
        table.add_row(f"[bold]{escape(title_of(figures))}[/]")
        for system, values in figures["systems"].items():
            cells = [f"{values['R@1'] * 100:.1f}", f"{values['nDCG@10'] * 100:.1f}"]
            cells.append(", ".join(filter(None, difference(figures, system, "nDCG@10"))))
            table.add_row(escape(system), *cells, f"{figures['judged@10'][system] * 100:.1f}")
        table.add_section()
    return table


def as_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The figures of one data set, or of several under the key ``evaluations``."""
    figures = [one.figures for one in evaluations]
    return figures[0] if len(figures) == 1 else {"evaluations": figures}


__all__ = [
    "COMPARED", "DEFAULT_SYSTEMS", "Evaluation", "as_json", "check_split", "difference", "evaluate", "query_costs",
    "query_milliseconds", "render", "title_of",
]  # fmt: skip
