"""What went wrong, in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from pydantic import ValidationError


def cause_of(error: BaseException) -> BaseException:
    """What went wrong in a component, out of the layers that Haystack wraps it in."""
    # An error that is raised again from what it caused goes round in a circle.
    seen: list[BaseException] = []
    while _wraps(type(error).__module__) and error.__cause__ is not None and error not in seen:
        seen.append(error)
        error = error.__cause__
    return error


def _wraps(module: str) -> bool:
    # Errors of our own components say what went wrong.
    is_own = ".qdrant_edge" in module or ".rrra" in module
    return module.startswith(("haystack.", "haystack_integrations.")) and not is_own


@contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """
    Tell what a user can mend in one sentence, without a traceback, and end the program.

    The variable ``RRRA_DEBUG`` brings the traceback back. What has no words keeps it, too.

    :raises SystemExit: With status 1.
    """
    try:
        yield
    except Exception as error:
        cause = cause_of(error)
        is_told = isinstance(cause, ValueError | OSError | ImportError | RuntimeError) and str(cause)
        if os.environ.get("RRRA_DEBUG") or not is_told or isinstance(cause, NotImplementedError | RecursionError):
            raise
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(cause))}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


def first_fault(error: "ValidationError") -> str:
    """The first of the faults that pydantic found, as ``where: what``."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
