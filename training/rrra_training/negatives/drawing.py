"""Drawing without replacement by weights."""

import torch
from torch import Tensor

# Below every key of a draw by weight: log weights of float64 end at -745, and Gumbel noise adds little to them.
_FILL = -1e6


def draw(weights: Tensor, count: int, *, eligible: Tensor, generator: torch.Generator) -> Tensor:
    """
    Draw candidates of each row without replacement, one after the other with probability proportional to weight.

    All rows at once: the `count` largest sums of log weight and Gumbel noise (Gumbel top-k, arXiv 1903.06059). A row
    with fewer positive weights than `count` is filled up with its other eligible candidates from the end, the easiest
    first: what a sampler refused is most often too near the positive. A row with fewer eligible candidates than
    `count` ends in -1; label these -1 for the loss.

    :param weights: Shape ``[b, n]``, >= 0; on the generator's device.
    :param count: How many of each row.
    :param eligible: Which candidates may be drawn at all, shape ``[b, n]``, bool.
    :param generator: Source of randomness.
    :returns: Indices into the rows, in the order of the draw, shape ``[b, count]``, int64.
    :raises ValueError: If a weight is negative or not a finite number.
    """
    wrong = eligible & ~((weights >= 0) & weights.isfinite())
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        msg = f"weights must be finite numbers >= 0, but row {row} has {weights[row, column].item()} at {column}."
        raise ValueError(msg)
    rows, n = weights.shape
    uniform = torch.rand((rows, n), generator=generator, dtype=torch.float64, device=weights.device)
    noise = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    fill = torch.arange(n, dtype=torch.float64, device=weights.device) + _FILL
    keys = torch.where(weights > 0, weights.double().log() + noise, fill).masked_fill(~eligible, -torch.inf)
    best, indices = keys.topk(min(count, n), dim=1)
    drawn = indices.masked_fill(best.isneginf(), -1)
    return torch.nn.functional.pad(drawn, (0, count - drawn.shape[1]), value=-1)


def first_draw_probabilities(weights: Tensor, eligible: Tensor) -> Tensor:
    """
    How probably :func:`draw` takes each candidate first.

    :param weights: Shape ``[b, n]``, float64, >= 0.
    :param eligible: Which candidates may be drawn at all, shape ``[b, n]``, bool.
    :returns: Shape ``[b, n]``, float64; rows sum to 1, or to 0 where nothing is eligible.
    """
    # Of a list that the sampler refuses as a whole, the easiest candidate is taken.
    easiest = eligible & (eligible.cumsum(dim=1) == eligible.sum(dim=1, keepdim=True))
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, easiest.double())
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
