import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from rrra_training.candidates.evidence import Labels
from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.mining.drawing import draw_negatives
from rrra_training.mining.mine import MinedNegatives, summary
from rrra_training.mining.settings import NegativesConfig, sampler_of
from rrra_training.negatives.fne import FNE
from rrra_training.negatives.samplers import PercPos, TopK


class Embedded:
    """Texts of which the embeddings are known."""

    def __init__(self, pooled: np.ndarray) -> None:
        self.pooled = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def __len__(self) -> int:
        return len(self.pooled)

    def text(self, row: int) -> str:
        return f"text {row}"


def _set(count: int) -> CandidateSet:
    """Queries with the ten nearest of thirty passages; the first mined one is the positive."""
    generator = np.random.default_rng(0)
    passages, queries = (Embedded(generator.normal(size=(size, 8)).astype(np.float32)) for size in (30, count))
    scores = queries.pooled @ passages.pooled.T
    rows = np.argsort(-scores, axis=1)[:, :10]
    labels = Labels(np.full(rows.shape, 0.02, np.float32), np.zeros(rows.shape, np.uint8), 0.02)
    positives = Positives(rows[:, 0], np.ones(count, np.int64), np.arange(1, count + 1))
    mined = Mined(rows, np.take_along_axis(scores, rows, axis=1))
    return CandidateSet("d", passages, queries, mined, positives, labels, 1.0)


@pytest.fixture(scope="module")
def data() -> CandidateSet:
    return _set(3)


def test_what_is_probably_relevant_is_no_negative(data: CandidateSet) -> None:
    probability = np.zeros((3, 10), np.float32)
    probability[:, [1, 3]] = 0.2, 0.6
    drawn = draw_negatives(data, probability, NegativesConfig(negatives=4, sampler=TopK(k=4)))
    assert np.array_equal(drawn.rows, data.mined.rows[:, [2, 4, 5, 6]])
    assert np.array_equal(drawn.suspects.nonzero()[1], [3, 3, 3])
    assert not drawn.added.any()
    assert (np.diff(drawn.scores, axis=1) < 0).all()
    assert drawn.scores == pytest.approx(data.mined.scores[:, [2, 4, 5, 6]], abs=1e-5)


def test_suspects_become_positives_on_request(data: CandidateSet) -> None:
    probability = np.zeros((3, 10), np.float32)
    probability[0, [1, 3]], probability[1, 2] = (0.2, 0.6), 0.05
    config = NegativesConfig(negatives=8, sampler=TopK(k=8), max_false_negative=1, add_positives=0.15)
    drawn = draw_negatives(data, probability, config)
    assert np.argwhere(drawn.added).tolist() == [[0, 1], [0, 3]]
    assert np.array_equal(drawn.suspects, drawn.added)
    assert not np.isin(drawn.rows[0], data.mined.rows[0, [1, 3]]).any()


def test_where_candidates_lack_the_corpus_gives_the_rest(data: CandidateSet) -> None:
    probability = np.full((3, 10), 0.9, np.float32)
    probability[:, 5] = 0.01
    drawn = draw_negatives(data, probability, NegativesConfig(negatives=4))
    assert drawn.is_full.all()
    assert np.array_equal(drawn.rows[:, 0], data.mined.rows[:, 5])
    for own, near in zip(drawn.rows[:, 1:], data.mined.rows, strict=True):
        assert not np.isin(own, near).any()
        assert len(set(own)) == 3
    assert np.isnan(drawn.probability[:, 1:]).all()
    most = draw_negatives(data, probability, NegativesConfig(negatives=40))
    assert not most.is_full.any()
    assert ((most.rows >= 0).sum(axis=1) == 21).all()


def test_a_large_corpus_is_not_laid_out_to_draw_a_few(data: CandidateSet) -> None:
    passages = Embedded(np.ones((1, 8), np.float32))
    passages.pooled = np.broadcast_to(passages.pooled, (10_000_000, 8))
    large = replace(data, passages=passages)
    tracemalloc.start()
    drawn = draw_negatives(large, np.ones((3, 10), np.float32), NegativesConfig(negatives=4))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn.is_full.all()
    assert most < 1_000_000


def test_what_was_left_out_is_not_drawn_from_the_corpus(data: CandidateSet) -> None:
    left_out = [data.mined.rows[query, 1:3].tolist() for query in range(3)]
    without = replace(data, mined=data.mined.without(left_out))
    drawn = draw_negatives(without, np.zeros((3, 10), np.float32), NegativesConfig(negatives=40))
    for own, rows, positive in zip(left_out, drawn.rows, data.positives.rows, strict=True):
        assert set(rows.tolist()) == {-1, *range(30)} - {positive, *own}


def test_a_seed_decides(data: CandidateSet) -> None:
    probability = np.zeros((3, 10), np.float32)
    first, again, other = (
        draw_negatives(data, probability, NegativesConfig(negatives=4, sampler=sampler_of("random", 4), seed=seed)).rows
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_suspects_that_the_bound_lets_through_are_told_as_negatives(data: CandidateSet) -> None:
    probability = np.full((3, 10), 0.6, np.float32)
    told = {}
    for most in (0.8, 0.5):
        drawn = draw_negatives(data, probability, NegativesConfig(negatives=4, max_false_negative=most))
        told[most] = summary(MinedNegatives(None, "train", data, drawn, probability), "beir")
    assert "27 candidates are suspected positives.\n12 of them are negatives all the same" in told[0.8]
    assert (
        "27 candidates are suspected positives and no negatives.\n12 negatives were drawn from the whole corpus"
        in told[0.5]
    )


@pytest.mark.parametrize("count", [2, 255, 256, 257, 511, 513])
def test_any_number_of_queries_is_enough_to_estimate_from(count: int) -> None:
    data = _set(count)
    config = NegativesConfig(negatives=4, sampler=FNE())
    drawn = draw_negatives(data, np.zeros((count, 10), np.float32), config)
    assert drawn.rows.shape == (count, 4)
    assert drawn.is_full.all()


def test_where_no_candidate_is_left_nothing_is_estimated(data: CandidateSet) -> None:
    drawn = draw_negatives(data, np.ones((3, 10), np.float32), NegativesConfig(negatives=4, sampler=FNE()))
    assert drawn.is_full.all()
    assert np.isnan(drawn.probability).all()


def test_samplers_are_named_as_in_a_recipe() -> None:
    assert sampler_of("top-k", 5) == TopK(k=5)
    assert sampler_of("perc-pos", 5) == PercPos(k=5)
    assert sampler_of("{name: perc-pos, share: 0.9}", 5) == PercPos(share=0.9)
    with pytest.raises(ValueError, match="the nearest known one is 'top-k'"):
        sampler_of("topk", 5)
    with pytest.raises(ValueError, match="is no valid YAML"):
        sampler_of("{name: simans", 5)
    with pytest.raises(ValueError, match="greater than 0"):
        sampler_of("{name: top-k, k: 0}", 5)
