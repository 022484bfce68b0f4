"""
A cross-encoder of the same backbone, trained on labels of the adapter's training: the peer of its reranking.

``python -m rrra_training.studies.cross_encoder cross-encoder-minilm-l6 --set data_root=DATA --output DIR``
"""

import logging
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
import typer
import yaml
from datasets import Dataset
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import MINILM, resolve_encoder
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.lists import ListConfig, draw_lists, draw_queries, set_odds
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.splits import SplitConfig, check_names, examine_splits
from rrra_training.phases.dropout import set_dropout
from rrra_training.recipe.bundled import find_recipe
from rrra_training.recipe.recipe import rooted
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.runs.checkpoints import trainer_checkpoint
from rrra_training.runs.commands import run_command
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.places import fillable
from rrra_training.runs.warm_up import WarmUp

logger = logging.getLogger(__name__)
app = typer.Typer(add_completion=False)
MODEL = "model"


class CrossEncoderRecipe(BaseModel):
    """
    How a cross-encoder is trained.

    :param name: What it is called.
    :param backbone: The transformer to start from, whose candidates are mined too.
    :param data_root: Where relative paths of data begin.
    :param train: Queries to learn from.
    :param queries: Draw so many lists; every query may be drawn more than once.
    :param lists: How a list of a positive and its negatives is put together.
    :param batch_size: Pairs of a batch.
    :param learning_rate: Its peak; it rises over a tenth of the steps and falls linearly to 0.
    :param max_length: Tokens of a pair.
    :param dropout: Of the backbone; 0 makes a step on a CPU four times as fast.
    :param save_steps: Steps between two checkpoints.
    :param seed: Seed of every draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    backbone: str = MINILM
    data_root: Path = Path()
    train: tuple[SplitConfig, ...] = Field(min_length=1)
    queries: int = Field(8000, gt=0)
    lists: ListConfig = ListConfig(candidates=4, random_negatives=0, rank_offset=2.0)
    batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    max_length: int = Field(256, gt=2)
    dropout: float = Field(0.0, ge=0, lt=1)
    save_steps: int = Field(100, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        check_names(self.train)
        return self

    def to_yaml(self) -> str:
        """The recipe with every default spelt out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def train_cross_encoder(recipe: CrossEncoderRecipe, output: Path, cache: Path, *, show_progress: bool = False) -> Path:
    """
    Train a cross-encoder, or go on from the last checkpoint.

    The candidates are the encoder's, as for the adapter: one labelled positive and mined negatives a list, and binary
    cross-entropy over the pairs.

    :param recipe: How.
    :param output: The run directory.
    :param cache: Where encoded corpora are kept.
    :param show_progress: Show progress and the time left.
    :returns: The model directory, which ``CrossEncoder(path)`` opens.
    :raises ValueError: If the run directory was made with another recipe or other data.
    """
    data = examine_splits([rooted(split, recipe.data_root) for split in recipe.train], (), recipe.seed)
    RunDirectory.create(output, recipe.to_yaml(), data=data, resume=output.exists()).close()
    target = output / MODEL
    if target.is_dir():
        return target
    pairs = _pairs(recipe, cache, show_progress=show_progress)
    model = CrossEncoder(
        resolve_encoder(recipe.backbone),
        num_labels=1,
        max_length=recipe.max_length,
        device=None if torch.cuda.is_available() else "cpu",
    )
    set_dropout(model, recipe.dropout)
    work = output / "checkpoints"
    trainer = _Trainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            output_dir=str(work),
            num_train_epochs=1,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup_steps=0.1,
            bf16=native_dtype(model.device) is torch.bfloat16,
            use_cpu=model.device.type == "cpu",
            save_steps=recipe.save_steps,
            save_total_limit=1,
            logging_steps=20,
            seed=recipe.seed,
            report_to="none",
            disable_tqdm=not show_progress,
            dataloader_pin_memory=False,
        ),
        train_dataset=pairs,
        loss=BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(float(recipe.lists.candidates - 1))),
    )
    checkpoint = trainer_checkpoint(work)
    trainer.train(resume_from_checkpoint=str(checkpoint[1]) if checkpoint else None)
    with atomic_directory(target) as folder:
        model.save_pretrained(str(folder), safe_serialization=True)
    return target


class _Trainer(WarmUp, CrossEncoderTrainer):
    """The library's trainer, whose first step learns however few there are."""


def _pairs(recipe: CrossEncoderRecipe, cache: Path, *, show_progress: bool) -> Dataset:
    encoder = Encoder(recipe.backbone)
    sets = [
        prepare(
            rooted(split, recipe.data_root),
            encoder,
            cache,
            mining=MiningConfig(),
            evidence=EvidenceConfig(),
            seed=recipe.seed,
            show_progress=show_progress,
        )
        for split in recipe.train
    ]
    generator = np.random.default_rng(recipe.seed)
    rows: dict[str, list[Any]] = {"query": [], "passage": [], "label": []}
    for data, odds in zip(sets, set_odds(sets), strict=True):
        share = round(recipe.queries * odds)
        # All queries, before any comes twice.
        chosen = generator.permutation(data.drawable)[:share]
        if len(chosen) < share:
            chosen = np.concatenate([chosen, draw_queries(data, share - len(chosen), generator)])
        lists = draw_lists(data, chosen, recipe.lists, generator)
        for query, passages, targets in zip(lists.queries, lists.rows, lists.target, strict=True):
            rows["query"] += [data.queries.text(int(query))] * len(passages)
            rows["passage"] += [data.passages.text(int(passage)) for passage in passages]
            rows["label"] += targets.tolist()
    order = generator.permutation(len(rows["query"]))
    return Dataset.from_dict({name: [column[i] for i in order] for name, column in rows.items()})


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled recipe.")],
    output: Annotated[Path, typer.Option(file_okay=False, callback=fillable, help="The run directory.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Train a cross-encoder."""
    loaded = load_yaml(find_recipe(recipe), set_ or (), CrossEncoderRecipe)
    made = train_cross_encoder(loaded, output, cache if cache is not None else output / "cache", show_progress=True)
    typer.echo(f"The model is in {made}.")


if __name__ == "__main__":
    run_command(app)
