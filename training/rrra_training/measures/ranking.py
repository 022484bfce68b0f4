"""Ranking metrics of ir-measures, query by query, and how sure a difference is."""

import unicodedata
from collections.abc import Iterable, Mapping

import ir_measures
import numpy as np
import regex
from ir_measures import AP, RR, Judged, Measure, R, nDCG

# Names as the project reports them -> measures. R@k is recall: the share of the relevant passages in the top k.
MEASURES: dict[str, Measure] = {
    "R@1": R @ 1,
    "R@5": R @ 5,
    "R@20": R @ 20,
    "R@50": R @ 50,
    "R@100": R @ 100,
    "MRR@10": RR @ 10,
    "nDCG@10": nDCG @ 10,
    "MAP": AP @ 100,
}

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

_SIGNS_AT_ONCE = 500
# Runs of letters, digits and marks; any other visible character by itself.
_ANSWER_TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def per_query(qrels: Qrels, run: Run) -> dict[str, np.ndarray]:
    """
    Measure a run.

    :param qrels: Query id -> passage id -> grade.
    :param run: Query id -> passage id -> score. Queries that are judged and not in the run count as 0.
    :returns: Measure name -> one value a query, in the order of `qrels`, fractions between 0 and 1.
    """
    return _calculated(qrels, run, MEASURES)


def judged_share(qrels: Qrels, run: Run) -> float:
    """Mean share of the top 10 that somebody judged, relevant or not."""
    return float(_calculated(qrels, run, {"judged": Judged @ 10})["judged"].mean())


def _calculated(qrels: Qrels, run: Run, measures: Mapping[str, Measure]) -> dict[str, np.ndarray]:
    order = {query_id: i for i, query_id in enumerate(qrels)}
    values = {name: np.zeros(len(order)) for name in measures}
    names = {measure: name for name, measure in measures.items()}
    plain_qrels = {query_id: dict(judged) for query_id, judged in qrels.items()}
    plain_run = {query_id: dict(scores) for query_id, scores in run.items()}
    for metric in ir_measures.iter_calc(list(measures.values()), plain_qrels, plain_run):
        values[names[metric.measure]][order[metric.query_id]] = metric.value
    return values


def has_judged_irrelevant(qrels: Qrels) -> bool:
    """Whether anything is judged irrelevant; without, a list of judged passages holds nothing but relevant ones."""
    return any(grade <= 0 for judged in qrels.values() for grade in judged.values())


def condensed(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """
    A run without the passages that nobody judged (condensed lists: Sakai, SIGIR 2007).

    Pooled judgments punish what the pool did not see; over the judged passages alone, systems are compared alike.
    """
    return {
        query_id: {passage: score for passage, score in scores.items() if passage in qrels.get(query_id, {})}
        for query_id, scores in run.items()
    }


def mean(values: Mapping[str, np.ndarray], names: Iterable[str] = MEASURES) -> dict[str, float]:
    """Means over the queries."""
    return {name: float(values[name].mean()) for name in names}


def paired_interval(system: np.ndarray, baseline: np.ndarray, *, seed: int, draws: int = 2000) -> tuple[float, float]:
    """
    A 95 % bootstrap interval of the mean difference of two systems over the same queries.

    :param system: One value a query, shape ``[n]``.
    :param baseline: The same queries with the other system, shape ``[n]``.
    :param seed: Seed of the draws.
    :param draws: How many samples of n queries are drawn.
    """
    difference = system - baseline
    rng = np.random.default_rng(seed)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def randomisation_test(system: np.ndarray, baseline: np.ndarray, *, seed: int, draws: int = 10_000) -> float:
    """
    Two-sided p-value of the mean difference of two systems, by Fisher's paired randomisation test.

    How often a difference as large comes about if the systems' values are swapped at random, query by query
    (Smucker, Allan and Carterette, CIKM 2007). The order at hand counts as one of the draws, so the least value is
    1 / (draws + 1).

    :param system: One value a query, shape ``[n]``.
    :param baseline: The same queries with the other system, shape ``[n]``.
    :param seed: Seed of the draws.
    :param draws: How many orders are drawn.
    """
    difference = (system - baseline).astype(np.float32)
    # A query on which both agree is the same in any order.
    difference = difference[difference != 0]
    observed = abs(difference.sum(dtype=np.float64))
    rng = np.random.default_rng(seed)
    as_large = 1
    for begin in range(0, draws, _SIGNS_AT_ONCE):
        count = min(_SIGNS_AT_ONCE, draws - begin)
        signs = rng.integers(0, 2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        sums = signs.astype(np.float32) @ difference
        # What rounding makes of an equal sum is as large.
        as_large += int((np.abs(sums) >= observed - 1e-4 * max(observed, 1e-6)).sum())
    return as_large / (draws + 1)


def answer_tokens(text: str) -> str:
    """
    A text as DPR looks for answers in it (arXiv 2004.04906): its lower-case words and each punctuation mark, in
    canonical decomposition, each between single spaces. A text holds an answer if it contains the answer's tokens.
    """
    return f" {' '.join(_ANSWER_TOKEN.findall(unicodedata.normalize('NFD', text).lower()))} "


def answer_recall(
    run: Run, has_answer: Mapping[str, frozenset[str]], cutoffs: Iterable[int] = (1, 5, 20, 100)
) -> dict[str, float]:
    """
    Share of the queries of whose first passages one holds an answer string (DPR's criterion, arXiv 2004.04906).

    :param run: Query id -> passage id -> score.
    :param has_answer: Query id -> passages that hold one of its answers, for each query that has answers.
    :param cutoffs: How many passages are looked at.
    :returns: Cutoff, as text -> fraction.
    """
    first = []
    for query_id, passages in has_answer.items():
        ranked = sorted(run.get(query_id, {}).items(), key=lambda pair: -pair[1])
        first.append(next((rank for rank, (passage, _) in enumerate(ranked) if passage in passages), np.inf))
    return {str(cutoff): float(np.mean(np.asarray(first) < cutoff)) for cutoff in cutoffs}
