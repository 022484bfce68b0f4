"""
Phase 3: encoder and adapter learn together, from negatives that the adapter resamples.

A round trains the encoder with a contrastive loss, and the adapter loss beside it, on hard negatives drawn by a sampler
from candidates that were mined and judged at the round's start. Then the corpus is encoded anew, and adapter, codes and
calibration are refitted to it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.lists import draw_queries, draw_set
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.detector import Detector
from rrra_training.negatives.samplers import RRRA
from rrra_training.phases.adapter.drawing import outcome_weights
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner
from rrra_training.phases.adapter.losses import AdapterLoss
from rrra_training.phases.adapter.taking_over import detection_at_start, phase_2, taken_over
from rrra_training.phases.adapter.training import learning_groups, train_adapter
from rrra_training.phases.dropout import drawn_from, set_dropout
from rrra_training.phases.finishing import finish
from rrra_training.phases.freezing import freeze_lowest
from rrra_training.phases.joint.drawing import draw_negatives
from rrra_training.phases.joint.gradients import JointBatch, add_gradients
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.settings import AdapterTraining, JointTraining
from rrra_training.runs.tensors import above, below, learning_tensors, load_learning_tensors


def train_joint(workshop: Workshop, source: str) -> None:
    """
    Carry out all rounds, each from where an interruption left it.

    :param workshop: The recipe at work, with phase 2 finished.
    :param source: Where the encoder of phase 2 lies.
    :raises ValueError: If phase 2 is not finished.
    """
    recipe, run = workshop.recipe, workshop.run
    config = recipe.joint
    assert config is not None
    if run.done(ADAPTER_PHASE) is None:
        msg = f"{run.path} has no adapter of phase 2 yet. Run the recipe with --phase 2 first, or without --phase."
        raise ValueError(msg)
    encoder = Encoder(source)
    sets = workshop.sets(encoder, recipe.train)
    # Trained by now, or taken over: it is read from the run directory.
    as_it_is = recipe.start is not None and not recipe.start_steps
    learner = taken_over(workshop, encoder) if as_it_is else phase_2(workshop, encoder, sets)
    for number in range(1, config.rounds + 1):
        learner = _train_round(workshop, source, sets, learner, number)
        source = str(run.path / f"encoder-{number}")
        encoder = Encoder(source)
        if config.refit_steps or number < config.rounds:
            sets = workshop.sets(encoder, recipe.train)
        if config.refit_steps:
            learner = train_adapter(
                workshop, encoder, sets, phase=f"refit-{number}", steps=config.refit_steps, start=learner
            )
        finish(workshop, encoder, source, learner, rounds=number)


def _train_round(
    workshop: Workshop, source: str, sets: Sequence[CandidateSet], learner: AdapterLearner, number: int
) -> AdapterLearner:
    """
    Train encoder and adapter for one round; the encoder is written to ``encoder-N/`` of the run directory.

    :param workshop: The recipe at work.
    :param source: Where the encoder lies.
    :param sets: The training sets as this encoder sees them.
    :param learner: The adapter for this encoder; it learns too, and is returned.
    :param number: Number of the round, from 1.
    """
    recipe, run, phase = workshop.recipe, workshop.run, f"joint-{number}"
    config = recipe.joint
    assert config is not None
    # Weights learn in float32; the passes run in the native format through autocast.
    encoder = Encoder(source, model_kwargs={"dtype": torch.float32})
    encoder.transformer.train()
    set_dropout(encoder.transformer, config.dropout)
    freeze_lowest(encoder.transformer, config.frozen_layers)
    learner.train()
    learning = [parameter for parameter in encoder.transformer.parameters() if parameter.requires_grad]
    groups = learning_groups(learner, adapter_training(recipe.adapter, config))
    optimiser = torch.optim.AdamW(
        [{"params": learning, "highest": config.learning_rate}, *groups],
        lr=config.learning_rate, weight_decay=config.weight_decay,
    )  # fmt: skip
    # Where the encoder learns alone no outcome is weighed, so no lists are drawn to count them.
    weights = outcome_weights(sets if config.adapter_weight else (), recipe.adapter, recipe.seed)
    loss = AdapterLoss(recipe.adapter, recipe.evidence.prior, weights)
    with _detector(workshop, sets, learner) as detector:
        begin = 0
        if (checkpoint := run.checkpoints.latest(phase)) is not None:
            begin = checkpoint.step
            encoder.transformer.load_state_dict(below("encoder/", checkpoint.state))
            load_learning_tensors(learner, optimiser, checkpoint.state)
        run.metrics.rewind(phase, begin)
        progress = tqdm(
            range(begin, config.steps), initial=begin, total=config.steps, desc=f"Joint round {number}", unit="step",
            disable=not workshop.show_progress,
        )  # fmt: skip
        for step in progress:
            generator = np.random.default_rng([recipe.seed, number, step])
            data = sets[draw_set(sets, generator)]
            queries = draw_queries(data, config.batch_size, generator)
            lists = draw_negatives(data, queries, config, generator, detector)
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * _linear_schedule(step, config)
            optimiser.zero_grad()
            # A resumed round has to draw the masks that an uninterrupted one draws.
            with drawn_from(int(generator.integers(2**62)), encoder.device):
                kind = recipe.adapter.codes[step % len(recipe.adapter.codes)]
                values = add_gradients(config, encoder, learner, JointBatch(data, queries, lists), loss, kind)
            nn.utils.clip_grad_norm_([*encoder.transformer.parameters(), *learner.parameters()], 1.0)
            optimiser.step()
            run.metrics.log(phase, step + 1, **values)
            progress.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
            if (step + 1) % config.save_steps == 0 or step + 1 == config.steps:
                state = above("encoder/", encoder.transformer.state_dict())
                run.checkpoints.save(phase, step + 1, state | learning_tensors(learner, optimiser))
    finished = run.path / f"encoder-{number}"
    if not finished.is_dir():
        with atomic_directory(finished) as work:
            encoder.transformer.save(str(work), safe_serialization=True, create_model_card=False)
    run.mark_done(phase, steps=config.steps)
    return learner.eval()


def adapter_training(config: AdapterTraining, joint: JointTraining) -> AdapterTraining:
    """
    How the adapter learns in phase 3.

    :param config: How it learns in phase 2: its projection learns no faster here, or not at all.
    :param joint: The learning rate, and how much matrices decay.
    """
    rate = joint.adapter_learning_rate
    slow = min(config.projection_learning_rate, rate)
    told = {"learning_rate": rate, "projection_learning_rate": slow, "weight_decay": joint.weight_decay}
    return config.model_copy(update=told)


@contextmanager
def _detector(
    workshop: Workshop, sets: Sequence[CandidateSet], learner: AdapterLearner
) -> Iterator[Detector | None]:  # fmt: skip
    """What is a false negative as the adapter sees it now; `None` if the sampler does not ask."""
    recipe = workshop.recipe
    assert recipe.joint is not None
    if not isinstance(recipe.joint.sampler, RRRA):
        yield None
        return
    # A copy: what is a false negative is judged as it was at the round's start, after an interruption too.
    judge = deepcopy(learner).eval()
    with Detector(
        judge.adapter, judge.projection, sets, workshop.cache,
        seed=recipe.seed, default=detection_at_start(workshop.run),
    ) as detector:  # fmt: skip
        yield detector


def _linear_schedule(step: int, config: JointTraining) -> float:
    risen = min((step + 1) / max(config.warmup_ratio * config.steps, 1), 1.0)
    falling = (config.steps - step) / config.steps
    return min(risen, falling)
