"""What went wrong, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def cause_of(error: BaseException) -> BaseException:
    """What went wrong in a component, out of the layers that Haystack wraps it in."""
    while type(error).__module__.startswith(("haystack.", "haystack_integrations.")) and error.__cause__ is not None:
        error = error.__cause__
    return error


def first_fault(error: "ValidationError") -> str:
    """The first of the faults that pydantic found, as ``where: what``."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
