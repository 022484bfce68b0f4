"""Modules that are run, as ``python -m rrra_training.studies.speed``."""

from collections.abc import Callable
from typing import Any

import typer

from rrra_haystack.errors import told_in_one_sentence


def run_command(command: typer.Typer | Callable[..., Any]) -> None:
    """
    Carry out the command of a module, or one of its commands; what a user can mend is told in one sentence.

    :param command: One command as Typer reads it, or several.
    """
    with told_in_one_sentence():
        if isinstance(command, typer.Typer):
            command()
        else:
            typer.run(command)
