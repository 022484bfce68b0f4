"""
Phase 2: the adapter learns to judge candidates, with the encoder frozen.

The loss of a list is the sum, each with its weight, of a listwise ranking loss on the adapter scores, the cross-entropy
of the outcomes weighted by class ratio (arXiv 2508.11670), and the linear normalisation loss of the same paper.
"""

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.adapter.adapter import (
    AdapterConfig,
    AdapterParts,
    Judgement,
    Observation,
    Outcome,
    RelationAwareAdapter,
    StateTokens,
    linear_normalisation_loss,
)
from rrra_haystack.model.codes.codec import CodeKind
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.segments import Segments
from rrra_training.candidates.lists import ListConfig, Lists, draw_lists
from rrra_training.candidates.preparing import CandidateSet
from rrra_training.corpora.store import StateStore
from rrra_training.judging.verdicts import judge, project, projected
from rrra_training.runs.directory import RunDirectory, load_optimiser_tensors, optimiser_tensors
from rrra_training.runs.processes import processes, sum_over_processes

logger = logging.getLogger(__name__)

PHASE = "adapter"

# Token states that the projection is initialised from.
_SAMPLED_TEXTS = 300
_ROTATION_ROUNDS = 30
_CLASS_RATIO_LISTS = 2048
# A target above this speaks for relevance.
_LIKELY = 0.5


# The trunk observes the candidates and stays out of the score; see docs/training.md.
_PARTS = AdapterParts(probes=8, score_correction=False)


