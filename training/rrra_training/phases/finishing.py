"""From trained weights to a model directory: fits on dev, figures, model card."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from rrra_haystack.files import write_json
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.lexical import CHOSEN_FORM
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.detector import Detector
from rrra_training.judging.fitting import Fit
from rrra_training.judging.fitting_detection import can_fit_detection
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.taking_over import detection_at_start
from rrra_training.phases.dev_figures import encoder_figures, fit_and_measure
from rrra_training.phases.model_card import model_card
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe

MODEL = "model"


def finish(workshop: Workshop, encoder: Encoder, name: str, learner: AdapterLearner, *, rounds: int = 0) -> None:
    """
    Fit on dev, measure there, and write the model directory in one step; only the main process may.

    :param workshop: The recipe at work.
    :param encoder: The encoder.
    :param name: What the model calls it.
    :param learner: The adapter.
    :param rounds: Rounds of phase 3 that went before. A model of as many or more, which an interrupted run has
        written, stays.
    """
    recipe, run = workshop.recipe, workshop.run
    last = recipe.joint.rounds if recipe.joint is not None else 0
    written = any(run.done(f"{MODEL}-{number}") is not None for number in range(rounds, last + 1))
    if written and (run.path / MODEL).is_dir():
        return
    dev = workshop.sets_here(encoder, recipe.dev)
    if workshop.encoder_alone:
        _write_figures(workshop, encoder_figures(dev))
        return
    figures, fitted = fit_and_measure(workshop, encoder, learner, dev)
    model = _assemble(encoder, name, learner, recipe, fitted, _detection(workshop, encoder, learner, dev))
    is_tuned = name != recipe.encoder
    # An encoder of one's own is nowhere to be found on another machine.
    include_encoder = is_tuned or Path(name).is_dir()
    card = model_card(recipe, figures, is_tuned=is_tuned, parameters=_parameters(model))
    model.save(run.path / MODEL, include_encoder=include_encoder, dtype=torch.float16, model_card=card)
    _write_figures(workshop, figures)
    run.mark_done(f"{MODEL}-{rounds}")


def _detection(workshop: Workshop, encoder: Encoder, learner: AdapterLearner, dev: list[CandidateSet]) -> Detection:
    """Detection of false negatives, fitted to the adapter where that is possible."""
    recipe = workshop.recipe
    # On queries that the adapter learned from, its scores say more than they will say on others.
    known = dev if can_fit_detection(dev) else [*workshop.sets_here(encoder, recipe.train), *dev]
    default = detection_at_start(workshop.run)
    with Detector(
        learner.adapter, learner.projection, known, workshop.cache, seed=recipe.seed, default=default
    ) as detector:  # fmt: skip
        return detector.detection


def _assemble(
    encoder: Encoder, name: str, learner: AdapterLearner, recipe: Recipe, fitted: Fit, detection: Detection
) -> RRRAModel:
    """The model made of an encoder, trained weights, what was fitted on dev, and detection."""
    config = RRRAConfig(
        encoder=name,
        layer=encoder.layer,
        code=recipe.adapter.code,
        fusion_weight=fitted.fusion_weight,
        lexical_weight=fitted.lexical_weight,
        lexical=CHOSEN_FORM,
        calibration=fitted.calibration,
        detection=detection,
        adapter=learner.adapter.config,
    )
    return assembled(encoder, config, learner)


def assembled(encoder: Encoder, config: RRRAConfig, learner: AdapterLearner) -> RRRAModel:
    """
    The model made of an encoder and trained weights.

    :param encoder: The encoder.
    :param config: What else is set, for an adapter of the learner's shape.
    :param learner: The weights.
    """
    model = RRRAModel(encoder, config)
    # What is saved is rounded; the model at hand is to be the same as the one that is loaded again.
    model.adapter.load_state_dict({key: value.half().float() for key, value in learner.adapter.state_dict().items()})
    if model.projection is not None and learner.projection is not None:
        model.projection.load_state_dict({"weight": learner.projection.weight.detach().half().float()})
    model.refresh()
    return model


def _parameters(model: RRRAModel) -> int:
    """The number of parameters beside the encoder's."""
    own: list[nn.Module] = [model.adapter, *([model.projection] if model.projection is not None else [])]
    return sum(parameter.numel() for module in own for parameter in module.parameters())


def _write_figures(workshop: Workshop, figures: dict[str, Any]) -> None:
    write_json(workshop.run.path / "dev.json", figures)
