"""The settings of the three phases."""

from operator import not_
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rrra_haystack.model.adapter.parts import AdapterParts
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_training.candidates.lists import ListConfig
from rrra_training.negatives.losses import AnyLoss, InfoNCE
from rrra_training.negatives.samplers import RRRA, AnySampler

# The trunk observes the candidates and stays out of the score; see docs/training.md.
_PARTS = AdapterParts(probes=8, score_correction=False)


class AdapterTraining(BaseModel):
    """
    How the adapter is trained.

    :param parts: Which parts the adapter has.
    :param token_dim: Dimensions of a projected token state; the encoder's own if `None`, without projection unless they
        have to be filled up to a multiple of 8.
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
    :param code: Kind of token codes that the model writes, and that its weights and calibration are fitted for.
    :param save_steps: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
    code: CodeKind = "2bit"
    save_steps: int = Field(250, gt=0)

    @field_validator("parts", mode="before")
    @classmethod
    def _the_others_as_they_are(cls, given: Any) -> Any:
        """Parts that are not named keep the defaults of training, whichever are named."""
        return _PARTS.model_dump() | given if isinstance(given, dict) else given


class DualEncoderConfig(BaseModel):
    """
    How the dual encoder is trained, or a late-interaction model.

    :param token_dim: Make a late-interaction model of the encoder, with token vectors of this many dimensions, and
        train it in the encoder's place. An encoder that is one already is trained as it is.
    :param epochs: Passes over the pairs of query and relevant passage.
    :param max_steps: Steps, whatever `epochs` says, if given.
    :param batch_size: Pairs of a batch, and of each process where several train together.
    :param mini_batch_size: Texts that go through the encoder at once; the memory of a batch does not grow with
        `batch_size`, for one more forward pass (GradCache, arXiv 2101.06983). All at once if `None`.
    :param learning_rate: Its peak, after the warm-up; it falls linearly to 0 from there.
    :param warmup_ratio: Share of the steps in which the learning rate rises from 0; none if that is one step.
    :param temperature: Cosines are divided by it; of a late-interaction model, the mean over the query's vectors.
    :param max_length: Tokens of a text that are read while training; the trained encoder reads as many as before.
    :param hard_negatives: Negatives that each query brings along from those that the data name for it; where they name
        fewer, passages of other queries fill up.
    :param guide: A second encoder; passages that it finds nearer to the query than the positive are no negatives
        (GISTEmbed, arXiv 2402.16829).
    :param save_steps: Steps between two checkpoints.
    :param log_steps: Steps between two records of the loss.
    :param seed: Seed of the draws of this phase; which queries a `limit` leaves is drawn by the recipe's.
    :param gradient_checkpointing: Compute activations a second time rather than keep them.
    :param dropout: Rate of every dropout in the encoder; as the encoder has it if `None`. Drawing the masks takes
        three quarters of a step on a CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Not told where it is off: a run that was begun without the key is the same run.
    token_dim: int | None = Field(None, gt=0, exclude_if=not_)
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
    seed: int = Field(0, ge=0)
    gradient_checkpointing: bool = False
    dropout: float | None = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _guide_reads_the_columns(self) -> Self:
        if self.guide is not None and self.hard_negatives > 1 and self.mini_batch_size is None:
            msg = "With a guide, more than one hard negative needs mini_batch_size. Set it, as mini_batch_size: 32."
            raise ValueError(msg)
        return self


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
    :param adapter_learning_rate: Highest learning rate of the adapter, of which single numbers learn ten times as fast;
        the projection learns no faster, nor faster than ``adapter.projection_learning_rate`` says.
    :param warmup_ratio: Share of a round's steps in which the learning rates rise.
    :param weight_decay: Of AdamW.
    :param dropout: Of the encoder while it learns; 0 makes a step on a CPU four times as fast.
    :param frozen_layers: The encoder's embeddings and so many of its lowest layers stay as they are, which saves their
        part of the backward pass and of the optimiser.
    :param refit_steps: Steps that the adapter is refitted for after each round; 0 leaves it as the round made it.
    :param save_steps: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
    # Not told where it is off: a run that was begun without the key is the same run.
    frozen_layers: int = Field(0, ge=0, exclude_if=not_)
    refit_steps: int = Field(500, ge=0)
    save_steps: int = Field(100, gt=0)
