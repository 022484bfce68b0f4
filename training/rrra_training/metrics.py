"""Ranking metrics of ir-measures, query by query, and how sure a difference is."""

from collections.abc import Iterable, Mapping

import ir_measures
import numpy as np
from ir_measures import RR, Measure, R, nDCG

# Names as the project reports them -> measures. R@k is recall: the share of the relevant passages in the top k.
MEASURES: dict[str, Measure] = {
    "R@1": R @ 1,
    "R@5": R @ 5,
    "R@20": R @ 20,
    "R@100": R @ 100,
    "MRR@10": RR @ 10,
    "nDCG@10": nDCG @ 10,
}

Qrels = Mapping[str, Mapping[str, int]]


def per_query(qrels: Qrels, run: Mapping[str, Mapping[str, float]]) -> dict[str, np.ndarray]:
    """
    Measure a run.

    :param qrels: Query id -> passage id -> grade.
    :param run: Query id -> passage id -> score. Queries that are judged and not in the run count as 0.
    :returns: Measure name -> one value a query, in the order of `qrels`, fractions between 0 and 1.
    """
    order = {query_id: i for i, query_id in enumerate(qrels)}
    values = {name: np.zeros(len(order)) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    plain_qrels = {query_id: dict(judged) for query_id, judged in qrels.items()}
    plain_run = {query_id: dict(scores) for query_id, scores in run.items()}
    for metric in ir_measures.iter_calc(list(MEASURES.values()), plain_qrels, plain_run):
        values[names[metric.measure]][order[metric.query_id]] = metric.value
    return values


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
