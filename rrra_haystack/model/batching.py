"""The tokens of many texts -> batches of like length, as a network takes them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def batches_of(features: dict[str, Any], tokens_per_batch: int) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """
    Part texts into batches, the longest texts first.

    :param features: The tokens of texts, as a model takes them.
    :param tokens_per_batch: Upper bound on the tokens of a batch, padding included.
    :returns: The positions of a batch's texts, and their tokens; last those of the texts without a token, and nothing.
    """
    mask = features["attention_mask"]
    # What a query is expanded by counts without being attended to.
    if (expansion := features.get("query_expansion_positions")) is not None:
        mask = mask.bool() | expansion
    lengths = mask.sum(dim=1)
    order = torch.argsort(lengths, descending=True, stable=True)
    width, filled = mask.shape[1], int(lengths.count_nonzero())
    # A text without a token is padding alone, on whichever side that is.
    padded_left = filled > 0 and bool((mask[lengths > 0, 0] == 0).any())
    begin = 0
    while begin < filled:
        longest = int(lengths[order[begin]])
        rows = order[begin : min(begin + max(tokens_per_batch // longest, 1), filled)]
        columns = slice(width - longest, width) if padded_left else slice(0, longest)
        yield (
            rows,
            {
                key: value[rows, columns] if isinstance(value, Tensor) and value.shape[:2] == mask.shape else value
                for key, value in features.items()
            },
        )
        begin += len(rows)
    if filled < len(order):
        yield order[filled:], {}
