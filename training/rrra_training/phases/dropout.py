"""Dropout of a transformer."""

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
