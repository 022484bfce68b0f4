"""Dropout of a transformer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def set_dropout(module: nn.Module, rate: float) -> None:
    """
    Give every dropout in a module the same rate.

    :param module: The module; its configuration stays as it is.
    :param rate: The rate.
    """
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = rate
        # Attention layers that hand their rate to a fused kernel keep it as a number.
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, rate)


@contextmanager
def drawn_from(seed: int, device: torch.device) -> Iterator[None]:
    """
    Let masks depend on a seed alone, not on what was drawn before, and leave the generators of torch as they were.

    :param seed: The seed.
    :param device: Where the masks are drawn.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
