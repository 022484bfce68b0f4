"""Seeds, which numpy takes from 0 on: each command and each recipe refuses others before anything is computed."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import rrra_training
import typer
from pydantic import BaseModel, ValidationError
from rrra_training.mining.settings import NegativesConfig
from rrra_training.reader.examples import ReaderRecipe
from rrra_training.recipe.recipe import Recipe
from rrra_training.recipe.settings import DualEncoderConfig
from rrra_training.studies.benchmark import BenchmarkPlan
from rrra_training.studies.compare import Comparison
from rrra_training.studies.cross_encoder import CrossEncoderRecipe
from typer.testing import CliRunner

from rrra_haystack.cli import app

_ROOT = Path(rrra_training.__file__).parent
_RUN = [
    ".".join(path.relative_to(_ROOT.parent).with_suffix("").parts)
    for path in (*sorted(_ROOT.glob("studies/*.py")), *sorted(_ROOT.glob("*/__main__.py")))
    if "run_command(" in path.read_text(encoding="utf-8")
]


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command that takes a seed."""
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(one, (*path, name))
    if any(one.name == "seed" for one in command.params):
        yield path


def _application(name: str) -> typer.Typer:
    module = import_module(name)
    if isinstance(own := getattr(module, "app", None), typer.Typer):
        return own
    held = typer.Typer()
    held.command()(module.main)
    return held


def _refusals(application: typer.Typer) -> list[tuple[str, ...]]:
    """The commands that take a seed, each of which has refused one below 0."""
    found = list(_commands(typer.main.get_command(application)))
    for words in found:
        result = CliRunner().invoke(application, [*words, "--seed", "-1"])
        assert result.exit_code == 2, words
        assert "Invalid value for '--seed'" in result.output, words
    return found


def test_commands_refuse_a_seed_below_0() -> None:
    assert sorted(_refusals(app)) == [(name,) for name in ("adapt", "audit", "compress", "evaluate", "mine")]


@pytest.mark.parametrize("name", _RUN)
def test_studies_refuse_a_seed_below_0(name: str) -> None:
    _refusals(_application(name))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (BenchmarkPlan, {"seed": -1}),
        (Comparison, {"seeds": [0, -1]}),
        (CrossEncoderRecipe, {"seed": -1}),
        (DualEncoderConfig, {"seed": -1}),
        (NegativesConfig, {"seed": -1}),
        (ReaderRecipe, {"seed": -1}),
        (Recipe, {"seed": -1}),
    ],
)
def test_recipes_refuse_a_seed_below_0(config: type[BaseModel], told: dict) -> None:
    with pytest.raises(ValidationError) as refused:
        config(**told)
    places = [one["loc"][0] for one in refused.value.errors() if one["type"] == "greater_than_equal"]
    assert places == list(told)
