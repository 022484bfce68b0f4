"""Measure retrieval and reranking on retrieval data, side by side over the same queries."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rrra_haystack import __version__
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.data import Passage, Query
from rrra_training.data.rows import drawn
from rrra_training.evaluation.bench import Bench
from rrra_training.evaluation.collection import Collection
from rrra_training.evaluation.figures import Runs, answers_found, milliseconds, summary
from rrra_training.evaluation.forms import by_encoder, codes_of, forms_of
from rrra_training.evaluation.rerankers.interface import Form
from rrra_training.evaluation.splits import check_condensable, check_split
from rrra_training.evaluation.systems import (
    BM25_SYSTEM,
    KINDS,
    RRRA_SYSTEM,
    baseline_of,
    check_systems,
)
from rrra_training.measures.ranking import condensed, judged_share, mean, per_query
from rrra_training.runs.machine import processor_name

DEFAULT_SYSTEMS = ("match", RRRA_SYSTEM)


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


class UnfinishedEvaluationError(RuntimeError):
    """
    Some systems were measured, and then one failed.

    :param measured: What was measured before.
    :param cause: Why it failed.
    """

    def __init__(self, measured: Evaluation, cause: Exception) -> None:
        super().__init__(f"Not all systems of {measured.figures['dataset']} were measured: {cause}")
        self.measured = measured


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
    match: str | None = None,
    ignore_identical: bool = False,
    cache: Path | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """
    Measure systems: exact retrieval of the first passages of the whole corpus, then reranking of these.

    A late-interaction model has no embedding to retrieve by: BM25 retrieves for it, and is measured in any case.

    :param data: A folder in the BEIR layout.
    :param model: A model, or what :meth:`RRRAModel.load` takes.
    :param split: Which queries.
    :param systems: What is measured beside the encoder: ``bm25``; ``rrra``, the model; ``match``, its token match
        alone, which comes with it; ``untrained``, the untrained form over the model's encoder; ``maxsim``, MaxSim over
        this encoder's own token states; ``hybrid``, the model over the candidates of encoder and BM25 together;
        ``NAME=MODEL``, one more model, over the candidates of its own encoder or, if it is a late-interaction model,
        of the model's; the path of a YAML file with a Haystack ranker.
    :param codes: Kinds of token codes to rerank from: ``1bit``, ``2bit``, ``4bit``, ``int8``, and ``float32`` for token
        states as they are. The first is reported as ``match`` and ``rrra``, further ones as ``match-KIND`` and
        ``rrra-KIND``. The model's own kind if `None`.
    :param top_k: How many passages are retrieved for a query, and reranked.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw, the bootstrap and the randomisation test.
    :param only_judged: Measure condensed lists too: the runs without what nobody judged.
    :param match: The metadata fields that labels name, as ``meta.source,meta.page_number``: of all passages with a
        label's values, the first is what is looked for. Labels are passages' ids if `None`.
    :param ignore_identical: Leave a passage that is the query itself, word for word, out of the query's candidates, as
        where questions are searched among questions.
    :param cache: Where encoded corpora are kept, those of a training included; nothing is kept if `None`.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If a split, a system or a kind of codes is unknown, the split has no queries, none of them has a
        relevant passage in the corpus, a passage lacks a field of `match`, ``hybrid`` is asked of a late-interaction
        model, or condensed lists are asked for where nothing is judged irrelevant.
    :raises UnfinishedEvaluationError: If a system fails after others were measured.
    """
    check_systems(systems, codes or ())
    if unknown := [kind for kind in codes or () if kind not in KINDS]:
        msg = f"Unknown kind of codes {unknown[0]!r}; the kinds are {', '.join(KINDS)}."
        raise ValueError(msg)
    checked = check_split(data, split, only_judged=only_judged, match=match)
    dataset, matching = checked.dataset, checked.matching
    queries = drawn(checked.queries, limit, seed)
    labels = {query.id: checked.labels[query.id] for query in queries}
    qrels = checked.labels if matching is None else matching.by_passage()
    judged = {query.id: qrels[query.id] for query in queries}
    if only_judged:
        check_condensable(dataset, split, judged)
    loaded = _loaded(model, systems)
    collection = Collection(dataset.name, checked.passages, queries, judged, ignore_identical)
    forms = forms_of(loaded, systems, codes)
    failure: Exception | None = None
    with tempfile.TemporaryDirectory(prefix="rrra-evaluate-") as scratch:
        bench = Bench(
            collection, top_k=top_k, seed=seed, scratch=Path(scratch), cache=cache, show_progress=show_progress
        )
        try:
            _measure(bench, loaded, forms, systems)
        except Exception as error:
            bench.forget_unfinished()
            # With what retrieves all is compared.
            if baseline_of(bench.runs) not in bench.runs:
                raise
            failure = error
    measure = per_query if matching is None else matching.per_query
    values = {name: measure(labels, run) for name, run in bench.runs.items()}
    figures = {
        "dataset": dataset.name,
        "split": split,
        "model": model if isinstance(model, str) else loaded.config.encoder,
        "queries": len(queries),
        "documents": len(collection.passages),
        "top_k": top_k,
        "limit": limit,
        "seed": seed,
        "ignore_identical": ignore_identical,
        "codes": codes_of(forms, bench.runs),
        "rrra-haystack": __version__,
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        **({"match": match} if match else {}),
        **summary(values, seed),
        **_further_figures(bench, collection, only_judged=only_judged),
    }
    probabilities = {name: np.asarray(own, dtype=np.float32) for name, own in bench.probabilities.items()}
    by_id = {passage.id: passage for passage in collection.passages}
    measured = Evaluation(figures, queries, values, bench.runs, judged, probabilities, by_id, loaded)
    if failure is not None:
        raise UnfinishedEvaluationError(measured, failure) from failure
    return measured


def _loaded(model: str | RRRAModel, systems: Sequence[str]) -> RRRAModel:
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    if "hybrid" in systems and not loaded.encoder.embeds:
        msg = (
            f"{loaded.encoder.name} is a late-interaction model and retrieves nothing itself, so BM25 alone retrieves "
            "for it: leave the system 'hybrid' out, or name a model that retrieves (--model), and this one beside it "
            "as a system, NAME=MODEL."
        )
        raise ValueError(msg)
    return loaded


def _measure(bench: Bench, model: RRRAModel, forms: Sequence[Form], systems: Sequence[str]) -> None:
    """Measure all systems, those of the model's encoder first, or BM25 where that does not retrieve."""
    own, *others = by_encoder(model, forms)
    if not model.encoder.embeds:
        bench.measure_bm25()
    bench.measure_encoder(own.encoder, own.forms, systems)
    for other in others:
        bench.measure_encoder(other.encoder, other.forms, (), name=other.name)
    if BM25_SYSTEM in systems and model.encoder.embeds:
        bench.measure_bm25()


def _further_figures(bench: Bench, collection: Collection, *, only_judged: bool) -> dict[str, Any]:
    """What is said of runs beside the measures: judged shares, condensed lists, answers, times and sizes."""
    judged, runs = collection.judged, bench.runs
    figures: dict[str, Any] = {"judged@10": {name: judged_share(judged, run) for name, run in runs.items()}}
    if only_judged:
        figures["condensed"] = {name: mean(per_query(judged, condensed(judged, run))) for name, run in runs.items()}
    if answers := answers_found(runs, collection):
        figures["answers"] = answers
    figures |= milliseconds(bench.times, bench.stages)
    return figures | {"stages": bench.stages, "bytes_per_document": bench.sizes}


def as_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The figures of one data set, or of several under the key ``evaluations``."""
    figures = [one.figures for one in evaluations]
    return figures[0] if len(figures) == 1 else {"evaluations": figures}
