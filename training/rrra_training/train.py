"""A recipe carried out: phases, fits on dev, and the model directory that every component loads."""

import json
import logging
from pathlib import Path

from rrra_haystack.files import atomic_write
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.splits import check_splits
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.data import open_dataset
from rrra_training.phases.adapter.learner import PHASE, AdapterLearner, adapter_shape
from rrra_training.phases.adapter.training import train_adapter
from rrra_training.phases.dual_encoder.pairs import PairSource
from rrra_training.phases.dual_encoder.training import train_dual_encoder
from rrra_training.phases.finishing import MODEL
from rrra_training.phases.joint.rounds import train_joint
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes

logger = logging.getLogger(__name__)
_DUAL_ENCODER, _ADAPTER, _JOINT = 1, 2, 3
_PHASES = {_DUAL_ENCODER: "dual_encoder", _ADAPTER: "adapter", _JOINT: "joint"}


def train(
    recipe: Recipe,
    output: str | Path,
    *,
    resume: bool = False,
    phase: int | None = None,
    cache: str | Path | None = None,
    encoder_alone: bool = False,
    show_progress: bool = False,
) -> Path:
    """
    Carry out a recipe.

    :param recipe: The recipe.
    :param output: The run directory.
    :param resume: Go on with a run that was interrupted.
    :param phase: Only this one of the phases 1, 2 and 3; all that the recipe has if `None`.
    :param cache: Where encoded corpora are kept; a folder in the run directory if `None`. Runs may share it.
    :param encoder_alone: Measure what the encoder retrieves, and neither fit nor write a model.
    :param show_progress: Show progress and the time left.
    :returns: The model directory, or that of the encoder if phase 1 was all that was asked for. With `encoder_alone`
        there is no model in it.
    :raises ValueError: If the recipe has no such phase, an earlier one is missing, or several processes run phase 3.
    """
    _check_phase(recipe, phase, Path(output))
    process = processes()
    if recipe.joint is not None and phase in {None, _JOINT} and process.num_processes > 1:
        msg = (
            f"Phase 3 runs in one process, but {process.num_processes} were launched. Run phases 1 and 2 with --phase "
            "in several processes if you like, and --phase 3 in one."
        )
        raise ValueError(msg)
    if process.is_main_process:
        check_inputs(recipe, Path(output))
        RunDirectory.create(output, recipe.to_yaml(), resume=resume or phase not in {None, _DUAL_ENCODER}).close()
    process.wait_for_everyone()
    run = RunDirectory(output)
    kept = Path(cache) if cache is not None else run.path / "cache"
    kept.mkdir(parents=True, exist_ok=True)
    source = _dual_encoder(recipe, run, phase, resume=resume, show_progress=show_progress)
    if phase == _DUAL_ENCODER:
        return Path(source)
    encoder = Encoder(source)
    name = recipe.encoder if source == recipe.encoder else source
    workshop = Workshop(recipe, run, kept, show_progress, encoder_alone=encoder_alone)
    learner = _adapter(recipe, run, workshop, encoder, phase, show_progress=show_progress)
    if learner is not None:
        if process.is_main_process:
            workshop.finish(encoder, name, learner)
        process.wait_for_everyone()
    if recipe.joint is not None and phase in {None, _JOINT}:
        train_joint(recipe, run, kept, workshop, source, show_progress=show_progress)
    if process.is_main_process:
        run.draw_curves()
    run.close()
    return run.path / MODEL


def train_once(
    recipe: Recipe, output: Path, cache: Path, *, encoder_alone: bool = False, show_progress: bool = False
) -> None:
    """
    Train a model unless it was trained; a training that was interrupted goes on.

    :param recipe: The recipe.
    :param output: The run directory.
    :param cache: Where encoded corpora are kept.
    :param encoder_alone: As for :func:`train`.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the run directory was made with another recipe, or for the encoder alone.
    """
    # Resuming compares the recipes, of a finished run too.
    RunDirectory.create(output, recipe.to_yaml(), resume=output.exists()).close()
    done = output / "finished.json"
    told = {"encoder_alone": encoder_alone}
    if not done.exists():
        train(recipe, output, resume=True, cache=cache, encoder_alone=encoder_alone, show_progress=show_progress)
        atomic_write(done, json.dumps(told) + "\n")
    elif json.loads(done.read_text(encoding="utf-8")) != told:
        msg = f"{output} was finished with encoder_alone: {str(not encoder_alone).lower()}. Choose another --output."
        raise ValueError(msg)


def _encoder_of(run: Path) -> Path:
    return run / "encoder"


def _dual_encoder(recipe: Recipe, run: RunDirectory, phase: int | None, *, resume: bool, show_progress: bool) -> str:
    """Where the encoder lies that phases 2 and 3 begin with."""
    if recipe.dual_encoder is None:
        return recipe.encoder
    if phase not in {None, _DUAL_ENCODER}:
        return str(_encoder_of(run.path))
    sources = [
        PairSource(open_dataset(recipe.rooted(own).data), own.split, own.limit, own.weight) for own in recipe.train
    ]
    return str(
        train_dual_encoder(
            recipe.encoder, sources, recipe.dual_encoder, run, resume=resume, show_progress=show_progress
        )
    )


def _adapter(
    recipe: Recipe, run: RunDirectory, workshop: Workshop, encoder: Encoder, phase: int | None, *, show_progress: bool
) -> AdapterLearner | None:
    """The adapter that a model is made of before phase 3, if one is."""
    if recipe.start is not None:
        if processes().is_main_process and run.done(PHASE) is None:
            workshop.begin_with(recipe.start)
        processes().wait_for_everyone()
        return workshop.begun(encoder) if recipe.joint is None or phase == _ADAPTER else None
    if phase not in {None, _ADAPTER}:
        return None
    return train_adapter(
        encoder, workshop.sets(encoder, recipe.train), recipe.adapter, run, workshop.cache,
        prior=recipe.evidence.prior, seed=recipe.seed, show_progress=show_progress,
    )  # fmt: skip


def check_inputs(recipe: Recipe, output: Path) -> None:
    """
    See that the data and the model that a recipe names are there and fit, before hours are spent on it.

    :param recipe: The recipe.
    :param output: The run directory; what it has taken over already is not looked at.
    :raises FileNotFoundError: If a file or the model to start with is missing.
    :raises ValueError: If a split is missing, or the adapter to start with does not fit the encoder.
    """
    check_splits(recipe.rooted(split) for split in (*recipe.train, *recipe.dev))
    if recipe.start is None or RunDirectory(output).done(PHASE) is not None:
        return
    model, encoder = RRRAModel.load(recipe.start), Encoder(recipe.encoder)
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


def _check_phase(recipe: Recipe, phase: int | None, output: Path) -> None:
    if phase is None:
        return
    if phase not in _PHASES:
        msg = f"There is no phase {phase}: the phases are 1 (dual encoder), 2 (adapter) and 3 (joint)."
        raise ValueError(msg)
    if getattr(recipe, _PHASES[phase]) is None:
        msg = f"The recipe has no phase {phase}: add the key '{_PHASES[phase]}' to it."
        raise ValueError(msg)
    if phase != _DUAL_ENCODER and recipe.dual_encoder is not None and not _encoder_of(output).is_dir():
        msg = f"{output} has no encoder of phase 1 yet. Run the recipe with --phase 1 first, or without --phase."
        raise ValueError(msg)


__all__ = ["MODEL", "PHASE", "Workshop", "train"]
