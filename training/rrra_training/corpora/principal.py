"""A projection of token states that keeps most of them, found without labels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.encoder import Encoder

_ROTATION_ROUNDS = 30
# Texts that a projection is fitted to; more move it by less than what is measured.
_FITTED_TEXTS = 600


def fitted_projection(encoder: Encoder, texts: Sequence[str], token_dim: int, generator: np.random.Generator) -> Tensor:
    """
    Principal directions of the token states of some of the texts.

    :param encoder: The encoder.
    :param texts: Documents.
    :param token_dim: Dimensions to keep.
    :param generator: Draws the texts.
    :returns: Shape ``[token_dim, hidden]``.
    """
    drawn = [texts[number] for number in generator.permutation(len(texts))[:_FITTED_TEXTS]]
    states = torch.cat([batch.states.float().cpu() for batch in encoder.encode(drawn, task="document")])
    return principal_projection(states, token_dim, generator)


def principal_projection(states: Tensor, token_dim: int, generator: np.random.Generator) -> Tensor:
    """
    Principal directions of token states, rotated so that signs keep as much of them as they can.

    Inner products survive the first; the second is iterative quantisation (Gong and Lazebnik, CVPR 2011): it makes all
    dimensions matter alike, as 1bit codes take them to, and changes nothing for int8.

    :param states: A sample, shape ``[T, hidden]``.
    :param token_dim: Dimensions to keep.
    :param generator: Draws the rotation to begin with.
    :returns: Shape ``[token_dim, hidden]``.
    """
    sample = nn.functional.normalize(states.float(), dim=-1)
    # A few tokens span a few directions; the others are taken as they come.
    _, _, directions = torch.linalg.svd(sample, full_matrices=len(sample) < sample.shape[1])
    # Of an encoder that is narrower there are no more.
    directions = nn.functional.pad(directions[:token_dim], (0, 0, 0, max(token_dim - len(directions), 0)))
    kept = nn.functional.normalize(sample @ directions.T, dim=-1)
    rotation, _ = torch.linalg.qr(torch.from_numpy(generator.standard_normal((token_dim, token_dim))).float())
    for _ in range(_ROTATION_ROUNDS):
        left, _, right = torch.linalg.svd((kept @ rotation).sign().T @ kept)
        rotation = (left @ right).T
    return (directions.T @ rotation).T.contiguous()
