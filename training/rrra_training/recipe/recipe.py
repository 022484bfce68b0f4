"""A training run as one typed object, read from YAML."""

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rrra_haystack.files import read_yaml
from rrra_haystack.pretrained import MINILM
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import SplitConfig
from rrra_training.data import corpus_of, name_of
from rrra_training.phases.adapter.training import AdapterTraining
from rrra_training.phases.dual_encoder.training import DualEncoderConfig
from rrra_training.phases.joint.rounds import JointTraining

Loaded = TypeVar("Loaded", bound=BaseModel)


class Recipe(BaseModel):
    """
    Everything that a training run depends on.

    :param name: Name of the model that it makes.
    :param encoder: The encoder to start from: a directory, a hub id or ``all-MiniLM-L6-v2``.
    :param data_root: Where relative paths of data begin; the working directory if not set.
    :param train: Queries to learn from.
    :param dev: Queries on which fusion weight, lexical weight and calibration are fitted and progress is measured.
    :param seed: Seed of every draw.
    :param mining: How candidates are found.
    :param evidence: How far labels are believed.
    :param dual_encoder: Phase 1; skipped if `None`.
    :param adapter: Phase 2.
    :param start: A trained model, a directory or a bundled name, whose adapter phase 3 begins with; phase 2 trains
        none then. Without phase 3 the adapter stays as it is, and what is fitted on dev queries is fitted anew.
    :param joint: Phase 3; skipped if `None`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    encoder: str = MINILM
    data_root: Path = Path()
    train: tuple[SplitConfig, ...] = Field(min_length=1)
    dev: tuple[SplitConfig, ...] = Field(min_length=1)
    seed: int = 0
    mining: MiningConfig = MiningConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    dual_encoder: DualEncoderConfig | None = None
    adapter: AdapterTraining = AdapterTraining()
    start: str | None = None
    joint: JointTraining | None = None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        train, dev = ([f"{name_of(one.data)}/{one.split}" for one in own] for own in (self.train, self.dev))
        if both := set(train) & set(dev):
            msg = (
                f"{both.pop()} is named twice: training queries must not be dev queries. Take another split, or "
                "give data that are others a data.name of their own."
            )
            raise ValueError(msg)
        # Encoded corpora are kept by name.
        read: dict[str, tuple[Path, ...]] = {}
        for one in (*self.train, *self.dev):
            name, files = name_of(one.data), corpus_of(one.data)
            if read.setdefault(name, files) != files:
                msg = f"Two collections are called '{name}'. Give each a data.name of its own."
                raise ValueError(msg)
        return self

    def rooted(self, split: SplitConfig) -> SplitConfig:
        """A split whose relative paths begin at `data_root`."""
        return rooted(split, self.data_root)

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


def load_yaml(file: Path, overrides: Sequence[str], model: type[Loaded]) -> Loaded:
    """
    Read a typed object.

    :param file: A YAML file.
    :param overrides: ``key=value`` each; keys reach into the object by dots (``adapter.steps=100``,
        ``train.0.limit=500``), values are YAML.
    :param model: The object's type.
    :raises ValueError: If the file is not valid YAML, or a key or value is not; unknown keys are told with the
        nearest known one.
    """
    data = read_yaml(file)
    if not isinstance(data, dict):
        msg = f"{file} is not a recipe: expected keys and values, as 'name: my-model'."
        raise ValueError(msg)
    for override in overrides:
        _override(data, override)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        msg = f"{file}: {'; '.join(_explain(one, model) for one in error.errors()[:3])}"
        raise ValueError(msg) from None


def bundled_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    package = Path(str(files("rrra_training")))
    # Beside the package in a checkout, within it in a wheel.
    folders = (package / "recipes", package.parent / "recipes")
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def find_recipe(path: str | Path) -> Path:
    """
    The file of a recipe.

    :param path: A YAML file, or the name of a bundled recipe.
    :raises FileNotFoundError: If there is neither.
    """
    file = Path(path)
    if file.is_file():
        return file
    bundled = bundled_recipes()
    if str(path) in bundled:
        return bundled[str(path)]
    msg = f"There is no recipe {str(path)!r}: it is no file, and the bundled recipes are {', '.join(bundled)}."
    raise FileNotFoundError(msg)


def _override(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        msg = f"--set {override!r}: expected key=value, as adapter.steps=100."
        raise ValueError(msg)
    place: Any = data
    *parents, last = key.split(".")
    try:
        for part in parents:
            if isinstance(place, list):
                place = place[int(part)]
            else:
                if place.get(part) is None:
                    place[part] = {}
                place = place[part]
        value = yaml.safe_load(text)
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    except (ValueError, IndexError, AttributeError, TypeError, yaml.YAMLError):
        msg = f"--set {override!r}: the recipe has no place {key!r}."
        raise ValueError(msg) from None


def _explain(error: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    *parents, key = error["loc"]
    known = sorted(_known_keys(parents, model))
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
    return f"unknown key '{where}'; the nearest known key is '{near[0]}' (known: {', '.join(known)})"


def _known_keys(parents: Sequence[Any], model: type[BaseModel]) -> set[str]:
    """Keys that the models at a place of the object take."""
    models: set[type[BaseModel]] = {model}
    for part in parents:
        # Numbers of a list and tags of a union are no fields: they stay with the models at hand.
        inner = {
            model
            for owner in models
            if isinstance(part, str) and part in owner.model_fields
            for model in _models(owner.model_fields[part].annotation)
        }
        models = inner or models
    return {name for model in models for name in model.model_fields}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Annotated, Union, tuple, list} or get_args(annotation):
        for inner in get_args(annotation):
            yield from _models(inner)


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
