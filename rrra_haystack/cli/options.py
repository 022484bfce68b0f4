"""Options that several commands share, and how all of them are read."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rrra_haystack.files import with_home

IgnoreIdentical = Annotated[
    bool,
    typer.Option(
        "--ignore-identical",
        help="Leave a passage that is the query itself, word for word, out of its candidates.",
        show_default=False,
    ),
]


class Commands(TyperGroup):
    """Commands whose options take ``--store=~/x`` as a shell lets them take ``--store ~/x``: in the home folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, [_with_home(one) for one in args])


def _with_home(argument: str) -> str:
    option, equals, value = argument.partition("=")
    return option + equals + with_home(value) if option.startswith("--") else argument
