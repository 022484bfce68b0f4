"""What is said of runs: measures, differences, milliseconds and bytes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rrra_training.evaluation.collection import Collection
from rrra_training.evaluation.systems import RRRA_SYSTEM, baseline_of, code_key
from rrra_training.measures.answers import answer_recall, answer_tokens
from rrra_training.measures.ranking import mean
from rrra_training.measures.significance import paired_interval, randomisation_test

# System -> query id -> passage id -> score.
Runs = dict[str, dict[str, dict[str, float]]]
# The measures whose differences are tested.
COMPARED = ("R@1", "nDCG@10")
_PERCENTILES = (50, 95)


def summary(values: Mapping[str, Mapping[str, np.ndarray]], seed: int) -> dict[str, Any]:
    """Means, what each system has over what retrieves, and what the model has over each other system."""
    figures: dict[str, Any] = {"systems": {name: mean(own) for name, own in values.items()}}
    first = baseline_of(values)
    figures |= _differences([(name, own, values[first]) for name, own in values.items() if name != first], seed)
    if (ours := values.get(RRRA_SYSTEM)) is not None:
        others = [(name, ours, own) for name, own in values.items() if name != RRRA_SYSTEM]
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


def answers_found(runs: Runs, collection: Collection) -> dict[str, dict[str, float]]:
    """Answer recall of each system, by cutoff; empty where no query has answers."""
    # A title answers no question: DPR looks in the text alone.
    text = {passage.id: passage.text for passage in collection.passages}
    words = lru_cache(maxsize=None)(lambda passage: answer_tokens(text[passage]))
    holding: dict[str, frozenset[str]] = {}
    for query in collection.queries:
        wanted = [answer for one in query.answers if (answer := answer_tokens(one)).strip()]
        if wanted:
            seen = {passage for run in runs.values() for passage in run[query.id]}
            holding[query.id] = frozenset(one for one in seen if any(answer in words(one) for answer in wanted))
    if not holding:
        return {}
    return {name: answer_recall(run, holding) for name, run in runs.items()}


def milliseconds(
    times: Mapping[str, Sequence[float]], stages: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, float]]]:
    """
    Percentiles of each stage alone, and of whole queries, whose stages are added up query by query.

    :param times: Stage -> milliseconds of each query.
    :param stages: System -> the stages of its queries.
    """
    whole = {system: np.sum([times[stage] for stage in own], axis=0) for system, own in stages.items()}
    return {
        key: {name: {f"p{p}": float(np.percentile(own, p)) for p in _PERCENTILES} for name, own in held.items()}
        for key, held in (("latency_ms", times), ("query_ms", whole))
    }


def query_milliseconds(figures: Mapping[str, Any], system: str) -> float | None:
    """
    Median milliseconds of a whole query, retrieval and reranking together, without the encoding of the query.

    :param figures: Figures of one data set.
    :param system: A system's name.
    :returns: `None` if the system was not timed by itself, as the token match is not.
    """
    return figures["query_ms"][system]["p50"] if system in figures["query_ms"] else None


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
    :returns: Median milliseconds of a query and of its last stage, with the 95th percentile each; and the bytes of
        token codes or states a passage. Each is empty if there is none.
    """
    held = figures["bytes_per_document"].get(code_key(system))
    size = "" if held is None else f"{held:,.0f}"
    if system not in figures["stages"]:
        return "", "", size
    both = (figures["query_ms"][system], figures["latency_ms"][figures["stages"][system][-1]])
    whole, last = (f"{one['p50']:,.1f} ({one['p95']:,.1f})" for one in both)
    return whole, last, size


def title_of(figures: Mapping[str, Any]) -> str:
    """
    What the queries of figures are called: collection and split.

    :param figures: Figures of one data set.
    """
    return f"{figures['dataset']} {figures['split']}"


def settings_of(figures: Mapping[str, Any]) -> str:
    """
    How much was asked of what, and how, as text.

    :param figures: Figures of one data set.
    """
    readers: dict[str, list[str]] = {}
    for system, kind in figures["codes"].items():
        readers.setdefault(kind, []).append(system)
    codes = (f"{kind} ({', '.join(systems)})" for kind, systems in readers.items())
    said = [
        f"queries: {figures['queries']:,}",
        f"passages: {figures['documents']:,}",
        f"top {figures['top_k']}",
        f"seed {figures['seed']}",
        *(["without passages that are the query"] if figures["ignore_identical"] else []),
        *([f"codes {', '.join(codes)}"] if readers else []),
    ]
    return ", ".join(said)


def machine_of(figures: Mapping[str, Any]) -> str:
    """
    Where times were taken, as text.

    :param figures: Figures of one data set.
    """
    return f"{figures['processor']}, threads: {figures['threads']}"
