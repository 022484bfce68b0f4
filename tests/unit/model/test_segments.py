import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrra_haystack.model.segments import Segments

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_maxima_and_totals_are_those_of_a_loop(lengths: list[int], seed: int) -> None:
    segments = Segments(np.array(lengths))
    values = torch.randn(3, sum(lengths), generator=torch.Generator().manual_seed(seed))
    runs = values.split(lengths, dim=1)
    highest = torch.stack([run.amax(dim=1) if run.shape[1] else torch.full((3,), -1.0) for run in runs], dim=1)
    assert torch.allclose(segments.maximum(values), highest)
    assert torch.allclose(segments.maximum(values.clone().requires_grad_()), highest)
    assert torch.allclose(segments.total(values[0]), torch.stack([run[0].sum() for run in runs]), atol=1e-5)


@given(lengths=LENGTHS)
@settings(max_examples=40, deadline=None)
def test_stretches_end_where_a_run_ends(lengths: list[int]) -> None:
    segments = Segments(np.array(lengths))
    expected = [min(16, length - begin) for length in lengths for begin in range(0, length, 16)]
    assert segments.stretches.lengths.tolist() == expected
    assert segments.of_stretches.lengths.tolist() == [-(-length // 16) for length in lengths]
    values = torch.arange(len(expected), dtype=torch.float32)[None]
    runs = values.split(segments.of_stretches.lengths.tolist(), dim=1)
    wide = [run[0, max(i - 1, 0) : i + 2].max().item() for run in runs for i in range(run.shape[1])]
    assert segments.widest_of_three(values)[0].tolist() == wide


def test_the_gradient_flows_to_the_highest_column() -> None:
    values = torch.tensor([[0.1, 0.9, 0.4, 0.3]], requires_grad=True)
    Segments(np.array([2, 0, 2])).maximum(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0, 1, 1, 0]]


def test_nothing_has_a_maximum() -> None:
    assert Segments(np.zeros(2, np.int64)).maximum(torch.zeros(1, 0), empty=-3.0).tolist() == [[-3.0, -3.0]]
    assert Segments(np.zeros(0, np.int64)).maximum(torch.zeros(1, 0)).shape == (1, 0)
    assert Segments(np.array([3])).total(torch.ones(3)).item() == pytest.approx(3)
