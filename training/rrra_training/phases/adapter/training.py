"""
Phase 2: the adapter learns to judge candidates, with the encoder frozen.

The loss of a list is the sum, each with its weight, of a listwise ranking loss on the adapter scores, the cross-entropy
of the outcomes weighted by class ratio (arXiv 2508.11670), and the linear normalisation loss of the same paper.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from rrra_haystack.model.adapter.observation import Observation, StateTokens
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.segments import Segments
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.projecting import project
from rrra_training.phases.adapter.drawing import DrawnLists, draw_steps, outcome_weights, token_match_orders
from rrra_training.phases.adapter.learner import PHASE, AdapterLearner, fresh_learner
from rrra_training.phases.adapter.losses import AdapterLoss, ListLabels
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.settings import AdapterTraining
from rrra_training.runs.processes import processes, sum_over_processes
from rrra_training.runs.tensors import above, below, load_optimiser_tensors, optimiser_tensors


def train_adapter(  # noqa: C901  (the loop reads best from top to bottom)
    workshop: Workshop,
    encoder: Encoder,
    sets: Sequence[CandidateSet],
    *,
    phase: str = PHASE,
    steps: int | None = None,
    start: AdapterLearner | None = None,
) -> AdapterLearner:
    """
    Train an adapter, or go on from the last checkpoint.

    :param workshop: The recipe at work.
    :param encoder: The encoder that the sets were encoded with.
    :param sets: What to learn from.
    :param phase: Name under which checkpoints and metrics are kept.
    :param steps: Batches to train on; as many as the recipe says if `None`.
    :param start: Weights to begin with; fresh ones if `None`.
    """
    recipe, run, process = workshop.recipe, workshop.run, processes()
    config, prior = recipe.adapter, recipe.evidence.prior
    if steps is not None:
        config = config.model_copy(update={"steps": steps})
    torch.manual_seed(recipe.seed)
    learner = start if start is not None else fresh_learner(encoder, sets, config, recipe.seed)
    checkpoint = run.checkpoints.latest(phase)
    begin = checkpoint.step if checkpoint is not None else 0
    if checkpoint is not None and run.done(phase) is not None and begin >= config.steps:
        learner.load_state_dict(below("model/", checkpoint.state))
        return learner.eval()
    orders = None
    if config.hard_lists:
        # By the weights at the start, which a resumed run has at this point alone.
        orders = token_match_orders(learner, sets, workshop.cache, show_progress=workshop.show_progress)
    optimiser = torch.optim.AdamW(_groups(learner, config), betas=(0.9, 0.98))
    if checkpoint is not None:
        learner.load_state_dict(below("model/", checkpoint.state))
        load_optimiser_tensors(optimiser, below("optimiser/", checkpoint.state))
    if process.is_main_process:
        run.metrics.rewind(phase, begin)
    loss = AdapterLoss(config, prior, outcome_weights(sets, config, prior, recipe.seed))
    progress = tqdm(
        draw_steps(sets, config, prior=prior, seed=recipe.seed, begin=begin, orders=orders),
        total=config.steps, initial=begin, desc="Training the adapter", unit="step",
        disable=not (workshop.show_progress and process.is_main_process),
    )  # fmt: skip
    learner.train()
    for parameter in learner.parameters():
        # All processes hold all gradients, whichever parts their share of a batch reaches.
        parameter.grad = torch.zeros_like(parameter)
    for step, drawn in enumerate(progress, start=begin + 1):
        kind = config.codes[step % len(config.codes)]
        for group in optimiser.param_groups:
            group["lr"] = group["highest"] * _schedule(step, config)
        optimiser.zero_grad(set_to_none=False)
        losses = _add_gradients(learner, drawn, loss, kind)
        _share_gradients(learner, losses)
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        if not process.is_main_process:
            continue
        values = {name: value / config.batch_size for name, value in losses.items()}
        run.metrics.log(phase, step, **values, gradient_norm=float(norm), learning_rate=optimiser.param_groups[0]["lr"])
        progress.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        if step % config.save_steps == 0 or step == config.steps:
            state = above("model/", learner.state_dict()) | above("optimiser/", optimiser_tensors(optimiser))
            run.checkpoints.save(phase, step, state, {})
    if process.is_main_process:
        run.mark_done(phase, steps=config.steps, processes=process.num_processes)
    return learner.eval()


def _add_gradients(learner: AdapterLearner, drawn: DrawnLists, loss: AdapterLoss, kind: CodeKind) -> dict[str, float]:
    """
    Add the gradients of this process's share of the lists.

    The gradient is that of the mean over all lists, whatever the number of processes.

    :returns: Sums of the losses over the share.
    """
    data, lists = drawn.data, drawn.lists
    share = np.asarray(drawn.share, dtype=np.int64)
    if not len(share):
        return dict.fromkeys(("loss", "ranking", "outcome", "normalisation"), 0.0)
    rows, inverse = np.unique(lists.rows[share], return_inverse=True)
    inverse = inverse.reshape(lists.rows[share].shape)
    states = project(data.passages.tokens(rows).states, learner.projection, kind)
    passages = states.split(data.passages.lengths[rows].tolist())
    queries = data.queries.tokens(lists.queries[share])
    query_tokens = project(queries.states, learner.projection).split(queries.lengths.tolist())
    query_states = project(queries.states, None).split(queries.lengths.tolist())
    total = torch.zeros(())
    sums: dict[str, float] = {}
    for at, number in enumerate(share):
        own = lists.rows[number]
        tokens = StateTokens(
            torch.cat([passages[row] for row in inverse[at]]),
            Segments(data.passages.lengths[own]),
            is_binary=kind == "1bit",
        )
        observation = Observation(
            query=torch.from_numpy(np.array(data.queries.pooled[lists.queries[number]])),
            contexts=torch.from_numpy(data.passages.pooled[own]),
            query_tokens=query_tokens[at],
            tokens=tokens,
            query_states=query_states[at],
        )
        labels = ListLabels(
            *(torch.from_numpy(part[number]) for part in (lists.target, lists.known, lists.retrieved))
        )  # fmt: skip
        losses = loss.of_list(learner, observation, labels)
        total = total + losses["loss"]
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    (total / loss.config.batch_size).backward()
    return sums


def _groups(learner: AdapterLearner, config: AdapterTraining) -> list[dict]:
    """Single numbers learn faster than matrices, and do not decay; the projection learns slowly."""
    single = [learner.log_scale, learner.adapter.score_mix]
    slow = list(learner.projection.parameters()) if learner.projection is not None else []
    chosen = {id(parameter) for parameter in (*single, *slow)}
    rest = [parameter for parameter in learner.parameters() if id(parameter) not in chosen]
    rates = (
        (rest, config.learning_rate, config.weight_decay),
        (single, 10 * config.learning_rate, 0.0),
        (slow, config.projection_learning_rate, 0.0),
    )
    return [{"params": own, "highest": rate, "lr": rate, "weight_decay": decay} for own, rate, decay in rates if own]


def _schedule(step: int, config: AdapterTraining) -> float:
    warmup = max(config.warmup_ratio * config.steps, 1)
    falling = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return min(step / warmup, 1.0) * (0.95 * falling + 0.05)


def _share_gradients(learner: AdapterLearner, losses: dict[str, float]) -> None:
    """Give every process the gradients and losses of all of them."""
    if processes().num_processes == 1:
        return
    gradients = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients] + [torch.tensor(list(losses.values()))])
    sum_over_processes(flat)
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients] + [len(losses)])[:-1], strict=True
    ):
        gradient.copy_(part.reshape(gradient.shape))
    losses.update(zip(losses, flat[-len(losses) :].tolist(), strict=True))
