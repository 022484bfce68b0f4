"""A recipe carried out: phases, fits on dev, and the model directory that every component loads."""

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from rich.console import Group

from rrra_haystack.files import read_json, write_json
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.labelling import check_teacher
from rrra_training.candidates.splits import check_splits, examine_splits
from rrra_training.data import open_dataset
from rrra_training.data.preview import preview
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner
from rrra_training.phases.adapter.taking_over import check_start, phase_2, take_over, taken_over
from rrra_training.phases.dual_encoder.late_interaction import check_late_interaction
from rrra_training.phases.dual_encoder.pairs import PairSource
from rrra_training.phases.dual_encoder.training import ENCODER, train_dual_encoder
from rrra_training.phases.finishing import MODEL, finish
from rrra_training.phases.freezing import freeze_lowest
from rrra_training.phases.joint.rounds import train_joint
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes

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
    :returns: The model directory, or that of the encoder if phase 1 was all that was asked for, or trained a
        late-interaction model. With `encoder_alone` there is no model in it.
    :raises ValueError: If the recipe has no dev queries or no such phase, an earlier phase is missing, the run was
        begun with another recipe or other data, or several processes run phase 3.
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
        data = check_inputs(recipe, Path(output))
        goes_on = resume or phase not in {None, _DUAL_ENCODER}
        RunDirectory.create(output, recipe.to_yaml(), data=data, resume=goes_on).close()
    process.wait_for_everyone()
    run = RunDirectory(output)
    kept = Path(cache) if cache is not None else run.path / "cache"
    kept.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(recipe, run, kept, show_progress, encoder_alone=encoder_alone)
    source = _encoder(workshop, phase, resume=resume)
    if phase == _DUAL_ENCODER:
        return Path(source)
    encoder, made = Encoder(source), Path(source)
    # A late-interaction model retrieves nothing that an adapter could be trained on.
    if encoder.embeds:
        _train_adapter(workshop, encoder, source, phase)
        made = run.path / MODEL
    if process.is_main_process:
        run.draw_curves()
    run.close()
    return made


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
    :raises ValueError: If the run directory was made with another recipe or other data, or for the encoder alone.
    """
    done = output / "finished.json"
    told = {"encoder_alone": encoder_alone}
    if not done.exists():
        train(recipe, output, resume=True, cache=cache, encoder_alone=encoder_alone, show_progress=show_progress)
        write_json(done, told)
        return
    # Resuming compares recipes and data, of a finished run too, whose data may have gone to an archive.
    try:
        data = _digests(recipe)
    except FileNotFoundError:
        data = None
    RunDirectory.create(output, recipe.to_yaml(), data=data, resume=True).close()
    if read_json(done, f"Remove {output} to train again.") != told:
        msg = f"{output} was finished with encoder_alone: {str(not encoder_alone).lower()}. Choose another --output."
        raise ValueError(msg)


def _encoder(workshop: Workshop, phase: int | None, *, resume: bool) -> str:
    """What phases 2 and 3 begin with: the recipe's encoder, or the place of the one that phase 1 trains."""
    recipe = workshop.recipe
    if recipe.dual_encoder is None:
        return recipe.encoder
    if phase not in {None, _DUAL_ENCODER}:
        return str(workshop.run.path / ENCODER)
    return str(train_dual_encoder(workshop, pair_sources(recipe), resume=resume))


def pair_sources(recipe: Recipe) -> list[PairSource]:
    """What phase 1 makes its pairs of: the queries that the later phases draw, too."""
    return [
        PairSource(open_dataset(recipe.rooted(own).data), own.split, own.limit, own.weight, recipe.seed)
        for own in recipe.train
    ]


def _train_adapter(workshop: Workshop, encoder: Encoder, source: str, phase: int | None) -> None:
    """Phases 2 and 3."""
    learner = _adapter(workshop, encoder, phase)
    if learner is not None:
        if processes().is_main_process:
            finish(workshop, encoder, source, learner)
        processes().wait_for_everyone()
    if workshop.recipe.joint is not None and phase in {None, _JOINT}:
        train_joint(workshop, source)


def _adapter(workshop: Workshop, encoder: Encoder, phase: int | None) -> AdapterLearner | None:
    """The adapter that a model is made of before phase 3, if one is."""
    recipe = workshop.recipe
    if recipe.start is not None and not recipe.start_steps:
        if processes().is_main_process and workshop.run.done(ADAPTER_PHASE) is None:
            take_over(workshop, recipe.start)
        processes().wait_for_everyone()
        return taken_over(workshop, encoder) if recipe.joint is None or phase == _ADAPTER else None
    if phase not in {None, _ADAPTER}:
        return None
    return phase_2(workshop, encoder, workshop.sets(encoder, recipe.train))


