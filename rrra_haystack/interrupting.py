"""What is said where a command is interrupted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# As shells tell it of a program that Ctrl-C ended.
_INTERRUPTED = 130

_SAME = "The same command goes on where it stopped."
_CACHE = "With --cache the same command goes on where it stopped, and without it begins anew."
_GOES_ON = {
    **dict.fromkeys(("index", "enrich", "copy", "benchmark"), _SAME),
    **dict.fromkeys(("evaluate", "audit", "mine", "adapt"), _CACHE),
    "train": "The same command goes on where it stopped with --resume.",
}


@contextmanager
def told_how_to_go_on(command: str = "") -> Iterator[None]:
    """
    Where a user interrupts, say so in a sentence, and how the command goes on if it does.

    :param command: Name of the command.
    :raises SystemExit: With the status 130, if it is interrupted.
    """
    try:
        yield
    except KeyboardInterrupt:
        _tell(command)
        raise SystemExit(_INTERRUPTED) from None
    except SystemExit as ended:
        # Typer makes it of the KeyboardInterrupt.
        if ended.code == _INTERRUPTED:
            _tell(command)
        raise


def _tell(command: str) -> None:
    sys.stderr.write(" ".join(filter(None, ("Interrupted.", _GOES_ON.get(command)))) + "\n")
