"""The adapter of a trained model, in the place of one that phase 2 trains or as what it goes on from."""

import logging
from collections.abc import Sequence
from typing import Any

from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.sets import CandidateSet
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.judging.fitting import UNTRAINED_WEIGHTS
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner, adapter_shape
from rrra_training.phases.adapter.training import train_adapter
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes
from rrra_training.runs.tensors import above, below

logger = logging.getLogger(__name__)
# What a run keeps of a model whose adapter is trained on.
_START = "start"


def check_start(recipe: Recipe, encoder: Encoder) -> None:
    """
    See that the model that a recipe starts with is there and fits.

    :param recipe: The recipe.
    :param encoder: The encoder that it begins with.
    :raises FileNotFoundError: If there is no such model.
    :raises ValueError: If its adapter does not fit the encoder.
    """
    if recipe.start is None:
        return
    model = RRRAModel.load(recipe.start)
    asked = adapter_shape(encoder, recipe.adapter)
    if model.config.adapter != asked:
        differing = [name for name, value in asked if getattr(model.config.adapter, name) != value]
        msg = (
            f"The adapter of {recipe.start} does not have the shape that the recipe asks for over {recipe.encoder}: "
            f"{', '.join(differing)} differ. Set adapter.parts and adapter.token_dim to those of the model, and "
            "encoder to one of the size of its own."
        )
        raise ValueError(msg)
    if cache_key(model.encoder) != cache_key(encoder):
        logger.warning(
            "The adapter of %s was made for another encoder than %s: see in dev.json what it is worth over this one.",
            recipe.start, recipe.encoder,
        )  # fmt: skip


def learner_of(model: RRRAModel) -> AdapterLearner:
    """The adapter of a model with its projection, to be trained on."""
    learner = AdapterLearner(model.config.adapter, model.encoder.hidden_size)
    learner.adapter.load_state_dict(model.adapter.state_dict())
    if learner.projection is not None and model.projection is not None:
        learner.projection.load_state_dict(model.projection.state_dict())
    return learner


def take_over(workshop: Workshop, start: str) -> None:
    """Take the adapter of a trained model for the result of phase 2."""
    model, run = RRRAModel.load(start), workshop.run
    state = above("model/", learner_of(model).state_dict())
    run.checkpoints.save(ADAPTER_PHASE, workshop.recipe.adapter.steps, state)
    run.mark_done(ADAPTER_PHASE, start=start, **_kept(model))


def taken_over(workshop: Workshop, encoder: Encoder) -> AdapterLearner:
    """The adapter that :func:`take_over` took."""
    learner = AdapterLearner(adapter_shape(encoder, workshop.recipe.adapter), encoder.hidden_size)
    checkpoint = workshop.run.checkpoints.latest(ADAPTER_PHASE)
    assert checkpoint is not None
    learner.load_state_dict(below("model/", checkpoint.state))
    return learner.eval()


def phase_2(workshop: Workshop, encoder: Encoder, sets: Sequence[CandidateSet]) -> AdapterLearner:
    """
    Train the adapter of a recipe, from fresh weights or from those of the model that it starts with.

    :param workshop: The recipe at work.
    :param encoder: The encoder that the sets were encoded with.
    :param sets: What to learn from.
    """
    recipe, run = workshop.recipe, workshop.run
    if not recipe.start_steps:
        return train_adapter(workshop, encoder, sets)
    start = AdapterLearner(adapter_shape(encoder, recipe.adapter), encoder.hidden_size)
    # A run whose phase 2 is finished does not need the model.
    if run.done(ADAPTER_PHASE) is None:
        assert recipe.start is not None
        model = RRRAModel.load(recipe.start)
        start = learner_of(model)
        if processes().is_main_process:
            run.mark_done(_START, start=recipe.start, **_kept(model))
    return train_adapter(workshop, encoder, sets, steps=recipe.start_steps, start=start)


def _kept(model: RRRAModel) -> dict[str, Any]:
    """What a run keeps of the settings of a model."""
    config = model.config
    return {
        "detection": config.detection.model_dump(mode="json"),
        "weights": [config.fusion_weight, config.lexical_weight],
    }


def weights_at_start(run: RunDirectory) -> tuple[float, float]:
    """Fusion and lexical weight of the model whose adapter a run has taken over or goes on from, or the defaults."""
    begun = run.done(_START) or run.done(ADAPTER_PHASE) or {}
    fusion, lexical = begun.get("weights", UNTRAINED_WEIGHTS)
    return fusion, lexical


def detection_at_start(run: RunDirectory) -> Detection:
    """Detection of the model whose adapter a run has taken over or goes on from, or the defaults."""
    begun = run.done(_START) or run.done(ADAPTER_PHASE) or {}
    return Detection.model_validate(begun["detection"]) if "detection" in begun else Detection()
