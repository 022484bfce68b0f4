"""
Phase 3: encoder and adapter learn together, from negatives that the adapter resamples.

A round trains the encoder with a contrastive loss, and the adapter loss beside it, on hard negatives drawn by a sampler
from candidates that were mined and judged at the round's start. Then the corpus is encoded anew, and adapter, codes and
calibration are refitted to it.
"""

import logging
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.adapter.adapter import Observation, StateTokens
from rrra_haystack.model.encoder import EncodedBatch, Encoder, native_dtype
from rrra_haystack.model.segments import Segments
from rrra_training.candidates.evidence import Source
from rrra_training.candidates.preparing import CandidateSet
from rrra_training.judging.detector import Detector, detection_at_start
from rrra_training.judging.verdicts import project
from rrra_training.negatives.losses import AnyLoss, InfoNCE
from rrra_training.negatives.samplers import RRRA, AnySampler, Candidates, draw
from rrra_training.phases.adapter.training import (
    PHASE,
    AdapterLearner,
    AdapterTraining,
    above,
    below,
    losses_of,
    train_adapter,
)
from rrra_training.phases.dual_encoder.training import set_dropout
from rrra_training.runs.directory import RunDirectory, load_optimiser_tensors, optimiser_tensors

if TYPE_CHECKING:
    from rrra_training.recipe.recipe import Recipe
    from rrra_training.train import Workshop

logger = logging.getLogger(__name__)


