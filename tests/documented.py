"""The commands and YAML files of the README and the documentation."""

import importlib
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from rrra_haystack.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ASSIGNMENT = re.compile(r"\w+=\S*$")
REDIRECTIONS = frozenset({"<", ">", ">>", ">&"})
MODULE = ["python", "-m"]
FOREIGN = frozenset(".venv/bin/pytest curl docker do done export kill ollama rm sed until".split())


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


def program(words: list[str]) -> tuple[typer.Typer, list[str]] | None:
    """The program of ours that words call, and its arguments."""
    if "rrra" in words[:1] or words[:4] == ["docker", "compose", "exec", "rrra"]:
        return app, words[words.index("rrra") + 1 if words[0] == "rrra" else 5 :]
    if words[0] == "torchrun":
        words = [*MODULE, *words[words.index("-m") + 1 :]]
    if words[:2] == MODULE and words[2].startswith("rrra_training."):
        module = importlib.import_module(words[2])
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{words[2]}.__main__")
        if hasattr(module, "app"):
            return module.app, words[3:]
        held = typer.Typer()
        held.command()(module.main)
        return held, words[3:]
    return None
