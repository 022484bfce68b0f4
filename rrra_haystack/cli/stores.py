"""What users of the command line are told of a store, who have no document store to correct or to close."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rrra_haystack.errors import cause_of


@contextmanager
def told_of_stores() -> Iterator[None]:
    """
    Tell of a store that is empty, or open elsewhere, what can be done about it on the command line.

    :raises ValueError: In the place of the error that users of Python are told.
    """
    try:
        yield
    except Exception as error:
        cause = cause_of(error)
        mend = _mend(cause)
        if mend is None:
            raise
        # The last sentence says how Python mends it.
        what = str(cause).rpartition(". ")[0]
        msg = f"{what}. {mend}"
        raise ValueError(msg) from error


def _mend(error: BaseException) -> str | None:
    if "rrra_haystack.qdrant.collections" not in sys.modules:
        # Nobody has asked for a store, and it would take long to import.
        return None
    from rrra_haystack.qdrant.clients import is_open_elsewhere
    from rrra_haystack.qdrant.collections import NothingStoredError

    if isinstance(error, NothingStoredError):
        where = "the store or its collection (--index, or 'index' in a pipeline)"
        return f"Correct {where}, or fill it first: rrra index PATH --store STORE."
    if is_open_elsewhere(error):
        return "Stop what has it open, as 'rrra serve' does, or use a Qdrant server, which several can ask."
    return None
