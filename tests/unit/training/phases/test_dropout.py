import torch
from rrra_training.phases.dropout import drawn_from
from torch import nn


def test_masks_depend_on_the_seed_alone_and_disturb_nobody() -> None:
    layer, ones, device = nn.Dropout(0.5), torch.ones(64), torch.device("cpu")

    def masked(seed: int) -> torch.Tensor:
        with drawn_from(seed, device):
            return layer(ones)

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = masked(1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(masked(1), first)
    assert not torch.equal(masked(2), first)
