"""Options that several commands share."""

from typing import Annotated

import typer

IgnoreIdentical = Annotated[
    bool,
    typer.Option(
        "--ignore-identical",
        help="Leave a passage that is the query itself, word for word, out of its candidates.",
        show_default=False,
    ),
]
