"""Every command and YAML of the README and the documentation is one that the program understands."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import typer
import yaml
from documented import FOREIGN, PAGES, ROOT, commands, fences, program
from haystack.core.serialization import import_class_by_name
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rrra_training.recipe.recipe import Recipe
from rrra_training.recipe.settings import AdapterTraining


@pytest.mark.parametrize("words", commands())
def test_command_is_understood(words: list[str]) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        asked = re.findall(r"\[(.*?)\]", " ".join(word for word in words if not word.startswith("llama-cpp-python")))
        assert {extra for own in asked for extra in own.split(",")} <= extras.keys()
    elif (found := program(words)) is not None:
        application, arguments = found
        command: Any = typer.main.get_command(application)
        while hasattr(command, "commands"):
            # Options of the group come before the name of the command, and no page has any but --help.
            if arguments[0] == "--help":
                return
            assert arguments[0] in command.commands
            command, arguments = command.commands[arguments[0]], arguments[1:]
        context = command.make_context(command.name, ["--help"], resilient_parsing=True)
        options, left, _ = command.make_parser(context).parse_args(list(arguments))
        assert not left
        required = {parameter.name for parameter in command.params if parameter.required}
        assert {name for name in required if options.get(name) in (None, ())} == set()
    else:
        assert words[0] in FOREIGN or words[:3] == ["python", "-m", "llama_cpp.server"]


def test_the_commands_are_found() -> None:
    found = [program(one.values[0]) for one in commands()]
    assert sum(one is not None for one in found) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:rrra_haystack|rrra_training|haystack_integrations)(?:\.\w+)+", text):
        assert resolve_name(name) is not None
    for place in re.findall(r"\b(?:rrra_haystack|training|tests)/[\w/.-]+\.\w+", text):
        assert (ROOT / place).exists(), place


def described(value: Any) -> Iterator[dict[str, Any]]:
    """Components and stores within a YAML."""
    if isinstance(value, dict):
        if "type" in value and "init_parameters" in value:
            yield value
        for own in value.values():
            yield from described(own)


@pytest.mark.parametrize(("page", "text"), fences("yaml"))
def test_yaml_is_understood(page: str, text: str) -> None:
    data = yaml.safe_load(text)
    if "train" in data:
        assert Recipe.model_validate(data).name
    elif "adapter" in data:
        assert AdapterTraining.model_validate(data["adapter"])
    elif found := list(described(data)):
        for one in found:
            known = inspect.signature(import_class_by_name(one["type"]).__init__).parameters
            assert one["init_parameters"].keys() <= known.keys(), page
    else:
        assert data.keys() <= inspect.signature(QdrantDocumentStore.__init__).parameters.keys(), page
