"""From trained weights to a model directory: fits on dev, figures, model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.fitting import Fit
from rrra_training.judging.projecting import ProjectedStates
from rrra_training.judging.verdicts import Verdicts, judge
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.recipe.recipe import Recipe

MODEL = "model"


def assemble(
    encoder: Encoder, name: str, learner: AdapterLearner, recipe: Recipe, fitted: Fit, detection: Detection
) -> RRRAModel:
    """The model made of an encoder, trained weights, what was fitted on dev, and detection."""
    config = RRRAConfig(
        encoder=name,
        layer=encoder.layer,
        code=recipe.adapter.code,
        fusion_weight=fitted.fusion_weight,
        lexical_weight=fitted.lexical_weight,
        calibration=fitted.calibration,
        detection=detection,
        adapter=learner.adapter.config,
    )
    model = RRRAModel(encoder, config)
    # What is saved is rounded; the model at hand is to be the same as the one that is loaded again.
    model.adapter.load_state_dict({key: value.half().float() for key, value in learner.adapter.state_dict().items()})
    if model.projection is not None and learner.projection is not None:
        model.projection.load_state_dict({"weight": learner.projection.weight.detach().half().float()})
    model.refresh()
    return model


def token_match(encoder: Encoder, data: CandidateSet, raw: ProjectedStates) -> Verdicts:
    """The plain token match of unprojected states: the mean over the query tokens."""
    plain = AdapterConfig(pooled_dim=encoder.dimension, token_dim=encoder.hidden_size, contrast_weighting=False)
    return judge(RelationAwareAdapter(plain).eval(), None, data, raw, "int8")


def by_passages(dev: Sequence[CandidateSet]) -> list[list[CandidateSet]]:
    """Sets in groups that share their passages."""
    groups: dict[Path, list[CandidateSet]] = {}
    for data in dev:
        groups.setdefault(data.passages.path, []).append(data)
    return list(groups.values())


def about(data: CandidateSet) -> dict[str, Any]:
    """How large a set is."""
    return {"queries": len(data), "documents": len(data.passages)}


def means(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over queries."""
    return {name: round(float(own.mean()), 5) for name, own in values.items()}


def count(model: RRRAModel) -> int:
    """The number of parameters beside the encoder's."""
    own: list[nn.Module] = [model.adapter, *([model.projection] if model.projection is not None else [])]
    return sum(parameter.numel() for module in own for parameter in module.parameters())
