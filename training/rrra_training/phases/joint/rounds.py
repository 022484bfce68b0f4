"""
Phase 3: encoder and adapter learn together, from negatives that the adapter resamples.

A round trains the encoder with a contrastive loss, and the adapter loss beside it, on hard negatives drawn by a sampler
from candidates that were mined and judged at the round's start. Then the corpus is encoded anew, and adapter, codes and
calibration are refitted to it.
"""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.detector import Detector
from rrra_training.negatives.samplers import RRRA
from rrra_training.phases.adapter.learner import PHASE, AdapterLearner
from rrra_training.phases.adapter.training import train_adapter
from rrra_training.phases.dropout import set_dropout
from rrra_training.phases.joint.drawing import draw_negatives
from rrra_training.phases.joint.step import train_step
from rrra_training.phases.workshop import detection_at_start
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.tensors import above, below, load_optimiser_tensors, optimiser_tensors

if TYPE_CHECKING:
    from rrra_training.phases.workshop import Workshop
    from rrra_training.recipe.recipe import Recipe


def train_joint(
    recipe: "Recipe", run: RunDirectory, cache: Path, workshop: "Workshop", source: str, *, show_progress: bool = False
) -> None:
    """
    Carry out all rounds, each from where an interruption left it.

    :param recipe: The recipe.
    :param run: The run directory, with phase 2 finished.
    :param cache: Where encoded corpora are kept.
    :param workshop: Prepares the data and writes the model.
    :param source: Where the encoder of phase 2 lies.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If phase 2 is not finished.
    """
    config = recipe.joint
    assert config is not None
    if run.done(PHASE) is None:
        msg = f"{run.path} has no adapter of phase 2 yet. Run the recipe with --phase 2 first, or without --phase."
        raise ValueError(msg)
    encoder = Encoder(source)
    sets = workshop.sets(encoder, recipe.train)
    learner = train_adapter(
        encoder, sets, recipe.adapter, run, cache,
        prior=recipe.evidence.prior, seed=recipe.seed, show_progress=show_progress,
    )  # fmt: skip
    for number in range(1, config.rounds + 1):
        finished = run.path / f"encoder-{number}"
        learner = train_round(source, sets, learner, recipe, run, cache, number, finished, show_progress=show_progress)
        source = str(finished)
        encoder = Encoder(source)
        if config.refit_steps or number < config.rounds:
            sets = workshop.sets(encoder, recipe.train)
        if config.refit_steps:
            refit = recipe.adapter.model_copy(update={"steps": config.refit_steps})
            learner = train_adapter(
                encoder, sets, refit, run, cache,
                prior=recipe.evidence.prior, seed=recipe.seed, phase=f"refit-{number}", start=learner,
                show_progress=show_progress,
            )  # fmt: skip
        workshop.finish(encoder, source, learner, number)


def train_round(
    source: str,
    sets: list[CandidateSet],
    learner: AdapterLearner,
    recipe: "Recipe",
    run: RunDirectory,
    cache: Path,
    number: int,
    finished: Path,
    *,
    show_progress: bool = False,
) -> AdapterLearner:
    """
    Train encoder and adapter for one round.

    :param source: Where the encoder lies.
    :param sets: The training sets as this encoder sees them.
    :param learner: The adapter for this encoder; it learns too, and is returned.
    :param recipe: The recipe.
    :param run: The run directory.
    :param cache: Where temporary files go.
    :param number: Number of the round, from 1.
    :param finished: Where the trained encoder is written.
    :param show_progress: Show progress and the time left.
    """
    config, phase = recipe.joint, f"joint-{number}"
    assert config is not None
    # Weights learn in float32; the passes run in the native format through autocast.
    encoder = Encoder(source, model_kwargs={"dtype": torch.float32})
    encoder.transformer.train()
    set_dropout(encoder.transformer, config.dropout)
    learner.train()
    groups = [
        {"params": list(encoder.transformer.parameters()), "highest": config.learning_rate},
        {"params": list(learner.parameters()), "highest": config.adapter_learning_rate},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    # What is a false negative is judged as it was at the round's start, after an interruption too.
    judged = AdapterLearner(learner.adapter.config, encoder.hidden_size).eval()
    judged.load_state_dict(learner.state_dict())
    begin = 0
    if (checkpoint := run.latest_checkpoint(phase)) is not None:
        begin, state, _ = checkpoint
        encoder.transformer.load_state_dict(below("encoder/", state))
        learner.load_state_dict(below("model/", state))
        load_optimiser_tensors(optimiser, below("optimiser/", state))
        run.rewind(phase, begin)
    odds = np.asarray([data.weight * math.sqrt(len(data)) for data in sets])
    progress = tqdm(
        range(begin, config.steps), initial=begin, total=config.steps, desc=f"Joint round {number}", unit="step",
        disable=not show_progress,
    )  # fmt: skip
    with ExitStack() as stack:
        detector = None
        if isinstance(config.sampler, RRRA):
            default = detection_at_start(run)
            detector = stack.enter_context(
                Detector(judged.adapter, judged.projection, sets, cache, seed=recipe.seed, default=default)
            )
        for step in progress:
            generator = np.random.default_rng([recipe.seed, number, step])
            data = sets[int(generator.choice(len(sets), p=odds / odds.sum()))]
            queries = generator.choice(len(data), size=config.batch_size, replace=len(data) < config.batch_size)
            lists = draw_negatives(data, queries, config, generator, detector)
            risen = min((step + 1) / max(config.warmup_ratio * config.steps, 1), 1.0)
            falling = (config.steps - step) / config.steps
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * min(risen, falling)
            optimiser.zero_grad()
            values = train_step(encoder, learner, data, queries, lists, config, recipe)
            nn.utils.clip_grad_norm_([*encoder.transformer.parameters(), *learner.parameters()], 1.0)
            optimiser.step()
            run.log(phase, step + 1, **values)
            progress.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
            if (step + 1) % config.save_steps == 0 or step + 1 == config.steps:
                state = above("encoder/", encoder.transformer.state_dict()) | above("model/", learner.state_dict())
                state |= above("optimiser/", optimiser_tensors(optimiser))
                run.save_checkpoint(phase, step + 1, state, {})
    if not finished.is_dir():
        with atomic_directory(finished) as work:
            encoder.transformer.save(str(work), safe_serialization=True, create_model_card=False)
    run.mark_done(phase, steps=config.steps)
    return learner.eval()
