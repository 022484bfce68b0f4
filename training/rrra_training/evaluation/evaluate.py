"""Measure retrieval and reranking on retrieval data, side by side over the same queries."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.data import Passage, Query
from rrra_training.evaluation.bench import Bench
from rrra_training.evaluation.figures import ENCODER_OF, Runs, answer_recalls, summary
from rrra_training.evaluation.rerankers.interface import Form
from rrra_training.evaluation.splits import check_condensable, check_split
from rrra_training.evaluation.systems import KINDS, check_systems, is_file
from rrra_training.measures.ranking import condensed, judged_share, mean, per_query

DEFAULT_SYSTEMS = ("match", "rrra")
_PERCENTILES = (50, 95)


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
        check_condensable(dataset, split, judged)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    passages = list(dataset.passages())
    further = {name: RRRAModel.load(source) for name, source in _named_models(systems)}
    forms = _forms(loaded, systems, codes, further)
    bench = Bench(dataset.name, passages, queries, judged, top_k, seed, cache, show_progress)
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
    figures |= summary(values, seed)
    figures["judged@10"] = {name: judged_share(judged, run) for name, run in bench.runs.items()}
    if only_judged:
        figures["condensed"] = {
            name: mean(per_query(judged, condensed(judged, run))) for name, run in bench.runs.items()
        }
    if answers := answer_recalls(bench.runs, passages, queries):
        figures["answers"] = answers
    figures["latency_ms"] = {
        name: {f"p{p}": float(np.percentile(times, p)) for p in _PERCENTILES} for name, times in bench.times.items()
    }
    figures["stages"] = bench.stages
    figures["bytes_per_document"] = bench.sizes
    sampled = {name: np.asarray(own, dtype=np.float32) for name, own in bench.probabilities.items()}
    by_id = {passage.id: passage for passage in passages}
    return Evaluation(figures, queries, values, bench.runs, judged, sampled, by_id, loaded)


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


def as_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The figures of one data set, or of several under the key ``evaluations``."""
    figures = [one.figures for one in evaluations]
    return figures[0] if len(figures) == 1 else {"evaluations": figures}