class JointTraining(BaseModel):
    """
    How encoder and adapter are trained together.

    :param rounds: Times that the corpus is encoded and mined anew.
    :param steps: Batches of a round.
    :param batch_size: Queries of a batch.
    :param negatives: Negatives of a query, beside those of the other queries of the batch.
    :param random_share: How probably each of these is drawn from the whole corpus instead.
    :param sampler: How hard negatives are drawn from the mined candidates.
    :param loss: The contrastive loss.
    :param adapter_weight: Weight of the adapter loss beside it; 0 trains the encoder alone.
    :param learning_rate: Highest learning rate of the encoder.
    :param adapter_learning_rate: Highest learning rate of adapter and projection.
    :param warmup_ratio: Share of a round's steps in which the learning rates rise.
    :param weight_decay: Of AdamW.
    :param dropout: Of the encoder while it learns; 0 makes a step on a CPU four times as fast.
    :param refit_steps: Steps that the adapter is refitted for after each round; 0 leaves it as the round made it.
    :param save_steps: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(1, gt=0)
    steps: int = Field(500, gt=0)
    batch_size: int = Field(16, gt=1)
    negatives: int = Field(2, ge=0)
    random_share: float = Field(0.25, ge=0, le=1)
    sampler: AnySampler = RRRA()
    loss: AnyLoss = InfoNCE()
    adapter_weight: float = Field(0.1, ge=0)
    learning_rate: float = Field(2e-5, gt=0)
    adapter_learning_rate: float = Field(1e-4, gt=0)
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    refit_steps: int = Field(500, ge=0)
    save_steps: int = Field(100, gt=0)


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
            values = _step(encoder, learner, data, queries, lists, config, recipe)
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


def draw_negatives(
    data: CandidateSet,
    queries: np.ndarray,
    config: JointTraining,
    generator: np.random.Generator,
    detector: Detector | None,
) -> np.ndarray:
    """
    Draw a labelled positive and the negatives of each query.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[B]``.
    :param config: Sampler and shares.
    :param generator: Source of the draw.
    :param detector: Says how probably each candidate is a false negative; only for the sampler that asks.
    :returns: Rows of passages, shape ``[B, 1 + negatives]``; the first is the labelled positive, -1 is none.
    """
    positives = np.asarray([generator.choice(data.positives.of(query)) for query in queries])
    mined, source = np.asarray(data.mined.rows[queries]), np.asarray(data.labels.source[queries])
    judged_relevant = (source == Source.QRELS) & (np.asarray(data.labels.target[queries]) > 0.5)  # noqa: PLR2004
    eligible = torch.from_numpy((mined >= 0) & ~judged_relevant & (mined != positives[:, None]))
    embeddings, own = data.passages.pooled[np.maximum(mined, 0)], data.passages.pooled[positives]
    candidates = Candidates(
        scores=torch.from_numpy(np.array(data.mined.scores[queries])),
        positive_scores=torch.from_numpy(np.einsum("bd,bd->b", data.queries.pooled[queries], own)),
        eligible=eligible,
        positive_similarity=torch.from_numpy(np.einsum("bkd,bd->bk", embeddings, own)),
        false_negative=detector.probability(data, queries, positives) if detector is not None else None,
    )
    torch_generator = torch.Generator().manual_seed(int(generator.integers(2**62)))
    drawn = draw(
        config.sampler.weights(candidates), config.negatives, eligible=eligible, generator=torch_generator
    ).numpy()
    hard = np.where(drawn >= 0, np.take_along_axis(mined, np.maximum(drawn, 0), axis=1), -1)
    others = generator.integers(len(data.passages), size=hard.shape)
    chosen = np.where(generator.random(hard.shape) < config.random_share, others, hard)
    return np.concatenate([positives[:, None], chosen], axis=1)


def _step(
    encoder: Encoder,
    learner: AdapterLearner,
    data: CandidateSet,
    queries: np.ndarray,
    lists: np.ndarray,
    config: JointTraining,
    recipe: "Recipe",
) -> dict[str, float]:
    """Gradients of one batch."""
    rows = np.unique(lists[lists >= 0])
    kind = native_dtype(encoder.device)
    with torch.autocast(encoder.device.type, dtype=kind, enabled=kind != torch.float32):
        asked = encoder.encode_with_gradient([data.queries.text(int(row)) for row in queries], task="query")
        read = encoder.encode_with_gradient([data.passages.text(int(row)) for row in rows], task="document")
    query_vectors = nn.functional.normalize(asked.pooled.float(), dim=-1)
    contexts = nn.functional.normalize(read.pooled.float(), dim=-1)
    labels = torch.zeros((len(queries), len(rows)), dtype=torch.int64)
    for number, query in enumerate(queries):
        # Other known positives are masked out; the labelled one is the positive.
        labels[number][torch.from_numpy(np.isin(rows, data.positives.of(query)))] = -1
        labels[number, int(np.searchsorted(rows, lists[number, 0]))] = 1
    contrastive = config.loss(query_vectors @ contexts.T, labels.to(contexts.device))
    total, values = contrastive, {"contrastive": float(contrastive.detach())}
    if config.adapter_weight:
        adapter = _adapter_loss(learner, asked, read, lists, rows, recipe.adapter, recipe.evidence.prior)
        total = total + config.adapter_weight * adapter
        values["adapter"] = float(adapter.detach())
    total.backward()
    return {"loss": float(total.detach()), **values}


def _adapter_loss(
    learner: AdapterLearner,
    asked: EncodedBatch,
    read: EncodedBatch,
    lists: np.ndarray,
    rows: np.ndarray,
    config: AdapterTraining,
    prior: float,
) -> Tensor:
    """Mean adapter loss of the lists, from token states that carry the encoder's gradient."""
    states = project(read.states, learner.projection, config.codes[0]).split(read.lengths.tolist())
    query_tokens = project(asked.states, learner.projection).split(asked.lengths.tolist())
    query_states = project(asked.states, None).split(asked.lengths.tolist())
    total = read.pooled.new_zeros(())
    for number, own in enumerate(lists):
        places = np.searchsorted(rows, own[own >= 0])
        lengths = read.lengths.numpy()[places]
        observation = Observation(
            query=asked.pooled[number].float(),
            contexts=read.pooled[torch.from_numpy(places)].float(),
            query_tokens=query_tokens[number],
            query_states=query_states[number],
            tokens=StateTokens(torch.cat([states[place] for place in places]), Segments(lengths)),
        )
        target = torch.full((len(places),), prior)
        target[0] = 1.0
        known = torch.zeros(len(places), dtype=torch.bool)
        known[0] = True
        parts = losses_of(
            learner.adapter(observation), observation, target, known, torch.ones_like(known), learner.log_scale, config,
            torch.ones(4), prior,
        )  # fmt: skip
        total = total + (
            config.ranking_weight * parts["ranking"]
            + config.outcome_weight * parts["outcome"]
            + config.normalisation_weight * parts["normalisation"]
        )
    return total / len(lists)
