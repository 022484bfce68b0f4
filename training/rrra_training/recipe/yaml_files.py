"""Typed objects read from YAML, with overrides and errors that name the key."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rrra_haystack.files import read_yaml

Loaded = TypeVar("Loaded", bound=BaseModel)


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
    return validated(data, overrides, model, str(file))


def validated(data: dict[str, Any], overrides: Sequence[str], model: type[Loaded], name: str) -> Loaded:
    """
    Make a typed object.

    :param data: Its keys and values, which are changed.
    :param overrides: As for :func:`load_yaml`.
    :param model: The object's type.
    :param name: What to call it in errors.
    :raises ValueError: As :func:`load_yaml`.
    """
    for override in overrides:
        _override(data, override)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # What holds a wrong part is told of by the part alone.
        found = [one for one in error.errors() if not any(_is_within(other, one) for other in error.errors())]
        msg = f"{name}: {'; '.join(_explain(one, model) for one in found[:3])}"
        raise ValueError(msg) from None


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


def _is_within(inner: Any, outer: Any) -> bool:
    """Whether an error is of a part of what another one is of."""
    place = outer["loc"]
    return len(inner["loc"]) > len(place) and inner["loc"][: len(place)] == place


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
