import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rrra_training.phases.adapter.losses import linear_normalisation_loss


@pytest.mark.parametrize(
    ("corrected", "loss"),
    [
        ([[1.0, 0.0]], 0.0),  # the query itself
        ([[0.5, 0.5]], 0.0),  # half way
        ([[0.0, 2.0]], 1.0),  # beyond the context: alpha is clipped at 0
        ([[1.0, 1.0]], 0.5),  # beside the segment
    ],
)
def test_linear_normalisation_on_hand_computed_numbers(corrected: list, loss: float) -> None:
    query, context = torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 1.0]])
    assert linear_normalisation_loss(torch.tensor(corrected), query, context) == pytest.approx(loss, abs=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_linear_normalisation_is_the_least_distance_along_the_segment(seed: int) -> None:
    torch.manual_seed(seed)
    corrected, query, context = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4)
    alpha = torch.linspace(0, 1, 2001)[:, None, None]
    nearest = (corrected - (alpha * query + (1 - alpha) * context)).square().sum(-1).amin(dim=0)
    found = linear_normalisation_loss(corrected, query, context).item()
    assert found == pytest.approx(nearest.mean().item(), abs=1e-4)


def test_linear_normalisation_where_query_and_context_coincide() -> None:
    point = torch.tensor([[1.0, 0.0]])
    corrected = torch.tensor([[1.0, 2.0]], requires_grad=True)
    loss = linear_normalisation_loss(corrected, point[0], point)
    loss.backward()
    assert loss.item() == pytest.approx(4)
    assert corrected.grad.tolist() == [[0, 4]]
