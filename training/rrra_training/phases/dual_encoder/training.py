"""
Phase 1: train the dual encoder with in-batch negatives (InfoNCE, arXiv 1807.03748, equation 4).

A batch never holds a passage that is known to be relevant to another of its queries: two queries of one passage, two
positives of one query, or a positive that another query names as a negative are put into different batches. What is
known beforehand need not be masked afterwards, and every loss of sentence-transformers can be used as it is.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from datasets import Dataset
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import (
    CachedGISTEmbedLoss,
    CachedMultipleNegativesRankingLoss,
    GISTEmbedLoss,
    MultipleNegativesRankingLoss,
)
from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import native_dtype
from rrra_haystack.pretrained import resolve_encoder
from rrra_training.runs.directory import RunDirectory, trainer_checkpoint

if TYPE_CHECKING:
    from rrra_training.data import RetrievalData

PHASE = "dual_encoder"


class DualEncoderConfig(BaseModel):
    """
    How the dual encoder is trained.

    :param epochs: Passes over the pairs of query and relevant passage.
    :param max_steps: Steps, whatever `epochs` says, if given.
    :param batch_size: Pairs of a batch, and of each process where several train together.
    :param mini_batch_size: Texts that go through the encoder at once; the memory of a batch no longer grows with
        `batch_size`, for one more forward pass (GradCache, arXiv 2101.06983). All at once if `None`.
    :param learning_rate: Its peak, after the warm-up; it falls linearly to 0 from there.
    :param warmup_ratio: Share of the steps in which the learning rate rises.
    :param temperature: Cosines are divided by it.
    :param max_length: Tokens of a text that are read while training; the trained encoder reads as many as before.
    :param hard_negatives: Negatives that each query brings along from those that the data name for it; where they name
        fewer, passages of other queries fill up.
    :param guide: A second encoder; passages that it finds nearer to the query than the positive are no negatives
        (GISTEmbed, arXiv 2402.16829).
    :param save_steps: Steps between two checkpoints.
    :param log_steps: Steps between two records of the loss.
    :param seed: Seed of every draw.
    :param gradient_checkpointing: Compute activations a second time rather than keep them.
    :param dropout: Rate of every dropout in the encoder; as the encoder has it if `None`. Drawing the masks takes
        three quarters of a step on a CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(1, gt=0)
    max_steps: int | None = Field(None, gt=0)
    batch_size: int = Field(64, gt=1)
    mini_batch_size: int | None = Field(None, gt=0)
    learning_rate: float = Field(2e-5, gt=0)
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.05, gt=0)
    max_length: int = Field(256, gt=2)
    hard_negatives: int = Field(0, ge=0)
    guide: str | None = None
    save_steps: int = Field(200, gt=0)
    log_steps: int = Field(10, gt=0)
    seed: int = 0
    gradient_checkpointing: bool = False
    dropout: float | None = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _guide_reads_the_columns(self) -> Self:
        if self.guide is not None and self.hard_negatives > 1 and self.mini_batch_size is None:
            msg = "With a guide, more than one hard negative needs mini_batch_size. Set it, as mini_batch_size: 32."
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class PairSource:
    """
    Queries to make pairs of.

    :param data: The set.
    :param split: Which of its splits.
    :param limit: Draw this many queries; all if `None`.
    :param weight: How often its pairs come in an epoch, relative to those of other sets.
    """

    data: "RetrievalData"
    split: str = "train"
    limit: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class TrainingPairs:
    """
    P pairs of a query and a relevant passage, each with n negatives.

    :param texts: The distinct texts.
    :param rows: Query, positive and negatives of each pair as places in `texts`, shape ``[P, 2 + n]``, int64.
    :param relevant: Query -> its relevant passages, both as places in `texts`.
    """

    texts: list[str]
    rows: np.ndarray
    relevant: dict[int, frozenset[int]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        return ["query", "positive", *(f"negative_{i}" for i in range(1, self.rows.shape[1] - 1))]

    def dataset(self) -> Dataset:
        """The pairs as sentence-transformers reads them."""
        return Dataset.from_dict(
            {name: [self.texts[i] for i in column] for name, column in zip(self.columns, self.rows.T, strict=True)}
        )


def training_pairs(sources: Sequence[PairSource], *, hard_negatives: int = 0, seed: int = 0) -> TrainingPairs:
    """
    Pairs of a query and a relevant passage: every one of a set once, or as often as its weight says.

    Texts count, not identifiers: passages of one text are one passage, and queries of one text share what is relevant
    to them.

    :param sources: The sets. The least weight counts as once; of greater ones a part of an epoch is drawn at random.
    :param hard_negatives: Negatives of each pair.
    :param seed: Seed of the draws.
    :raises ValueError: If a set has no pair; if negatives are wanted and it names none, or has too few passages.
    """
    place: dict[str, int] = {}
    relevant: dict[int, set[int]] = {}
    sets = [_queries(one, place, relevant, negatives=hard_negatives > 0, seed=seed) for one in sources]
    rng = random.Random(seed)
    least = min((one.weight for one in sources), default=1.0)
    rows = []
    for one, queries in zip(sources, sets, strict=True):
        own = []
        fill = list(dict.fromkeys(passage for query in queries for passage in query.relevant))
        for query in queries:
            for positive in query.relevant:
                wrong = _draw(query.named, fill, barred=relevant[query.text], count=hard_negatives, rng=rng)
                if len(wrong) < hard_negatives:
                    msg = (
                        f"{one.data.name} has too few passages for {hard_negatives} hard negatives a query. "
                        "Set a smaller hard_negatives for the dual encoder."
                    )
                    raise ValueError(msg)
                own.append([query.text, positive, *wrong])
        rows += _as_often(own, one.weight / least, rng)
    return TrainingPairs(
        texts=list(place),
        rows=np.asarray(rows, dtype=np.int64).reshape(-1, 2 + hard_negatives),
        relevant={query: frozenset(passages) for query, passages in relevant.items()},
    )


def _as_often(rows: list[list[int]], times: float, rng: random.Random) -> list[list[int]]:
    """All rows as many whole times, and a part of them once more."""
    whole = int(times)
    return rows * whole + rng.sample(rows, round((times - whole) * len(rows)))


@dataclass(frozen=True)
class _Query:
    """A query, its relevant passages and its named negatives, as places in the texts."""

    text: int
    relevant: list[int]
    named: list[int]


def _queries(
    source: PairSource, place: dict[str, int], relevant: dict[int, set[int]], *, negatives: bool, seed: int
) -> list[_Query]:
    """Queries of a set that have a relevant passage; adds to `place` and `relevant`."""
    data, split = source.data, source.split
    named = data.negatives(split) if negatives else {}
    if negatives and not any(named.values()):
        msg = (
            f"{data.name} names no hard negatives for the split '{split}'. "
            "Set hard_negatives: 0 for the dual encoder; the later phases mine their own."
        )
        raise ValueError(msg)
    positives = {
        query: [passage for passage, grade in grades.items() if grade > 0]
        for query, grades in data.qrels(split).items()
    }
    wanted = {passage for passages in (*positives.values(), *named.values()) for passage in passages}
    texts = {one.id: one.title_and_text for one in data.passages() if one.id in wanted}

    def places(passages: Sequence[str]) -> list[int]:
        found = [texts[passage] for passage in passages if texts.get(passage)]
        return [place.setdefault(text, len(place)) for text in dict.fromkeys(found)]

    queries = []
    for query in data.queries(split, limit=source.limit, seed=seed):
        if right := places(positives.get(query.id, ())):
            text = place.setdefault(query.text, len(place))
            relevant.setdefault(text, set()).update(right)
            queries.append(_Query(text, right, places(named.get(query.id, ()))))
    if not queries:
        msg = (
            f"No query of the split '{split}' of {data.name} has a relevant passage in the corpus. "
            "Check that the qrels name passages by the corpus's ids."
        )
        raise ValueError(msg)
    return queries


def _draw(named: list[int], fill: list[int], *, barred: set[int], count: int, rng: random.Random) -> list[int]:
    """Draw from the named negatives, and from other passages what is missing."""
    allowed = [passage for passage in named if passage not in barred]
    chosen = rng.sample(allowed, min(count, len(allowed)))
    if missing := count - len(chosen):
        barred = barred.union(chosen)
        # So many are enough even if all that are barred are among them.
        others = rng.sample(fill, min(len(fill), missing + len(barred)))
        chosen += [passage for passage in others if passage not in barred][:missing]
    return chosen


class KnownPositivesSampler(DefaultBatchSampler):
    """
    Batches without false negatives that are known beforehand.

    Two pairs stand in one batch only if they share no text and no text of one is relevant to the other's query. A pair
    that does not fit waits for the next batch. An epoch has as many batches as its pairs fill; where the last ones
    would run short of pairs that fit, because one query has many positives, others are drawn a second time.

    :param pairs: The pairs.
    :param batch_size: Pairs of a batch; fewer only if the data have no more that fit.
    :param seed: Seed of the order, which each epoch draws anew.
    """

    def __init__(self, pairs: TrainingPairs, batch_size: int, seed: int = 0) -> None:
        super().__init__(range(len(pairs)), batch_size=batch_size, drop_last=False, seed=seed)
        self.pairs = pairs

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = self._endless_order(generator)
        waiting: list[int] = []
        for _ in range(len(self)):
            batch = _Batch(self.pairs)
            # What waits goes first, in its order.
            waiting = [pair for pair in waiting if len(batch.members) == self.batch_size or not batch.add(pair)]
            in_vain = 0
            while len(batch.members) < self.batch_size and in_vain < len(self.pairs):
                pair = next(order)
                if batch.add(pair):
                    in_vain = 0
                else:
                    in_vain += 1
                    waiting.append(pair)
            waiting = list(dict.fromkeys(waiting))
            yield batch.members

    def _endless_order(self, generator: np.random.Generator) -> Iterator[int]:
        while True:
            yield from generator.permutation(len(self.pairs)).tolist()


class _Batch:
    """A batch that takes only pairs that do not disturb one another."""

    def __init__(self, pairs: TrainingPairs) -> None:
        self.pairs = pairs
        self.members: list[int] = []
        self._texts: set[int] = set()
        self._relevant: set[int] = set()

    def add(self, pair: int) -> bool:
        """Take a pair, unless it does not fit."""
        texts = self.pairs.rows[pair].tolist()
        relevant = self.pairs.relevant[texts[0]]
        fits = self._texts.isdisjoint(texts) and self._relevant.isdisjoint(texts) and self._texts.isdisjoint(relevant)
        if fits:
            self.members.append(pair)
            self._texts.update(texts)
            self._relevant.update(relevant)
        return fits


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer over pairs."""

    def __init__(self, pairs: TrainingPairs, **options: Any) -> None:
        self.pairs = pairs
        super().__init__(train_dataset=pairs.dataset(), **options)

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, *_: Any, **__: Any) -> KnownPositivesSampler:
        """Batches without known false negatives."""
        if len(dataset) != len(self.pairs):
            msg = f"The trainer asks for batches of {len(dataset)} rows, and there are {len(self.pairs)} pairs."
            raise ValueError(msg)
        sampler = KnownPositivesSampler(self.pairs, batch_size, self.args.seed)
        self.add_callback(_Epochs(sampler))
        return sampler


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


class _Recorder(TrainerCallback):
    """Records what the trainer logs in the run's directory."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

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
            self.run.log(PHASE, state.global_step, **values)


def train_dual_encoder(
    model: str,
    sources: Sequence[PairSource],
    config: DualEncoderConfig,
    run: RunDirectory,
    *,
    resume: bool = False,
    show_progress: bool = False,
) -> Path:
    """
    Train a dual encoder.

    Runs in bfloat16 where the device computes it natively; the weights stay in float32. Under ``accelerate launch``
    each process trains on batches of its own, and the first one writes.

    :param model: The encoder to start from: a directory, a hub id or ``all-MiniLM-L6-v2``.
    :param sources: The sets to learn from.
    :param config: How.
    :param run: Where losses, checkpoints and the encoder are kept.
    :param resume: Go on from the last checkpoint in `run`, or return at once if the phase is finished.
    :param show_progress: Show progress and the time left.
    :returns: ``encoder/`` in the run's directory, a sentence-transformers model.
    :raises ValueError: If a set has no pair of a query and a relevant passage, or lacks the negatives asked for.
    """
    target = run.path / "encoder"
    if resume and run.done(PHASE) is not None and target.is_dir():
        return target
    pairs = training_pairs(sources, hard_negatives=config.hard_negatives, seed=config.seed)
    encoder = SentenceTransformer(resolve_encoder(model), model_kwargs={"dtype": torch.float32})
    full_length = encoder.max_seq_length
    encoder.max_seq_length = min(config.max_length, full_length or config.max_length)
    if config.dropout is not None:
        set_dropout(encoder, config.dropout)
    work = run.path / "checkpoints" / PHASE
    trainer = _Trainer(
        pairs,
        model=encoder,
        args=_arguments(config, encoder, pairs, work, show_progress=show_progress),
        loss=_loss(encoder, config),
        callbacks=[_Recorder(run)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = trainer_checkpoint(work) if resume else None
    first = trainer.is_world_process_zero()
    if first:
        run.rewind(PHASE, checkpoint[0] if checkpoint else 0)
    trainer.train(resume_from_checkpoint=str(checkpoint[1]) if checkpoint else None)
    if first:
        encoder.max_seq_length = full_length
        with atomic_directory(target) as partial:
            encoder.save_pretrained(str(partial), create_model_card=False)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        run.mark_done(PHASE, steps=trainer.state.global_step, pairs=len(pairs), loss=losses[-1] if losses else None)
    trainer.accelerator.wait_for_everyone()
    return target


def set_dropout(module: nn.Module, rate: float) -> None:
    """
    Give every dropout in a module the same rate.

    :param module: The module; its configuration stays as it is.
    :param rate: The rate.
    """
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = rate
        # Attention layers that hand their rate to a fused kernel keep it as a number.
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, rate)


def _arguments(
    config: DualEncoderConfig, encoder: SentenceTransformer, pairs: TrainingPairs, work: Path, *, show_progress: bool
) -> SentenceTransformerTrainingArguments:
    tasks = {name: "query" if name == "query" else "document" for name in pairs.columns}
    return SentenceTransformerTrainingArguments(
        output_dir=str(work),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_ratio,
        lr_scheduler_type="linear",
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=native_dtype(encoder.device) == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        prompts={name: prompt for name, task in tasks.items() if (prompt := encoder.prompts.get(task))},
        router_mapping=tasks,
        logging_steps=config.log_steps,
        save_steps=config.save_steps,
        save_total_limit=2,
        disable_tqdm=not show_progress,
        report_to=[],
        seed=config.seed,
    )


def _loss(encoder: SentenceTransformer, config: DualEncoderConfig) -> nn.Module:
    scale = 1 / config.temperature
    if config.guide is None:
        if config.mini_batch_size is None:
            return MultipleNegativesRankingLoss(encoder, scale=scale)
        return CachedMultipleNegativesRankingLoss(encoder, scale=scale, mini_batch_size=config.mini_batch_size)
    guide = SentenceTransformer(resolve_encoder(config.guide), device=str(encoder.device))
    guide.requires_grad_(requires_grad=False)
    if config.mini_batch_size is None:
        return GISTEmbedLoss(encoder, guide, temperature=config.temperature)
    return CachedGISTEmbedLoss(encoder, guide, temperature=config.temperature, mini_batch_size=config.mini_batch_size)
