from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from rrra_training.candidates.evidence import Source
from rrra_training.candidates.lists import ListConfig, draw_lists, draw_queries, draw_set
from rrra_training.candidates.sets import CandidateSet
from sets import Sized, small_set


@pytest.fixture
def data() -> CandidateSet:
    return small_set()


def test_lists_begin_with_the_labelled_positive_and_hold_no_other_as_a_negative(data: CandidateSet) -> None:
    config = ListConfig(candidates=5, random_negatives=1, hide_positives=0.0, retrieved_k=2)
    for seed in range(30):
        lists = draw_lists(data, np.array([0, 1, 2]), config, np.random.default_rng(seed))
        assert lists.rows.shape == (3, 5)
        assert lists.rows[0, 0] in {0, 2}
        assert lists.rows[1:, 0].tolist() == [4, 30]
        assert (lists.target[:, 0] == 1).all()
        assert not {0, 2} & set(lists.rows[0, 1:4].tolist())
        assert len(set(lists.rows[0, 1:4].tolist())) == 3
        near = lists.target[1, 1:4][lists.rows[1, 1:4] == 2]
        assert (near == np.float32(0.8)).all()
        # Three candidates were mined for the last query, and all of them are taken.
        assert set(lists.rows[2, 1:4].tolist()) == {7, 8, 9}
        assert lists.retrieved[2].tolist() == [row in {8, 9} for row in lists.rows[2].tolist()]


def test_a_hidden_positive_is_known_to_the_loss_alone(data: CandidateSet) -> None:
    config = ListConfig(candidates=4, random_negatives=0, hide_positives=1.0)
    lists = draw_lists(data, np.array([0, 1]), config, np.random.default_rng(0))
    assert {lists.rows[0, 0], lists.rows[0, 1]} == {0, 2}
    assert lists.target[0, :2].tolist() == [1, 1]
    assert lists.known[0, :2].all()
    assert lists.rows[1, 1] != 4


def test_a_list_has_room_for_its_random_passages(data: CandidateSet) -> None:
    lists = draw_lists(data, np.array([0]), ListConfig(candidates=4, random_negatives=3), np.random.default_rng(0))
    assert lists.rows.shape == (1, 4)
    for random in (4, 9):
        with pytest.raises(ValidationError, match=f"random_negatives: {random} leaves no room for the labelled"):
            ListConfig(candidates=4, random_negatives=random)


def test_lists_that_cannot_be_filled_are_filled_at_random(data: CandidateSet) -> None:
    lists = draw_lists(data, np.array([2]), ListConfig(candidates=9, random_negatives=0), np.random.default_rng(0))
    assert lists.rows.shape == (1, 9)
    assert (lists.rows >= 0).all()


def test_random_passages_keep_what_is_known_of_them_and_are_never_left_out(data: CandidateSet) -> None:
    left_out = [[], [*range(3), *range(4, 40)], [7]]
    data = replace(data, mined=data.mined.without(left_out))
    config = ListConfig(candidates=20, random_negatives=19, hide_positives=0.0)
    for seed in range(5):
        lists = draw_lists(data, np.array([0, 1, 2]), config, np.random.default_rng(seed))
        for query, (rows, target, known) in enumerate(zip(lists.rows, lists.target, lists.known, strict=True)):
            assert not set(left_out[query]) & set(rows[1:].tolist())
            positive = np.isin(rows, data.positives.of(query))
            assert (target == np.where(positive, 1, np.float32(0.02))).all()
            assert (known == positive).all()
    target, known = small_set().targets_of(1, np.array([2, 3, 4, 39]))
    assert target.tolist() == pytest.approx([0.8, 0.02, 1.0, 0.02])
    assert known.tolist() == [True, False, True, False]


def test_what_evidence_calls_relevant_is_no_negative(data: CandidateSet) -> None:
    data = replace(data, mined=data.mined.without([[39], [], []]))
    data.labels.source[2, 0], data.labels.target[2, 0] = Source.ANSWER, 0.3
    assert [sorted(data.no_negatives(query).tolist()) for query in range(3)] == [[0, 0, 2, 2, 39], [2, 4, 4], [30]]


def test_an_order_says_what_is_hard(data: CandidateSet) -> None:
    config = ListConfig(candidates=2, random_negatives=0, rank_offset=0.01, hide_positives=0.0)
    order = np.array([[5, 4, 3, 2, 1, 0]] * 3)
    drawn = [
        draw_lists(data, np.array([0]), config, np.random.default_rng(seed), order=order).rows[0, 1]
        for seed in range(40)
    ]
    assert np.mean(np.array(drawn) == 5) > 0.9


def test_sets_are_drawn_by_their_weight_and_the_root_of_their_size(data: CandidateSet) -> None:
    large = replace(data, queries=Sized(27))
    heavy = replace(data, weight=2.0)
    generator = np.random.default_rng(0)
    drawn = np.bincount([draw_set([data, large, heavy], generator) for _ in range(6000)])
    # Three queries and 27 of them: the roots are as 1 to 3.
    assert drawn / 6000 == pytest.approx([1 / 6, 3 / 6, 2 / 6], abs=0.02)


def test_a_query_comes_twice_only_if_there_are_too_few(data: CandidateSet) -> None:
    assert sorted(draw_queries(data, 3, np.random.default_rng(0)).tolist()) == [0, 1, 2]
    more = draw_queries(data, 8, np.random.default_rng(0))
    assert len(more) == 8
    assert set(more.tolist()) <= {0, 1, 2}
