import pytest
import torch
from rrra_training.reader import matmul_attention, shared_log_normaliser
from torch import nn


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_matrix_products_is_attention(masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None].expand(2, 1, 5, 5) if masked else None
    given, weights = matmul_attention(nn.Identity(), query, key, value, mask)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert weights is None
    torch.testing.assert_close(given, wanted.transpose(1, 2))


def test_the_normaliser_runs_over_all_passages_of_a_question() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, -1e9], [200.0, 201.0]], requires_grad=True)
    given = shared_log_normaliser(logits, torch.tensor([0, 0, 1]))
    wanted = torch.stack([torch.tensor([1.0, 2.0, 3.0]).logsumexp(0), torch.tensor([200.0, 201.0]).logsumexp(0)])
    torch.testing.assert_close(given, wanted)
    given.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:2].sum(), torch.tensor(1.0))
    torch.testing.assert_close(logits.grad[2], torch.tensor([200.0, 201.0]).softmax(0))
