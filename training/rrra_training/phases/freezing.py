"""The lowest layers of a transformer, kept as they are."""

from torch import nn
from transformers import PreTrainedModel


def freeze_lowest(module: nn.Module, layers: int) -> None:
    """
    Keep the embeddings of a transformer and its lowest layers from learning.

    :param module: The module that the transformer is in; of several, each.
    :param layers: How many layers; 0 lets everything learn.
    :raises ValueError: If no layer is left to learn.
    """
    if not layers:
        return
    for network in (part for part in module.modules() if isinstance(part, PreTrainedModel)):
        stack = max((part for part in network.modules() if isinstance(part, nn.ModuleList)), key=len, default=())
        if layers >= len(stack):
            msg = f"{layers} frozen layers leave nothing to learn: the encoder has {len(stack)}. Freeze fewer."
            raise ValueError(msg)
        # Parameters come in the order of the pass: embeddings, then one layer after the other.
        first = next(stack[layers].parameters())
        for parameter in network.parameters():
            if parameter is first:
                break
            parameter.requires_grad = False
        # MPNet's table of distances, which all layers read, comes behind them.
        for table in (part for part in network.modules() if isinstance(part, nn.Embedding)):
            table.requires_grad_(requires_grad=False)