def previews(recipe: Recipe) -> Iterator[Group]:
    """
    Look at a recipe's data, and show three rows of each split as they are read.

    :param recipe: The recipe.
    :raises FileNotFoundError: If a file is missing.
    :raises ValueError: If data are not understood, or no query of a split has a relevant passage.
    """
    train_splits, dev_splits = recipe.rooted_splits
    check_splits((*train_splits, *dev_splits))
    _check_evidence(recipe)
    for split in (*train_splits, *dev_splits):
        yield preview(open_dataset(split.data), split.split)
    examine_splits(train_splits, dev_splits, recipe.seed)


def check_inputs(recipe: Recipe, output: Path, *, needs_dev: bool = True) -> dict[str, str]:
    """
    See that the data and the models that a recipe names are there and fit, before hours are spent on it.

    :param recipe: The recipe.
    :param output: The run directory; what it has taken over already is not looked at.
    :param needs_dev: Whether dev queries must be named; whoever holds training queries out needs none.
    :returns: Digests of the data, by which a run that goes on knows them.
    :raises FileNotFoundError: If a file, the encoder or the model to start with is missing.
    :raises ValueError: If there are no dev queries, a split is missing or has no query with a relevant passage, a
        teacher's file cannot be read, the encoder is none that can be observed, the recipe's phases do not train it or
        freeze all of it, or the adapter to start with does not fit it.
    """
    train_splits, dev_splits = recipe.rooted_splits
    check_splits((*train_splits, *dev_splits))
    _check_evidence(recipe)
    encoder = Encoder(recipe.encoder)
    is_late = not encoder.embeds or (recipe.dual_encoder is not None and recipe.dual_encoder.token_dim is not None)
    if is_late:
        _check_late_interaction(recipe, encoder)
    elif needs_dev and not recipe.dev:
        msg = (
            f"The recipe '{recipe.name}' names no dev queries. Add the key 'dev', or give the data themselves to rrra "
            "train, which then holds queries out."
        )
        raise ValueError(msg)
    if recipe.joint is not None:
        freeze_lowest(encoder.transformer, recipe.joint.frozen_layers)
    digests = _digests(recipe)
    if not is_late and RunDirectory(output).done(ADAPTER_PHASE) is None:
        check_start(recipe, encoder)
    return digests


def _digests(recipe: Recipe) -> dict[str, str]:
    """What a recipe's data are, with a teacher's file."""
    digests = examine_splits(*recipe.rooted_splits, recipe.seed)
    if (teacher := recipe.rooted_evidence.teacher) is not None:
        with teacher.open("rb") as file:
            digests["the scores of evidence.teacher"] = file_digest(file, "sha256").hexdigest()
    return digests


def _check_evidence(recipe: Recipe) -> None:
    if (teacher := recipe.rooted_evidence.teacher) is not None:
        check_teacher(teacher)


def _check_late_interaction(recipe: Recipe, encoder: Encoder) -> None:
    """See that a late-interaction model is to be trained by phase 1 and no other, and can be."""
    if recipe.dual_encoder is None or recipe.joint is not None or recipe.start is not None:
        msg = (
            f"The recipe '{recipe.name}' is of a late-interaction model, and candidates to train an adapter on are "
            "retrieved by embeddings, which it does not give: train it by phase 1 alone, with the key 'dual_encoder' "
            "and neither 'joint' nor 'start', or rerank with it as it is."
        )
        raise ValueError(msg)
    check_late_interaction(encoder, recipe.dual_encoder)


def _check_phase(recipe: Recipe, phase: int | None, output: Path) -> None:
    if phase is None:
        return
    if phase not in _PHASES:
        msg = f"There is no phase {phase}: the phases are 1 (dual encoder), 2 (adapter) and 3 (joint)."
        raise ValueError(msg)
    if getattr(recipe, _PHASES[phase]) is None:
        msg = f"The recipe has no phase {phase}: add the key '{_PHASES[phase]}' to it."
        raise ValueError(msg)
    if phase != _DUAL_ENCODER and recipe.dual_encoder is not None and not (output / ENCODER).is_dir():
        msg = f"{output} has no encoder of phase 1 yet. Run the recipe with --phase 1 first, or without --phase."
        raise ValueError(msg)
