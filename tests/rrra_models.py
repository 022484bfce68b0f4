"""Models over the encoder of the tests."""

import numpy as np
import torch

from rrra_haystack.model.rrra_model import RRRAModel

QUESTIONS = ["Where does the Danube begin?", "Why does dough rise?", "Which moon is the biggest?", "What is scurvy?"]


def fused(model: RRRAModel, codes: list[str], question: str = QUESTIONS[0], **options: float) -> np.ndarray:
    return model.score(model.encode_query(question), codes, **options).fused


def with_projection(model: RRRAModel, dim: int = 128) -> RRRAModel:
    torch.manual_seed(0)
    adapter = model.config.adapter.model_copy(update={"token_dim": dim})
    return RRRAModel(model.encoder, model.config.model_copy(update={"adapter": adapter}))


def with_words(model: RRRAModel, weight: float) -> RRRAModel:
    return RRRAModel(model.encoder, model.config.model_copy(update={"lexical_weight": weight}))


def trained(model: RRRAModel, **parts: object) -> RRRAModel:
    """Another model over the same encoder, with an adapter whose every parameter is random and nothing besides."""
    adapter = model.config.adapter.model_copy(update=parts)
    config = model.config.model_copy(update={"adapter": adapter, "lexical_weight": 0.0})
    other = RRRAModel(model.encoder, config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in other.adapter.parameters():
            parameter.normal_(std=0.1)
    other.refresh()
    return other
