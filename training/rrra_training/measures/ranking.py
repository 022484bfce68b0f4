"""Ranking metrics of ir-measures, query by query."""

from collections.abc import Iterable, Mapping

import ir_measures
import numpy as np
from ir_measures import AP, RR, Judged, Measure, R, Success, nDCG

# Names as the project reports them -> measures. R@k is recall: the share of the relevant passages in the top k.
MEASURES: dict[str, Measure] = {
    "R@1": R @ 1,
    "R@5": R @ 5,
    "R@20": R @ 20,
    "R@50": R @ 50,
    "R@100": R @ 100,
    "MRR@10": RR @ 10,
    "nDCG@10": nDCG @ 10,
    "MAP@100": AP @ 100,
}
# Measures of retrieval where queries have several relevant passages: R@1 cannot exceed 1 / their number, success@1 can.
OF_RETRIEVAL: dict[str, Measure] = {
    "success@1": Success @ 1,
    "R@1": R @ 1,
    "R@10": R @ 10,
    "R@100": R @ 100,
    "MRR@10": RR @ 10,
    "nDCG@10": nDCG @ 10,
}
# Of nDCG@10.
_DEPTH = 10
_DISCOUNTS = 1 / np.log2(np.arange(_DEPTH) + 2)
Qrels = Mapping[str, Mapping[str, int]]
# In the system's own order where scores are equal.
Run = Mapping[str, Mapping[str, float]]


def per_query(qrels: Qrels, run: Run, measures: Mapping[str, Measure] = MEASURES) -> dict[str, np.ndarray]:
    """
    Measure a run.

    :param qrels: Query id -> passage id -> grade.
    :param run: Query id -> passage id -> score. Queries that are judged and not in the run count as 0.
    :param measures: What is measured, by name.
    :returns: Measure name -> one value a query, in the order of `qrels`, fractions between 0 and 1.
    """
    order = {query_id: i for i, query_id in enumerate(qrels)}
    values = {name: np.zeros(len(order)) for name in measures}
    names = {measure: name for name, measure in measures.items()}
    # A grade below 0 means as much as 0, and a query of such grades alone would crash the library.
    plain_qrels = {
        query_id: {passage: max(grade, 0) for passage, grade in judged.items()} for query_id, judged in qrels.items()
    }
    # Nor may a query be there for which nothing was found: it counts as 0.
    plain_run = {query_id: _by_rank(scores) for query_id, scores in run.items() if scores}
    for metric in ir_measures.iter_calc(list(measures.values()), plain_qrels, plain_run):
        values[names[metric.measure]][order[metric.query_id]] = metric.value
    return values


def ideal_gains(grades: Iterable[Iterable[int]]) -> np.ndarray:
    """What :func:`ndcg` divides by, shape ``[Q]``: the gain of each query's relevant passages in their best order."""
    best = (sorted((grade for grade in own if grade > 0), reverse=True)[:_DEPTH] for own in grades)
    return np.asarray([sum(_DISCOUNTS[: len(own)] * own) for own in best])


def ndcg(grades: np.ndarray, ideal: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """
    nDCG@10 of each query as :func:`per_query` gives it, for who tries many weights.

    :param grades: Grades of the candidates, 0 where one is not relevant, shape ``[Q, k]``.
    :param ideal: Of :func:`ideal_gains`, shape ``[Q]``.
    :param scores: Shape ``[Q, k]``; a place without candidate has the lowest.
    :returns: Shape ``[Q]``.
    """
    first = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    gains = np.take_along_axis(grades, first, axis=1)
    reached: np.ndarray = gains @ _DISCOUNTS[: gains.shape[1]] / np.maximum(ideal, 1e-12)
    return reached


def judged_share(qrels: Qrels, run: Run) -> float:
    """Mean share of the top 10, or of a shorter list, that somebody judged, relevant or not."""
    return float(per_query(qrels, run, {"judged": Judged @ 10})["judged"].mean())


def _by_rank(scores: Mapping[str, float]) -> dict[str, float]:
    """
    Scores that keep the order and are all distinct.

    Measures break ties each in its own way, some by the passages' ids; the order of a system is its own.
    """
    ranked = sorted(scores, key=lambda passage: -scores[passage])
    return {passage: float(len(ranked) - rank) for rank, passage in enumerate(ranked)}


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
