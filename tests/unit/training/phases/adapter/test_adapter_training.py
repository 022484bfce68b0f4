import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rrra_training.candidates.evidence import Labels, Source
from rrra_training.candidates.lists import ListConfig, draw_lists, draw_queries, draw_set
from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.candidates.styles import StyleConfig, claim, keywords, restyle
from rrra_training.data import Query
from rrra_training.judging.projecting import project, quantised
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.phases.adapter.drawing import draw_steps, outcome_weights
from rrra_training.phases.adapter.losses import listwise_loss, non_negative_pu_risk, outcome_loss, outcome_targets
from rrra_training.phases.adapter.training import cosine_schedule
from rrra_training.recipe.settings import AdapterTraining

from rrra_haystack.model.adapter.observation import Outcome
from rrra_haystack.model.codes.codec import TokenCodec


class Sized:
    """So many texts, of which nothing else is asked."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


@pytest.fixture
def data() -> CandidateSet:
    rows = np.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [9, 8, 7, -1, -1, -1]])
    target = np.full(rows.shape, 0.02, np.float32)
    source = np.zeros(rows.shape, np.uint8)
    target[0, [0, 2]], source[0, [0, 2]] = 1.0, Source.QRELS
    target[1, 1], source[1, 1] = 1.0, Source.QRELS
    target[1, 3], source[1, 3] = 0.8, Source.NEAR_DUPLICATE
    positives = Positives(np.array([0, 2, 4, 30]), np.array([1, 1, 1, 1]), np.array([2, 3, 4]))
    mined = Mined(rows, np.linspace(1, 0.5, 18, dtype=np.float32).reshape(3, 6))
    return CandidateSet("d", Sized(40), Sized(3), mined, positives, Labels(target, source), 1.0)


def test_lists_begin_with_the_labelled_positive_and_hold_no_other_as_a_negative(data: CandidateSet) -> None:
    config = ListConfig(candidates=5, random_negatives=1, hide_positives=0.0, retrieved_k=2)
    for seed in range(30):
        lists = draw_lists(data, np.array([0, 1, 2]), config, np.random.default_rng(seed), prior=0.02)
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
    lists = draw_lists(data, np.array([0, 1]), config, np.random.default_rng(0), prior=0.02)
    assert {lists.rows[0, 0], lists.rows[0, 1]} == {0, 2}
    assert lists.target[0, :2].tolist() == [1, 1]
    assert lists.known[0, :2].all()
    assert lists.rows[1, 1] != 4


def test_lists_that_cannot_be_filled_are_filled_at_random(data: CandidateSet) -> None:
    lists = draw_lists(
        data, np.array([2]), ListConfig(candidates=9, random_negatives=0), np.random.default_rng(0), prior=0.02
    )
    assert lists.rows.shape == (1, 9)
    assert (lists.rows >= 0).all()


def test_an_order_says_what_is_hard(data: CandidateSet) -> None:
    config = ListConfig(candidates=2, random_negatives=0, rank_offset=0.01, hide_positives=0.0)
    order = np.array([[5, 4, 3, 2, 1, 0]] * 3)
    drawn = [
        draw_lists(data, np.array([0]), config, np.random.default_rng(seed), prior=0.02, order=order).rows[0, 1]
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


def test_lists_depend_on_seed_and_step_alone(data: CandidateSet) -> None:
    config = AdapterTraining(steps=4, batch_size=2, lists=ListConfig(candidates=4))
    whole = list(draw_steps([data], config, prior=0.02, seed=0))
    resumed = list(draw_steps([data], config, prior=0.02, seed=0, begin=2))
    assert len(whole) == 4
    for one, other in zip(whole[2:], resumed, strict=True):
        assert np.array_equal(one.lists.rows, other.lists.rows)
    other_seed = next(iter(draw_steps([data], config, prior=0.02, seed=1)))
    assert not np.array_equal(other_seed.lists.rows, whole[0].lists.rows)


def test_class_weights_are_inverse_shares(data: CandidateSet) -> None:
    config = AdapterTraining(lists=ListConfig(candidates=5, retrieved_k=2))
    weights = outcome_weights([data], config, 0.02, 0)
    assert weights[Outcome.FN] > weights[Outcome.TN]
    assert torch.equal(
        outcome_weights([data], config.model_copy(update={"class_weighting": False}), 0.02, 0), torch.ones(4)
    )


def test_the_learning_rate_rises_and_falls() -> None:
    config = AdapterTraining(steps=100, warmup_ratio=0.1)
    assert cosine_schedule(5, config) == pytest.approx(0.5 * (0.95 * 0.5 * (1 + math.cos(math.pi * 0.05)) + 0.05))
    assert cosine_schedule(100, config) == pytest.approx(0.05)
    assert max(range(1, 101), key=lambda step: cosine_schedule(step, config)) == 10


def test_listwise_loss_on_hand_computed_numbers() -> None:
    scores = torch.tensor([1.0, 0.0, 0.0])
    assert listwise_loss(scores, torch.tensor([1.0, 0.0, 0.0])).item() == pytest.approx(math.log(1 + 2 / math.e))
    # A known positive is no negative; one that is half known counts half.
    assert listwise_loss(scores, torch.tensor([1.0, 1.0, 0.5])).item() == pytest.approx(math.log(1 + 0.5 / math.e))
    both = listwise_loss(torch.stack([scores, scores]), torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.5]]))
    assert both.item() == pytest.approx((math.log(1 + 2 / math.e) + math.log(1 + 0.5 / math.e)) / 2)


def test_outcomes_on_hand_computed_numbers() -> None:
    wanted = outcome_targets(torch.tensor([1.0, 0.25]), torch.tensor([True, False]))
    assert wanted.tolist() == [[1, 0, 0, 0], [0, 0.25, 0, 0.75]]
    logits = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]]).log()
    weights = torch.tensor([2.0, 1.0, 1.0, 4.0])
    loss = outcome_loss(logits, torch.tensor([1.0, 0.25]), torch.tensor([True, False]), weights)
    assert loss.item() == pytest.approx((-2 * math.log(0.7) - 0.25 * math.log(0.2) - 3 * math.log(0.4)) / 2)


def test_positive_unlabelled_risk_on_hand_computed_numbers() -> None:
    logit = torch.tensor([0.0, math.log(3), -math.log(3)])
    known = torch.tensor([True, False, False])
    # -log(1/2) for the positive; for the unlabelled -log(1/4) and -log(3/4).
    plus, minus = math.log(2), (math.log(4) + math.log(4 / 3)) / 2
    risk = non_negative_pu_risk(logit, torch.tensor([1.0, 0.1, 0.1]), known, 0.1)
    assert risk.item() == pytest.approx(0.1 * plus + minus - 0.1 * math.log(2), abs=1e-6)
    certain = torch.tensor([5.0, -20.0, -20.0])
    clamped = non_negative_pu_risk(certain, torch.tensor([1.0, 0.1, 0.1]), known, 0.1)
    assert clamped.item() == pytest.approx(0.1 * math.log1p(math.exp(-5)), abs=1e-6)


@pytest.mark.parametrize("kind", ["int8", "1bit"])
def test_what_training_sees_is_what_codes_keep(kind: str) -> None:
    states = torch.nn.functional.normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    codec = TokenCodec(kind, 16, 8, 1)
    (record,) = codec.pack(torch.randn(1, 8), states, torch.tensor([12]), [np.zeros(0, np.uint16)])
    import pybase64

    kept = codec.unpack([pybase64.b64encode_as_string(record)]).token_states()
    seen = quantised(states, kind)
    assert torch.nn.functional.cosine_similarity(kept, seen).min() > 0.999
    assert (seen * states).sum(dim=1).numpy() == pytest.approx(1, abs=0.02)


def test_the_gradient_passes_through_the_quantiser() -> None:
    torch.manual_seed(0)
    layer, states, direction = torch.nn.Linear(6, 8, bias=False), torch.randn(5, 6), torch.randn(5, 8)
    expected = torch.autograd.grad(
        (torch.nn.functional.normalize(layer(states), dim=-1) * direction).sum(), layer.weight
    )[0]
    for kind in (None, "int8", "1bit"):
        found = torch.autograd.grad((project(states, layer, kind) * direction).sum(), layer.weight)[0]
        assert torch.allclose(found, expected, rtol=0.05, atol=0.05)


def test_calibration_error_on_hand_computed_numbers() -> None:
    probability = np.array([0.2] * 45 + [0.8] * 30)
    relevant = np.array([0] * 45 + [1] * 30)
    assert expected_calibration_error(probability, relevant) == pytest.approx(0.2)
    assert expected_calibration_error(relevant.astype(float), relevant) == pytest.approx(0)


def test_styles() -> None:
    assert claim("What year did the mill open?", "1845") == "1845 the mill open."
    assert claim("Name the river.", "Enz") is None
    assert keywords("In which year did the old mill of Tarn open?") == "year old mill Tarn open"
    assert keywords("Who was it?") is None
    queries = [Query(f"q{i}", f"When was the mill number {i} opened?", (str(1800 + i),)) for i in range(20)]
    qrels = {query.id: {f"p{i // 2}": 1} for i, query in enumerate(queries)}
    made = restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=3)
    kinds = [query.id.split("#")[1].split("-")[0] for query, _ in made]
    assert (kinds.count("claim"), kinds.count("joined"), kinds.count("keywords")) == (10, 5, 2)
    assert made == restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=3)
    assert made != restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=4)
    assert all(judged == qrels[query.id.split("#")[0]] for query, judged in made)
    assert len({query.id for query, _ in made}) == len(made)
