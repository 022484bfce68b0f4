"""What a command needs that is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, command: str) -> Iterator[None]:
    """
    For a block of imports: say in one sentence which extra is missing.

    :param name: The extra that brings what is imported.
    :param command: What needs it.
    :raises ImportError: If an import fails.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{command} needs the extra '{name}' ({error}). Install it with: pip install 'rrra-haystack[{name}]'"
        raise ImportError(msg) from None
