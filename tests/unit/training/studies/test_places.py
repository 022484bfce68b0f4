"""Where what was computed is written, by every study, by the measures of answers and by the training of a reader."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import rrra_training
import typer
from rrra_training.runs.places import drawable
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo
from typer.testing import CliRunner
from typer.utils import get_params_from_function

ROOT = Path(rrra_training.__file__).parent
RUN = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in (*sorted(ROOT.glob("studies/*.py")), *sorted(ROOT.glob("*/__main__.py")))
    if "__main__" in path.read_text(encoding="utf-8")
]
# What these find is printed.
PRINTING = {f"rrra_training.studies.{name}" for name in ("adapted", "killed_index", "speed")}


def app_of(name: str) -> typer.Typer:
    module = import_module(name)
    if isinstance(own := getattr(module, "app", None), typer.Typer):
        return own
    app = typer.Typer(add_completion=False)
    app.command()(module.main)
    return app


def asked_to_write(function: Callable[..., Any], place: Path) -> Iterator[list[str]]:
    """Arguments that name a place to write: any path that need not exist, but for a cache, which is written at once."""
    paths, arguments, flags = [], [], {}
    for name, one in get_params_from_function(function).items():
        told = one.default
        if not isinstance(told, ParameterInfo):
            told = ArgumentInfo() if told is one.empty else OptionInfo()
        if isinstance(told, OptionInfo):
            flags[name] = (told.param_decls or [f"--{name.replace('_', '-')}"])[0]
        else:
            arguments.append(name)
        if Path in (one.annotation, *get_args(one.annotation)) and not told.exists and name != "cache":
            paths.append(name)
    for name in paths:
        if name in flags:
            yield [flags[name], str(place)]
        else:
            yield [str(place if own == name else place.parents[1]) for own in arguments]


@pytest.mark.parametrize("name", RUN)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "out.png"
    app = app_of(name)
    given = [
        [*([command.name or command.callback.__name__] if len(app.registered_commands) > 1 else []), *own]
        for command in app.registered_commands
        for own in asked_to_write(command.callback, place)
    ]
    assert bool(given) == (name not in PRINTING)
    for one in given:
        result = CliRunner().invoke(app, one, env={"COLUMNS": "500"})
        assert result.exit_code == 2, one
        assert str(place) in result.output, one
        assert "cannot be written (Not a directory). Choose another place." in result.output, one
        assert [own.name for own in tmp_path.rglob("*")] == ["file"]


@pytest.mark.parametrize("name", ["hidden", "made_questions", "small_collections", "windows"])
def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "thesis.tex").touch()
    options = ["--output", str(tmp_path), *(["--draw", "test"] if name == "small_collections" else [])]
    result = CliRunner().invoke(
        app_of(f"rrra_training.studies.{name}"), [str(tmp_path), *options], env={"COLUMNS": "500"}
    )
    assert result.exit_code == 2, result.output
    assert "is not empty, and what it holds would be lost. Choose another folder, or remove it." in result.output
    assert [own.name for own in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_figure_is_refused_whose_kind_nobody_draws(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"growth.json does not end in a kind of picture\. .*png"):
        drawable(tmp_path / "growth.json")
    assert drawable(tmp_path / "growth.svg") == tmp_path / "growth.svg"
    assert drawable(None) is None
