"""
Phase 2: the adapter learns to judge candidates, with the encoder frozen.

The loss of a list is the sum, each with its weight, of a listwise ranking loss on the adapter scores, the cross-entropy
of the outcomes weighted by class ratio (arXiv 2508.11670), and the linear normalisation loss of the same paper.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from tqdm.auto import tqdm

from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.sets import CandidateSet
from rrra_training.phases.adapter.drawing import draw_steps, outcome_weights, token_match_orders
from rrra_training.phases.adapter.gradients import add_gradients, share_gradients
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner, fresh_learner
from rrra_training.phases.adapter.losses import AdapterLoss
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.settings import AdapterTraining
from rrra_training.runs.processes import processes
from rrra_training.runs.tensors import below, learning_tensors, load_learning_tensors

Look = Callable[[int, AdapterLearner], bool]


def train_adapter(  # noqa: C901  (the loop reads best from top to bottom)
    workshop: Workshop,
    encoder: Encoder,
    sets: Sequence[CandidateSet],
    *,
    phase: str = ADAPTER_PHASE,
    steps: int | None = None,
    start: AdapterLearner | None = None,
    look: Look | None = None,
) -> AdapterLearner:
    """
    Train an adapter, or go on from the last checkpoint.

    :param workshop: The recipe at work.
    :param encoder: The encoder that the sets were encoded with.
    :param sets: What to learn from.
    :param phase: Name under which checkpoints and metrics are kept.
    :param steps: Batches to train on; as many as the recipe says if `None`.
    :param start: Weights to begin with; fresh ones if `None`.
    :param look: What looks at the adapter before each checkpoint, and says whether it has learned enough.
    """
    recipe, run, process = workshop.recipe, workshop.run, processes()
    config = recipe.adapter
    if steps is not None:
        config = config.model_copy(update={"steps": steps})
    torch.manual_seed(recipe.seed)
    learner = start if start is not None else fresh_learner(encoder, sets, config, recipe.seed)
    checkpoint = run.checkpoints.latest(phase)
    begin = checkpoint.step if checkpoint is not None else 0
    done = run.done(phase)
    if checkpoint is not None and done is not None and begin >= done.get("steps", config.steps):
        learner.load_state_dict(below("model/", checkpoint.state))
        return learner.eval()
    orders = None
    if config.hard_lists:
        # By the weights at the start, which a resumed run has at this point alone.
        orders = token_match_orders(learner, sets, workshop.cache, show_progress=workshop.show_progress)
    optimiser = torch.optim.AdamW(learning_groups(learner, config), betas=(0.9, 0.98))
    if checkpoint is not None:
        load_learning_tensors(learner, optimiser, checkpoint.state)
    if process.is_main_process:
        run.metrics.rewind(phase, begin)
    loss = AdapterLoss(config, recipe.evidence.prior, outcome_weights(sets, config, recipe.seed))
    progress = tqdm(
        draw_steps(sets, config, seed=recipe.seed, begin=begin, orders=orders),
        total=config.steps, initial=begin, desc="Training the adapter", unit="step",
        disable=not (workshop.show_progress and process.is_main_process),
    )  # fmt: skip
    learner.train()
    for parameter in learner.parameters():
        # All processes hold all gradients, whichever parts their share of a batch reaches.
        parameter.grad = torch.zeros_like(parameter)
    step = begin
    for step, drawn in enumerate(progress, start=begin + 1):
        kind = config.codes[step % len(config.codes)]
        for group in optimiser.param_groups:
            group["lr"] = group["highest"] * cosine_schedule(step, config)
        optimiser.zero_grad(set_to_none=False)
        losses = add_gradients(learner, drawn, loss, kind)
        share_gradients(learner, losses)
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        if not process.is_main_process:
            continue
        values = {name: value / config.batch_size for name, value in losses.items()}
        run.metrics.log(phase, step, **values, gradient_norm=float(norm), learning_rate=optimiser.param_groups[0]["lr"])
        progress.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        if step % config.save_steps == 0 or step == config.steps:
            # Before the checkpoint: what is not kept yet is looked at again after an interruption.
            is_enough = look is not None and look(step, learner.eval())
            learner.train()
            run.checkpoints.save(phase, step, learning_tensors(learner, optimiser))
            if is_enough:
                break
    if process.is_main_process:
        run.mark_done(phase, steps=step, processes=process.num_processes)
    return learner.requires_grad_(requires_grad=True).eval()


def learning_groups(learner: AdapterLearner, config: AdapterTraining) -> list[dict]:
    """
    What AdamW learns: single numbers faster than matrices, and without decay; the projection slowly.

    :param learner: The adapter; its projection asks for no gradient any more if it is not to learn.
    :param config: The learning rates, and how much matrices decay.
    """
    single = [learner.log_scale, learner.adapter.score_mix]
    slow = list(learner.projection.parameters()) if learner.projection is not None else []
    for parameter in slow:
        # At a rate of 0 the codes stay what they are, and no gradient is needed.
        parameter.requires_grad_(config.projection_learning_rate > 0)
    chosen = {id(parameter) for parameter in (*single, *slow)}
    rest = [parameter for parameter in learner.parameters() if id(parameter) not in chosen]
    rates = (
        (rest, config.learning_rate, config.weight_decay),
        (single, 10 * config.learning_rate, 0.0),
        (slow, config.projection_learning_rate, 0.0),
    )
    return [{"params": own, "highest": rate, "lr": rate, "weight_decay": decay} for own, rate, decay in rates if own]


def cosine_schedule(step: int, config: AdapterTraining) -> float:
    """Share of the highest learning rate at a step, from 1: it rises evenly, and falls to a twentieth as a cosine."""
    warmup = max(config.warmup_ratio * config.steps, 1)
    falling = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return min(step / warmup, 1.0) * (0.95 * falling + 0.05)
