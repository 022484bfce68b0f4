import math

import pytest
import torch
from rrra_training.phases.adapter.losses import listwise_loss, non_negative_pu_risk, outcome_loss, outcome_targets


def test_listwise_loss_on_hand_computed_numbers() -> None:
    scores = torch.tensor([1.0, 0.0, 0.0])
    assert listwise_loss(scores, torch.tensor([1.0, 0.0, 0.0])).item() == pytest.approx(math.log(1 + 2 / math.e))
    # A known positive is no negative; one that is half known counts half.
    assert listwise_loss(scores, torch.tensor([1.0, 1.0, 0.5])).item() == pytest.approx(math.log(1 + 0.5 / math.e))
    both = listwise_loss(torch.stack([scores, scores]), torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.5]]))
    assert both.item() == pytest.approx((math.log(1 + 2 / math.e) + math.log(1 + 0.5 / math.e)) / 2)


def test_a_known_positive_is_no_negative_at_any_scale() -> None:
    scores = torch.tensor([0.2, 0.9, 0.1], requires_grad=True)
    for scale in (20, 60, 200):
        loss = listwise_loss(scores * scale, torch.tensor([1.0, 1.0, 0.02]))
        assert loss.item() == pytest.approx(math.log1p(0.98 * math.exp(-0.1 * scale)), abs=1e-6)
        (gradient,) = torch.autograd.grad(loss, scores)
        assert gradient.isfinite().all()
        assert gradient[1] == 0


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
