"""Measures over runs with equal scores, odd grades and nothing found."""

import itertools

import numpy as np
import pytest
from rrra_training.measures.ranking import MEASURES, ideal_gains, judged_share, ndcg, per_query


@pytest.mark.parametrize("ids", list(itertools.permutations(["a", "m", "z"])))
def test_equal_scores_are_ranked_as_the_system_ranked_them_by_every_measure(ids: tuple[str, ...]) -> None:
    first, second, third = ids
    run = {"q": {first: 0.5, second: 0.5, third: 0.5}}
    best, middle = per_query({"q": {first: 1}}, run), per_query({"q": {second: 1}}, run)
    assert {name: float(best[name][0]) for name in MEASURES} == dict.fromkeys(MEASURES, 1.0)
    assert middle["R@1"] == 0
    assert middle["MRR@10"] == 0.5
    assert middle["nDCG@10"] == pytest.approx(1 / np.log2(3), abs=1e-4)


def test_scores_count_before_the_order_in_which_they_came() -> None:
    values = per_query({"q": {"b": 1}}, {"q": {"a": 0.1, "b": 0.9}})
    assert values["R@1"] == 1


@pytest.mark.parametrize("grades", [{"a": -1}, {"a": -1, "b": -2}, {"a": 0}, {}])
def test_a_query_without_a_relevant_passage_counts_as_nothing(grades: dict[str, int]) -> None:
    values = per_query({"q": grades, "r": {"a": 1}}, {"q": {"a": 0.5, "b": 0.4}, "r": {"a": 0.5}})
    assert values["nDCG@10"].tolist() == [0, 1]
    assert values["R@1"].tolist() == [0, 1]


def test_a_grade_below_zero_is_a_judgment_and_irrelevant() -> None:
    judged, run = {"q": {"a": -1, "b": 1}}, {"q": {"a": 0.9, "b": 0.8}}
    assert per_query(judged, run)["MRR@10"] == 0.5
    assert judged_share(judged, {"q": dict.fromkeys("abcdefghij", 1.0)}) == pytest.approx(0.2)


def test_nothing_found_counts_as_nothing() -> None:
    values = per_query({"q": {"a": 1}, "r": {"a": 1}}, {"q": {}, "r": {"a": 1.0}})
    assert values["R@1"].tolist() == [0, 1]
    assert judged_share({"q": {"a": 1}}, {"q": {}}) == 0
    assert judged_share({"q": {"a": 1}, "r": {"a": 1}}, {"q": {}, "r": {"a": 1.0}}) == pytest.approx(0.5)


def test_the_quick_measure_is_the_same() -> None:
    generator = np.random.default_rng(0)
    # Equal scores, grades, and a relevant passage that was not found.
    scores = generator.integers(6, size=(30, 20)).astype(np.float32)
    grades = generator.choice(4, p=[0.8, 0.1, 0.05, 0.05], size=scores.shape).astype(np.float32)
    judged = {
        str(query): {str(row): int(grade) for row, grade in enumerate(own) if grade} | {"far": query % 2}
        for query, own in enumerate(grades)
    }
    run = {str(query): {str(row): float(score) for row, score in enumerate(own)} for query, own in enumerate(scores)}
    ideal = ideal_gains(own.values() for own in judged.values())
    assert ndcg(grades, ideal, scores) == pytest.approx(per_query(judged, run)["nDCG@10"], abs=1e-6)