class AdapterTraining(BaseModel):
    """
    How the adapter is trained.

    :param parts: Which parts the adapter has.
    :param token_dim: Dimensions of a projected token state; the encoder's own, without projection, if `None`.
    :param lists: How training lists are put together.
    :param steps: Batches to train on.
    :param batch_size: Queries of a batch, over all processes.
    :param learning_rate: Highest learning rate, reached after the warm-up and falling to a twentieth as a cosine.
    :param projection_learning_rate: The same of the projection, which forgets other domains when it learns fast.
    :param warmup_ratio: Share of the steps in which the learning rate rises.
    :param weight_decay: Of AdamW.
    :param ranking_weight: Weight of the listwise ranking loss.
    :param outcome_weight: Weight of the cross-entropy of the outcomes.
    :param normalisation_weight: Weight of the linear normalisation loss.
    :param class_weighting: Weight the outcomes by how rare they are.
    :param unlabelled: What a candidate without evidence is to the outcomes: ``soft`` (relevant with the probability
        ``evidence.prior``), ``pu`` (unlabelled, with the non-negative risk of arXiv 1703.00593), or ``negative``.
    :param hard_lists: Draw candidates by the rank that the untrained token match gives them, not the encoder's.
    :param lexical_match: Fit on dev how much the words in common with the query add to the adapter score.
    :param codes: Kinds of token codes to train for; the steps take turns.
    :param code: Kind of token codes that the model writes.
    :param save_steps: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: AdapterParts = _PARTS
    token_dim: int | None = Field(128, gt=0, multiple_of=8)
    lists: ListConfig = ListConfig()
    steps: int = Field(2000, gt=0)
    batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    projection_learning_rate: float = Field(1e-4, ge=0)
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    ranking_weight: float = Field(1.0, ge=0)
    outcome_weight: float = Field(0.1, ge=0)
    normalisation_weight: float = Field(0.1, ge=0)
    class_weighting: bool = True
    unlabelled: Literal["soft", "pu", "negative"] = "soft"
    hard_lists: bool = True
    lexical_match: bool = True
    codes: tuple[CodeKind, ...] = Field(("int8", "1bit"), min_length=1)
    code: CodeKind = "int8"
    save_steps: int = Field(250, gt=0)

    @field_validator("parts", mode="before")
    @classmethod
    def _the_others_as_they_are(cls, given: Any) -> Any:
        """Parts that are not named keep the defaults of training, whichever are named."""
        return _PARTS.model_dump() | given if isinstance(given, dict) else given


class AdapterLearner(nn.Module):
    """
    What phase 2 trains.

    :param config: Shape of the adapter.
    :param hidden_size: Dimensions of the encoder's token states.
    """

    def __init__(self, config: AdapterConfig, hidden_size: int) -> None:
        super().__init__()
        self.adapter = RelationAwareAdapter(config)
        self.projection = None
        if config.token_dim != hidden_size:
            self.projection = nn.Linear(hidden_size, config.token_dim, bias=False)
        # Cosines lie close together; the listwise loss needs them spread.
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))


@dataclass(frozen=True)
class _Batch:
    """A set, the lists drawn from it, and what this process is to do of them."""

    data: CandidateSet
    lists: Lists
    share: range


def train_adapter(  # noqa: C901  (the loop reads best from top to bottom)
    encoder: Encoder,
    sets: Sequence[CandidateSet],
    config: AdapterTraining,
    run: RunDirectory,
    cache: Path,
    *,
    prior: float,
    seed: int = 0,
    phase: str = PHASE,
    start: AdapterLearner | None = None,
    show_progress: bool = False,
) -> AdapterLearner:
    """
    Train an adapter, or go on from the last checkpoint.

    :param encoder: The encoder that the sets were encoded with.
    :param sets: What to learn from.
    :param config: How.
    :param run: Where checkpoints and metrics go.
    :param cache: Where temporary files go.
    :param prior: Relevance target of a candidate without evidence.
    :param seed: Seed of the initialisation and of every draw.
    :param phase: Name under which checkpoints and metrics are kept.
    :param start: Weights to begin with; fresh ones if `None`.
    :param show_progress: Show progress and the time left.
    """
    torch.manual_seed(seed)
    learner = start if start is not None else _fresh(encoder, sets, config, seed)
    process = processes()
    checkpoint = run.latest_checkpoint(phase)
    begin = checkpoint[0] if checkpoint is not None else 0
    if checkpoint is not None and run.done(phase) is not None and begin >= config.steps:
        learner.load_state_dict(below("model/", checkpoint[1]))
        return learner.eval()
    orders = None
    if config.hard_lists:
        # By the weights at the start, which a resumed run has at this point alone.
        orders = _orders(learner, sets, cache, show_progress=show_progress)
    optimiser = torch.optim.AdamW(_groups(learner, config), betas=(0.9, 0.98))
    if checkpoint is not None:
        learner.load_state_dict(below("model/", checkpoint[1]))
        load_optimiser_tensors(optimiser, below("optimiser/", checkpoint[1]))
    if process.is_main_process:
        run.rewind(phase, begin)
    class_weights = _class_weights(sets, config, prior, seed)
    draws = _draws(sets, config, prior, seed, begin, orders, process)
    progress = tqdm(
        draws, total=config.steps, initial=begin, desc="Training the adapter", unit="step",
        disable=not (show_progress and process.is_main_process),
    )  # fmt: skip
    learner.train()
    for parameter in learner.parameters():
        # All processes hold all gradients, whichever parts their share of a batch reaches.
        parameter.grad = torch.zeros_like(parameter)
    for step, batch in enumerate(progress, start=begin + 1):
        kind = config.codes[step % len(config.codes)]
        for group in optimiser.param_groups:
            group["lr"] = group["highest"] * _schedule(step, config)
        optimiser.zero_grad(set_to_none=False)
        losses = accumulate_gradients(learner, batch, config, kind, class_weights, prior)
        _share_gradients(learner, losses)
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        if not process.is_main_process:
            continue
        values = {name: value / config.batch_size for name, value in losses.items()}
        run.log(phase, step, **values, gradient_norm=float(norm), learning_rate=optimiser.param_groups[0]["lr"])
        progress.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        if step % config.save_steps == 0 or step == config.steps:
            state = above("model/", learner.state_dict()) | above("optimiser/", optimiser_tensors(optimiser))
            run.save_checkpoint(phase, step, state, {})
    if process.is_main_process:
        run.mark_done(phase, steps=config.steps, processes=process.num_processes)
    return learner.eval()


def above(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under names that begin with a prefix, to be kept beside others in one file."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`above` put under a prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


# --- what a step does ---


def accumulate_gradients(
    learner: AdapterLearner,
    batch: "_Batch",
    config: AdapterTraining,
    kind: CodeKind,
    class_weights: Tensor,
    prior: float,
) -> dict[str, float]:
    """
    Add the gradients of this process's share of a batch.

    The gradient is that of the mean over the whole batch, whatever the number of processes.

    :returns: Sums of the losses over the share.
    """
    data, lists = batch.data, batch.lists
    share = np.asarray(batch.share, dtype=np.int64)
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
        parts = losses_of(
            learner.adapter(observation),
            observation,
            torch.from_numpy(lists.target[number]),
            torch.from_numpy(lists.known[number]),
            torch.from_numpy(lists.retrieved[number]),
            learner.log_scale,
            config,
            class_weights,
            prior,
        )
        loss = (
            config.ranking_weight * parts["ranking"]
            + config.outcome_weight * parts["outcome"]
            + config.normalisation_weight * parts["normalisation"]
        )
        total = total + loss
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    (total / config.batch_size).backward()
    return sums


def losses_of(
    judgement: Judgement,
    observation: Observation,
    target: Tensor,
    known: Tensor,
    retrieved: Tensor,
    log_scale: Tensor,
    config: AdapterTraining,
    class_weights: Tensor,
    prior: float,
) -> dict[str, Tensor]:
    """
    The parts of the loss of one list, whose first candidate is the labelled positive.

    :param judgement: What the adapter says.
    :param observation: What it saw.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    :param known: Whether evidence says so, shape ``[n]``.
    :param retrieved: Whether the encoder retrieves it, shape ``[n]``.
    :param log_scale: Logarithm of what adapter scores are multiplied with.
    :param config: Which losses there are.
    :param class_weights: Weight of each outcome, shape ``[4]``.
    :param prior: Share of relevant candidates among those without evidence.
    """
    query = nn.functional.normalize(observation.query, dim=-1)
    contexts = nn.functional.normalize(observation.contexts, dim=-1)
    parts = {"ranking": listwise_loss(judgement.adapter * log_scale.exp(), target)}
    soft = torch.where(known, target, 0.0) if config.unlabelled == "negative" else target
    if config.unlabelled == "pu":
        parts["outcome"] = non_negative_pu_risk(judgement.relevance_logit, target, known, prior)
    else:
        parts["outcome"] = outcome_loss(judgement.outcomes, soft, retrieved, class_weights)
    parts["normalisation"] = judgement.adapter.new_zeros(())
    if config.normalisation_weight and judgement.corrected is not None:
        parts["normalisation"] = linear_normalisation_loss(judgement.corrected, query, contexts)
    return parts


def listwise_loss(scores: Tensor, target: Tensor) -> Tensor:
    """
    Negative log-likelihood of the labelled positive in its list (ListNet with one relevant item).

    Another candidate counts with the probability that it is irrelevant: a known positive is no negative.

    :param scores: Scaled scores, shape ``[n]``; the first is that of the labelled positive.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    """
    weights = (1 - target).clamp_min(0)
    weights = torch.cat([weights.new_ones(1), weights[1:]])
    return torch.logsumexp(scores + weights.clamp_min(1e-12).log(), dim=0) - scores[0]


def outcome_loss(outcomes: Tensor, target: Tensor, retrieved: Tensor, class_weights: Tensor) -> Tensor:
    """
    Cross-entropy of the four outcomes, weighted by class (arXiv 2508.11670), with soft relevance.

    :param outcomes: Logits, shape ``[n, 4]``.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    :param retrieved: Whether the encoder retrieves it, shape ``[n]``.
    :param class_weights: Shape ``[4]``.
    """
    wanted = outcome_targets(target, retrieved)
    return -(wanted * class_weights * outcomes.log_softmax(dim=1)).sum(dim=1).mean()


def outcome_targets(target: Tensor, retrieved: Tensor) -> Tensor:
    """Probability of each :class:`Outcome`, shape ``[n, 4]``: relevant or not, times retrieved or not."""
    inside = retrieved.to(target)
    columns = {
        Outcome.TP: target * inside,
        Outcome.FN: target * (1 - inside),
        Outcome.FP: (1 - target) * inside,
        Outcome.TN: (1 - target) * (1 - inside),
    }
    return torch.stack([columns[outcome] for outcome in Outcome], dim=1)


def non_negative_pu_risk(logit: Tensor, target: Tensor, known: Tensor, prior: float) -> Tensor:
    """
    Risk of a relevance classifier from positive and unlabelled candidates (arXiv 1703.00593, eq. 6).

    ``prior * R_p(+) + max(0, R_u(-) - prior * R_p(-))`` with the logistic loss.

    :param logit: Log-odds of relevance, shape ``[n]``.
    :param target: Probability that each candidate is relevant, shape ``[n]``.
    :param known: Whether evidence says so, shape ``[n]``; known candidates with a target above 1/2 are the positives.
    :param prior: Share of relevant ones among the unlabelled.
    """
    positive, unlabelled = known & (target > _LIKELY), ~known
    nothing = logit.new_zeros(())
    accept, reject = nn.functional.softplus(-logit), nn.functional.softplus(logit)
    as_positive = accept[positive].mean() if positive.any() else nothing
    wrongly = reject[positive].mean() if positive.any() else nothing
    rejected = reject[unlabelled].mean() if unlabelled.any() else nothing
    return prior * as_positive + (rejected - prior * wrongly).clamp_min(0)


# --- what is drawn ---


def _draws(
    sets: Sequence[CandidateSet],
    config: AdapterTraining,
    prior: float,
    seed: int,
    begin: int,
    orders: Sequence[np.ndarray] | None,
    process: PartialState,
) -> Iterator["_Batch"]:
    """The batches after step `begin`; each depends on the seed and its number alone, so resuming needs no state."""
    share = range(process.process_index, config.batch_size, process.num_processes)
    odds = np.asarray([data.weight * math.sqrt(len(data)) for data in sets])
    for step in range(begin, config.steps):
        generator = np.random.default_rng([seed, step])
        which = int(generator.choice(len(sets), p=odds / odds.sum()))
        data = sets[which]
        queries = generator.choice(len(data), size=config.batch_size, replace=len(data) < config.batch_size)
        order = orders[which] if orders is not None else None
        yield _Batch(data, draw_lists(data, queries, config.lists, generator, prior=prior, order=order), share)


def _class_weights(sets: Sequence[CandidateSet], config: AdapterTraining, prior: float, seed: int) -> Tensor:
    """Inverse of the share of each outcome in lists as they will be drawn, with a mean of 1 over the pairs."""
    if not config.class_weighting:
        return torch.ones(len(Outcome))
    counts = torch.zeros(len(Outcome), dtype=torch.float64)
    for number, data in enumerate(sets):
        generator = np.random.default_rng([seed, number, 1])
        queries = generator.choice(len(data), size=min(_CLASS_RATIO_LISTS, len(data)), replace=False)
        lists = draw_lists(data, queries, config.lists, generator, prior=prior)
        wanted = outcome_targets(
            torch.from_numpy(lists.target).reshape(-1), torch.from_numpy(lists.retrieved).reshape(-1)
        )
        counts += wanted.double().sum(dim=0)
    return (counts.sum() / (len(Outcome) * counts.clamp_min(1.0))).float()


def _orders(
    learner: AdapterLearner, sets: Sequence[CandidateSet], cache: Path, *, show_progress: bool
) -> list[np.ndarray]:
    """Places of each query's candidates by the adapter score at the start, which is the token match."""
    orders = []
    for data in sets:
        weights = learner.projection.weight if learner.projection is not None else torch.zeros(1)
        digest = hashlib.sha256(np.ascontiguousarray(data.mined.rows).tobytes())
        digest.update(weights.detach().numpy().tobytes())
        digest.update(f"{data.passages.fingerprint} {data.queries.digest}".encode())
        path = cache / f"order-{digest.hexdigest()[:16]}"
        if not path.exists() and processes().is_main_process:
            plain = RelationAwareAdapter(
                AdapterConfig(
                    pooled_dim=learner.adapter.config.pooled_dim, token_dim=learner.adapter.config.token_dim,
                )
            ).eval()  # fmt: skip
            with projected(data.passages, learner.projection, cache) as passages:
                verdicts = judge(plain, learner.projection, data, passages, "int8", show_progress=show_progress)
            with atomic_directory(path) as work:
                np.save(work / "order.npy", np.argsort(-verdicts.adapter, axis=1, kind="stable").astype(np.int16))
        processes().wait_for_everyone()
        orders.append(np.load(path / "order.npy", mmap_mode="r"))
    return orders


