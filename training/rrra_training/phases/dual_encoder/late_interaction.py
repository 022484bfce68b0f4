"""A late-interaction model, made of an encoder, and what its training is: in-batch negatives by MaxSim."""

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.losses import (
    CachedMultiVectorMultipleNegativesRankingLoss,
    MultiVectorMultipleNegativesRankingLoss,
)
from sentence_transformers.multi_vector_encoder.scoring import mean_colbert_scores
from torch import nn

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.multi_vector import check_multi_vector, multi_vector_encoder
from rrra_training.corpora.principal import fitted_projection
from rrra_training.recipe.settings import DualEncoderConfig


def check_late_interaction(encoder: Encoder, config: DualEncoderConfig) -> None:
    """
    See that a late-interaction model can be trained, before anything is written.

    :param encoder: The encoder that it is, or is to be made of.
    :param config: How it is to be trained.
    :raises ValueError: If a guide is asked for, sentence-transformers has no modules for what the encoder does, or its
        token states have no more dimensions than the token vectors are to have.
    """
    if config.guide is not None:
        msg = f"A guide ({config.guide}) is of dual encoders; leave it out, or leave dual_encoder.token_dim out."
        raise ValueError(msg)
    width = config.token_dim
    if width is None:
        return
    if not encoder.embeds or width > encoder.hidden_size:
        msg = (
            f"dual_encoder.token_dim makes a late-interaction model with {width} dimensions of an encoder, and "
            f"{encoder.name} "
            + (f"has token states of {encoder.hidden_size}" if encoder.embeds else "is one already")
            + ": leave token_dim out, or make it smaller."
        )
        raise ValueError(msg)
    check_multi_vector(encoder)


def made_of(encoder: Encoder, texts: Sequence[str], config: DualEncoderConfig) -> MultiVectorEncoder:
    """
    The token match of an encoder as a late-interaction model, which keeps the principal directions of its token states.

    :param encoder: The encoder.
    :param texts: Passages that these directions are found in.
    :param config: How it is trained; :func:`check_late_interaction` has seen both.
    :returns: In float32.
    """
    width = config.token_dim
    assert width is not None
    projection = nn.Linear(encoder.hidden_size, width, bias=False)
    with torch.no_grad():
        projection.weight.copy_(fitted_projection(encoder, texts, width, np.random.default_rng(config.seed)))
    return multi_vector_encoder(encoder, projection).float()


def lengths(model: MultiVectorEncoder, config: DualEncoderConfig) -> dict[str, int]:
    """Tokens that are read while training, of a query and of a document."""
    network = model[0]
    own = {task: getattr(network, f"{task}_length", None) or model.max_seq_length for task in ("query", "document")}
    return {task: min(config.max_length, length or config.max_length) for task, length in own.items()}


def late_interaction_loss(model: MultiVectorEncoder, config: DualEncoderConfig) -> nn.Module:
    """
    In-batch negatives by MaxSim as a mean over the query's vectors, which is a cosine's scale.

    :param model: The model.
    :param config: How it is trained.
    """
    scale = 1 / config.temperature
    if config.mini_batch_size is None:
        return MultiVectorMultipleNegativesRankingLoss(model, scale=scale, similarity_fct=mean_colbert_scores)
    return CachedMultiVectorMultipleNegativesRankingLoss(
        model, scale=scale, similarity_fct=mean_colbert_scores, mini_batch_size=config.mini_batch_size
    )
