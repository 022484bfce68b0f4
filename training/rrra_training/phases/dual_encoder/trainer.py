"""The trainers of sentence-transformers over pairs, and what they tell a run."""

import logging
from itertools import chain
from typing import Any

from datasets import Dataset
from sentence_transformers import MultiVectorEncoderTrainer, SentenceTransformerTrainer
from sentence_transformers.base.trainer import BaseTrainer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rrra_training.phases.dual_encoder.batches import KnownPositivesSampler
from rrra_training.phases.dual_encoder.pairs import TrainingPairs
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.warm_up import WarmUp

logger = logging.getLogger(__name__)


class _OverPairs(WarmUp, BaseTrainer):
    """
    A trainer of the library over pairs.

    :param pairs: The pairs.
    :param options: Its other options.
    """

    def __init__(self, pairs: TrainingPairs, **options: Any) -> None:
        self.pairs = pairs
        super().__init__(train_dataset=pairs.dataset(), **options)

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, *_: Any, **__: Any) -> KnownPositivesSampler:
        """
        Batches without known false negatives.

        :raises ValueError: If the rows are not the pairs, or nothing can be learned from any batch.
        """
        if len(dataset) != len(self.pairs):
            msg = f"The trainer asks for batches of {len(dataset)} rows, and there are {len(self.pairs)} pairs."
            raise ValueError(msg)
        sampler = KnownPositivesSampler(self.pairs, batch_size, self.args.seed)
        batches = list(sampler)
        sizes = [len(batch) for batch in batches]
        if max(sizes) == 1 and self.pairs.columns[-1] == "positive":
            msg = (
                "No two pairs of the training data can stand in one batch, so that there is no negative to learn from. "
                "Give more questions about other passages, or hard negatives with dual_encoder.hard_negatives."
            )
            raise ValueError(msg)
        drawn = len(set(chain.from_iterable(batches)))
        if self.is_world_process_zero():
            logger.info("An epoch of phase 1 draws %d pairs, %d times, in %d batches.", drawn, sum(sizes), len(sizes))
            if drawn < len(dataset):
                logger.warning(
                    "An epoch of phase 1 leaves %d of %d pairs to the next ones: a passage or question has very many, "
                    "and each of these needs a batch of its own. Set more dual_encoder.epochs to draw them all.",
                    len(dataset) - drawn, len(dataset),
                )  # fmt: skip
            if min(sizes) < min(batch_size, len(dataset)):
                logger.warning(
                    "Batches of phase 1 hold %d to %d pairs instead of %d: no more of the queries fit together. Hard "
                    "negatives, with dual_encoder.hard_negatives, make up for it.", min(sizes), max(sizes), batch_size,
                )  # fmt: skip
        self.add_callback(_Epochs(sampler))
        return sampler


class PairTrainer(_OverPairs, SentenceTransformerTrainer):
    """Trains a dual encoder."""


class LateInteractionTrainer(_OverPairs, MultiVectorEncoderTrainer):
    """Trains a late-interaction model."""


class _Epochs(TrainerCallback):
    """Tells the sampler the epoch: where several processes resume within one, the trainer does not reach it."""

    def __init__(self, sampler: KnownPositivesSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002  (the trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Called by the trainer."""
        self.sampler.set_epoch(int(state.epoch or 0))


class RunRecorder(TrainerCallback):
    """
    Records what the trainer logs in the run's directory.

    :param run: The run directory.
    :param phase: Name of the phase.
    """

    def __init__(self, run: RunDirectory, phase: str) -> None:
        self.run = run
        self.phase = phase

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  (the trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Called by the trainer."""
        logs = kwargs["logs"]
        if state.is_world_process_zero and "loss" in logs:
            values = {name: logs[name] for name in ("loss", "grad_norm", "learning_rate") if name in logs}
            self.run.metrics.log(self.phase, state.global_step, **values)