# --- where it begins ---


def adapter_shape(encoder: Encoder, config: AdapterTraining) -> AdapterConfig:
    """The shape of the adapter that a configuration asks for, over an encoder."""
    return AdapterConfig(
        pooled_dim=encoder.dimension,
        token_dim=config.token_dim or encoder.hidden_size,
        query_dim=encoder.hidden_size,
        **config.parts.model_dump(),
    )


def _fresh(encoder: Encoder, sets: Sequence[CandidateSet], config: AdapterTraining, seed: int) -> AdapterLearner:
    learner = AdapterLearner(adapter_shape(encoder, config), encoder.hidden_size)
    token_dim = learner.adapter.config.token_dim
    if learner.projection is not None:
        with torch.no_grad():
            learner.projection.weight.copy_(initial_projection([data.passages for data in sets], token_dim, seed))
    return learner


def initial_projection(stores: Sequence[StateStore], token_dim: int, seed: int) -> Tensor:
    """
    Principal directions of the token states, rotated so that signs keep as much of them as they can.

    Inner products survive the first; the second is iterative quantisation (Gong and Lazebnik, CVPR 2011): it makes all
    dimensions matter alike, as 1bit codes take them to, and changes nothing for int8.

    :param stores: Where to sample token states.
    :param token_dim: Dimensions to keep.
    :param seed: Seed of the sample.
    :returns: Shape ``[token_dim, hidden]``.
    """
    generator = np.random.default_rng(seed)
    sample = torch.cat(
        [
            store.tokens(generator.choice(len(store), min(_SAMPLED_TEXTS, len(store)), replace=False)).states.float()
            for store in stores
        ]
    )
    sample = nn.functional.normalize(sample, dim=-1)
    _, _, directions = torch.linalg.svd(sample, full_matrices=False)
    directions = directions[:token_dim]
    kept = nn.functional.normalize(sample @ directions.T, dim=-1)
    rotation, _ = torch.linalg.qr(torch.from_numpy(generator.standard_normal((token_dim, token_dim))).float())
    for _ in range(_ROTATION_ROUNDS):
        left, _, right = torch.linalg.svd((kept @ rotation).sign().T @ kept)
        rotation = (left @ right).T
    return (directions.T @ rotation).T.contiguous()


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
