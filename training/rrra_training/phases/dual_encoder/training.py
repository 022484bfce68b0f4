"""
Phase 1: train a dual encoder, or a late-interaction model, with in-batch negatives (InfoNCE, arXiv 1807.03748, eq. 4).

A batch never holds a passage that is known to be relevant to another of its queries: two queries of one passage, two
positives of one query, or a positive that another query names as a negative are put into different batches. What is
known beforehand need not be masked afterwards, and every loss of sentence-transformers can be used as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import (
    MultiVectorEncoder,
    MultiVectorEncoderTrainingArguments,
    SentenceTransformer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import (
    CachedGISTEmbedLoss,
    CachedMultipleNegativesRankingLoss,
    GISTEmbedLoss,
    MultipleNegativesRankingLoss,
)
from torch import nn
from transformers import PrinterCallback

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encoder_files import load_transformer
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import resolve_encoder
from rrra_training.phases.dropout import set_dropout
from rrra_training.phases.dual_encoder.late_interaction import late_interaction_loss, lengths, made_of
from rrra_training.phases.dual_encoder.pairs import PairSource, TrainingPairs, training_pairs
from rrra_training.phases.dual_encoder.trainer import LateInteractionTrainer, PairTrainer, RunRecorder
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.settings import DualEncoderConfig
from rrra_training.runs.checkpoints import trainer_checkpoint

DUAL_ENCODER_PHASE, ENCODER = "dual_encoder", "encoder"


def train_dual_encoder(workshop: Workshop, sources: Sequence[PairSource], *, resume: bool = False) -> Path:
    """
    Train a dual encoder, or a late-interaction model.

    Runs in bfloat16 where the device computes it natively; the weights stay in float32. Under ``accelerate launch``
    each process trains on batches of its own, and the first one writes.

    :param workshop: The recipe at work, with a phase 1; it begins with the recipe's encoder.
    :param sources: The sets to learn from.
    :param resume: Go on from the last checkpoint of the run, or return at once if the phase is finished.
    :returns: ``encoder/`` in the run's directory, a model of sentence-transformers of the kind that was trained.
    :raises ValueError: If a set has no pair of a query and a relevant passage, or lacks the negatives asked for.
    """
    config, run = workshop.recipe.dual_encoder, workshop.run
    assert config is not None
    target = run.path / ENCODER
    if resume and run.done(DUAL_ENCODER_PHASE) is not None and target.is_dir():
        return target
    pairs = training_pairs(sources, hard_negatives=config.hard_negatives, seed=config.seed)
    encoder = _begun_with(workshop.recipe.encoder, pairs, config)
    full_length = encoder.max_seq_length
    if config.dropout is not None:
        set_dropout(encoder, config.dropout)
    work = run.path / "checkpoints" / DUAL_ENCODER_PHASE
    trainer = _trainer(
        encoder,
        pairs,
        config,
        {"output_dir": str(work), "disable_tqdm": not workshop.show_progress},
        RunRecorder(run, DUAL_ENCODER_PHASE),
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = trainer_checkpoint(work) if resume else None
    first = trainer.is_world_process_zero()
    if first:
        run.metrics.rewind(DUAL_ENCODER_PHASE, checkpoint[0] if checkpoint else 0)
    trainer.train(resume_from_checkpoint=str(checkpoint[1]) if checkpoint else None)
    if first:
        encoder.max_seq_length = full_length
        with atomic_directory(target) as partial:
            encoder.save_pretrained(str(partial), create_model_card=False)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        run.mark_done(
            DUAL_ENCODER_PHASE, steps=trainer.state.global_step, pairs=len(pairs), loss=losses[-1] if losses else None
        )
    trainer.accelerator.wait_for_everyone()
    return target


def _begun_with(name: str, pairs: TrainingPairs, config: DualEncoderConfig) -> SentenceTransformer | MultiVectorEncoder:
    """What is trained, in float32."""
    if config.token_dim is not None:
        passages = [pairs.texts[row] for row in np.unique(pairs.rows[:, 1])]
        made = made_of(Encoder(name), passages, config)
        return made.cuda() if torch.cuda.is_available() else made
    source = {"model_name_or_path": resolve_encoder(name), "model_kwargs": {"dtype": torch.float32}}
    return load_transformer(name, source, None)


def _trainer(
    encoder: SentenceTransformer | MultiVectorEncoder,
    pairs: TrainingPairs,
    config: DualEncoderConfig,
    told: dict[str, Any],
    recorder: RunRecorder,
) -> PairTrainer | LateInteractionTrainer:
    """The library's trainer of a model's kind."""
    arguments = told | _arguments(config, encoder, pairs)
    if isinstance(encoder, MultiVectorEncoder):
        return LateInteractionTrainer(
            pairs,
            model=encoder,
            args=MultiVectorEncoderTrainingArguments(max_length=lengths(encoder, config), **arguments),
            loss=late_interaction_loss(encoder, config),
            callbacks=[recorder],
        )
    encoder.max_seq_length = min(config.max_length, encoder.max_seq_length or config.max_length)
    return PairTrainer(
        pairs,
        model=encoder,
        args=SentenceTransformerTrainingArguments(**arguments),
        loss=_loss(encoder, config),
        callbacks=[recorder],
    )


def _arguments(
    config: DualEncoderConfig, encoder: SentenceTransformer | MultiVectorEncoder, pairs: TrainingPairs
) -> dict[str, Any]:
    tasks = {name: "query" if name == "query" else "document" for name in pairs.columns}
    return {
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "warmup_steps": config.warmup_ratio,
        "lr_scheduler_type": "linear",
        "gradient_checkpointing": config.gradient_checkpointing,
        "bf16": native_dtype(encoder.device) == torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(),
        "prompts": {name: prompt for name, task in tasks.items() if (prompt := encoder.prompts.get(task))},
        "router_mapping": tasks,
        "logging_steps": config.log_steps,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": [],
        "seed": config.seed,
    }


def _loss(encoder: SentenceTransformer, config: DualEncoderConfig) -> nn.Module:
    scale = 1 / config.temperature
    if config.guide is None:
        if config.mini_batch_size is None:
            return MultipleNegativesRankingLoss(encoder, scale=scale)
        return CachedMultipleNegativesRankingLoss(encoder, scale=scale, mini_batch_size=config.mini_batch_size)
    source = {"model_name_or_path": resolve_encoder(config.guide)}
    guide: Any = load_transformer(config.guide, source, str(encoder.device))
    guide.requires_grad_(requires_grad=False)
    if config.mini_batch_size is None:
        return GISTEmbedLoss(encoder, guide, temperature=config.temperature)
    return CachedGISTEmbedLoss(encoder, guide, temperature=config.temperature, mini_batch_size=config.mini_batch_size)
