"""A training run as one typed object, read from YAML."""

from collections.abc import Sequence
from operator import not_
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rrra_haystack.pretrained import MINILM
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.splits import SplitConfig, check_names
from rrra_training.data import name_of
from rrra_training.recipe.bundled import find_recipe
from rrra_training.recipe.settings import AdapterTraining, DualEncoderConfig, JointTraining
from rrra_training.recipe.yaml_files import load_yaml


class Recipe(BaseModel):
    """
    Everything that a training run depends on.

    :param name: Name of the model that it makes.
    :param encoder: The encoder to start from: a directory, a hub id or ``all-MiniLM-L6-v2``.
    :param data_root: Where relative paths of data begin; the working directory if not set.
    :param train: Queries to learn from.
    :param dev: Queries on which fusion weight, lexical weight and calibration are fitted and progress is measured. A
        training with a recipe needs some; without one, training queries are held out.
    :param seed: Seed of every draw, but for those within phase 1, which has a seed of its own.
    :param mining: How candidates are found.
    :param evidence: How far labels are believed.
    :param dual_encoder: Phase 1; skipped if `None`.
    :param adapter: Phase 2.
    :param start: A trained model, a directory or a bundled name, whose adapter phase 3 begins with; phase 2 trains
        none then. Without phase 3 the adapter stays as it is, and what is fitted on dev queries is fitted anew.
    :param start_steps: Batches that phase 2 trains the adapter of `start` on for; 0 takes it as it is.
    :param joint: Phase 3; skipped if `None`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    encoder: str = MINILM
    data_root: Path = Path()
    train: tuple[SplitConfig, ...] = Field(min_length=1)
    dev: tuple[SplitConfig, ...] = ()
    seed: int = Field(0, ge=0)
    mining: MiningConfig = MiningConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    dual_encoder: DualEncoderConfig | None = None
    adapter: AdapterTraining = AdapterTraining()
    start: str | None = None
    # Not told where it is off: a run that was begun without the key is the same run.
    start_steps: int = Field(0, ge=0, exclude_if=not_)
    joint: JointTraining | None = None

    @model_validator(mode="after")
    def _steps_have_a_start(self) -> Self:
        if self.start_steps and self.start is None:
            msg = "start_steps goes on from the adapter of a model: name it by start, or set adapter.steps instead."
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        train, dev = ([f"{name_of(one.data)}/{one.split}" for one in own] for own in (self.train, self.dev))
        if both := set(train) & set(dev):
            msg = (
                f"{both.pop()} is named twice: training queries must not be dev queries. Take another split, or "
                "give data that are others a data.name of their own."
            )
            raise ValueError(msg)
        if twice := next((name for name in dev if dev.count(name) > 1), None):
            msg = (
                f"{twice} is named twice in dev, whose figures are kept by name: name it once, or give data that are "
                "others a data.name of their own."
            )
            raise ValueError(msg)
        check_names((*self.train, *self.dev))
        return self

    def rooted(self, split: SplitConfig) -> SplitConfig:
        """A split whose relative paths begin at `data_root`."""
        return rooted(split, self.data_root)

    @property
    def rooted_splits(self) -> tuple[list[SplitConfig], list[SplitConfig]]:
        """Training and dev splits whose relative paths begin at `data_root`."""
        return [self.rooted(split) for split in self.train], [self.rooted(split) for split in self.dev]

    @property
    def rooted_evidence(self) -> EvidenceConfig:
        """The evidence with its teacher's file below `data_root` if it is there, else as it is named."""
        teacher = self.evidence.teacher
        if teacher is None or not (self.data_root / teacher).exists():
            return self.evidence
        return self.evidence.model_copy(update={"teacher": self.data_root / teacher})

    def to_yaml(self) -> str:
        """The recipe with every default spelt out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """
    Read a recipe.

    :param path: A YAML file, or the name of a bundled recipe.
    :param overrides: As for :func:`load_yaml`.
    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: As :func:`load_yaml`.
    """
    return load_yaml(find_recipe(path), overrides, Recipe)


def rooted(split: SplitConfig, root: Path) -> SplitConfig:
    """A split whose relative paths begin at `root`."""
    return split.model_copy(update={"data": _rooted(split.data, root)})


def _rooted(config: Any, root: Path) -> Any:
    """The same configuration with every relative path put below `root`."""
    changed: dict[str, Any] = {}
    for name, value in config:
        if isinstance(value, Path):
            changed[name] = root / value
        elif isinstance(value, dict) and any(isinstance(inner, Path) for inner in value.values()):
            changed[name] = {key: root / inner if isinstance(inner, Path) else inner for key, inner in value.items()}
    return config.model_copy(update=changed)
