"""The adapter of a trained model in the place of one that phase 2 trains."""

import logging

from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner, adapter_shape
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.tensors import above, below

logger = logging.getLogger(__name__)


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


def take_over(workshop: Workshop, start: str) -> None:
    """Take the adapter of a trained model for the result of phase 2."""
    model, run = RRRAModel.load(start), workshop.run
    learner = AdapterLearner(model.config.adapter, model.encoder.hidden_size)
    learner.adapter.load_state_dict(model.adapter.state_dict())
    if learner.projection is not None and model.projection is not None:
        learner.projection.load_state_dict(model.projection.state_dict())
    run.checkpoints.save(ADAPTER_PHASE, workshop.recipe.adapter.steps, above("model/", learner.state_dict()), {})
    run.mark_done(ADAPTER_PHASE, start=start, detection=model.config.detection.model_dump(mode="json"))


def taken_over(workshop: Workshop, encoder: Encoder) -> AdapterLearner:
    """The adapter that :func:`take_over` took."""
    learner = AdapterLearner(adapter_shape(encoder, workshop.recipe.adapter), encoder.hidden_size)
    checkpoint = workshop.run.checkpoints.latest(ADAPTER_PHASE)
    assert checkpoint is not None
    learner.load_state_dict(below("model/", checkpoint.state))
    return learner.eval()


def detection_at_start(run: RunDirectory) -> Detection:
    """Detection of the model whose adapter a run has taken over, or the defaults."""
    begun = run.done(ADAPTER_PHASE) or {}
    return Detection.model_validate(begun["detection"]) if "detection" in begun else Detection()
