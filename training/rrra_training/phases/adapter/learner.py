"""The adapter with its projection while it learns, and how both begin."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.record import full_bytes
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.sets import CandidateSet
from rrra_training.corpora.principal import principal_projection
from rrra_training.corpora.store import StateStore
from rrra_training.recipe.settings import AdapterTraining

ADAPTER_PHASE = "adapter"
# Token states that the projection is initialised from.
_SAMPLED_TEXTS = 300


class AdapterLearner(nn.Module):
    """
    What phase 2 trains.

    :param config: Shape of the adapter.
    :param hidden_size: Dimensions of the encoder's token states.
    """

    def __init__(self, config: AdapterConfig, hidden_size: int) -> None:
        super().__init__()
        self.adapter = RelationAwareAdapter(config)
        self.projection = None
        if config.token_dim != hidden_size:
            self.projection = nn.Linear(hidden_size, config.token_dim, bias=False)
        # Cosines lie close together; the listwise loss needs them spread.
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))


def adapter_shape(encoder: Encoder, config: AdapterTraining) -> AdapterConfig:
    """The shape of the adapter that a configuration asks for, over an encoder."""
    return AdapterConfig(
        pooled_dim=encoder.dimension,
        token_dim=config.token_dim or full_bytes(encoder.hidden_size),
        query_dim=encoder.hidden_size,
        **config.parts.model_dump(),
    )


def fresh_learner(encoder: Encoder, sets: Sequence[CandidateSet], config: AdapterTraining, seed: int) -> AdapterLearner:
    """An adapter that learned nothing yet, over the principal directions of the token states."""
    learner = AdapterLearner(adapter_shape(encoder, config), encoder.hidden_size)
    token_dim = learner.adapter.config.token_dim
    if learner.projection is not None:
        with torch.no_grad():
            learner.projection.weight.copy_(_initial_projection([data.passages for data in sets], token_dim, seed))
    return learner


def _initial_projection(stores: Sequence[StateStore], token_dim: int, seed: int) -> Tensor:
    """
    Principal directions of the token states of a few texts.

    :param stores: Where to sample token states.
    :param token_dim: Dimensions to keep.
    :param seed: Seed of the sample.
    :returns: Shape ``[token_dim, hidden]``.
    """
    generator = np.random.default_rng(seed)
    sample = [
        store.tokens(generator.choice(len(store), min(_SAMPLED_TEXTS, len(store)), replace=False)).states
        for store in stores
    ]
    return principal_projection(torch.cat(sample), token_dim, generator)
