"""Every command and YAML of the README and the documentation is one that the program understands."""

import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from haystack.core.serialization import import_class_by_name
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rrra_training.adapter_training import AdapterTraining
from rrra_training.recipe import Recipe

from rrra_haystack.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ASSIGNMENT = re.compile(r"\w+=\S*$")
REDIRECTIONS = frozenset({"<", ">", ">>", ">&"})
MODULE = ["python", "-m"]
FOREIGN = frozenset("curl docker do done export kill ollama rm sed until".split())


def fences(kind: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for text in re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            yield page.name, text


def commands() -> Iterator[Any]:
    for page, text in fences("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
            lexer.whitespace_split = True
            words: list[str] = []
            for before, word in pairwise(["", *lexer, ";"]):
                if {before, word} & REDIRECTIONS:
                    continue
                if set(word) <= set(";&|"):
                    while words and ASSIGNMENT.match(words[0]):
                        words.pop(0)
                    if words:
                        yield pytest.param(words, id=f"{page}: {' '.join(words)[:60]}")
                    words = []
                else:
                    words.append(word)


def program(words: list[str]) -> tuple[Any, list[str]] | None:
    """The command of ours that words call, and its arguments."""
    if "rrra" in words[:1] or words[:4] == ["docker", "compose", "exec", "rrra"]:
        return typer.main.get_command(app), words[words.index("rrra") + 1 if words[0] == "rrra" else 5 :]
    if words[0] == "accelerate":
        words = [*MODULE, *words[words.index("-m") + 1 :]]
    if words[:2] == MODULE and words[2].startswith("rrra_training."):
        module = importlib.import_module(words[2])
        if not hasattr(module, "app"):
            held = typer.Typer()
            held.command()(module.main)
            return typer.main.get_command(held), words[3:]
        return typer.main.get_command(module.app), words[3:]
    return None


@pytest.mark.parametrize("words", commands())
def test_command_is_understood(words: list[str]) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        asked = re.findall(r"\[(.*?)\]", " ".join(words))
        assert {extra for own in asked for extra in own.split(",")} <= extras.keys()
    elif (found := program(words)) is not None:
        command, arguments = found
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
        assert words[0] in FOREIGN


def test_the_commands_are_found() -> None:
    found = [program(one.values[0]) for one in commands()]
    assert sum(one is not None for one in found) > 40


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
