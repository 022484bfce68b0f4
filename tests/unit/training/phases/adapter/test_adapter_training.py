import math

import numpy as np
import pytest
import torch
from rrra_training.candidates.lists import ListConfig
from rrra_training.candidates.sets import CandidateSet
from rrra_training.phases.adapter.drawing import draw_steps, outcome_weights
from rrra_training.phases.adapter.training import cosine_schedule
from rrra_training.recipe.settings import AdapterTraining
from sets import small_set

from rrra_haystack.model.adapter.observation import Outcome


@pytest.fixture
def data() -> CandidateSet:
    return small_set()


def test_lists_depend_on_seed_and_step_alone(data: CandidateSet) -> None:
    config = AdapterTraining(steps=4, batch_size=2, lists=ListConfig(candidates=4))
    whole = list(draw_steps([data], config, seed=0))
    resumed = list(draw_steps([data], config, seed=0, begin=2))
    assert len(whole) == 4
    for one, other in zip(whole[2:], resumed, strict=True):
        assert np.array_equal(one.lists.rows, other.lists.rows)
    other_seed = next(iter(draw_steps([data], config, seed=1)))
    assert not np.array_equal(other_seed.lists.rows, whole[0].lists.rows)


def test_class_weights_are_inverse_shares(data: CandidateSet) -> None:
    config = AdapterTraining(lists=ListConfig(candidates=5, retrieved_k=2))
    weights = outcome_weights([data], config, 0)
    assert weights[Outcome.FN] > weights[Outcome.TN]
    assert torch.equal(outcome_weights([data], config.model_copy(update={"class_weighting": False}), 0), torch.ones(4))


def test_the_learning_rate_rises_and_falls() -> None:
    config = AdapterTraining(steps=100, warmup_ratio=0.1)
    assert cosine_schedule(5, config) == pytest.approx(0.5 * (0.95 * 0.5 * (1 + math.cos(math.pi * 0.05)) + 0.05))
    assert cosine_schedule(100, config) == pytest.approx(0.05)
    assert max(range(1, 101), key=lambda step: cosine_schedule(step, config)) == 10
