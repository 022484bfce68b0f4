"""Why token codes cannot be read, in words."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
import pybase64

from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.model.codes.record import HEAD, MAGIC, REMEDY, VERSION, InvalidCodesError, RecordLayout


def reject(records: Sequence[str], names: Sequence[str] | None, layout: RecordLayout) -> NoReturn:
    """
    Find the first record that does not fit and say why.

    :param records: Base64 text of the records.
    :param names: What to call the documents; their numbers if `None`.
    :param layout: What the records should look like.
    :raises InvalidCodesError: Always.
    """
    for number, record in enumerate(records):
        name = names[number] if names is not None else f"number {number}"
        if reason := flaw(record, layout):
            msg = f"The token codes of document {name} {reason}. {REMEDY}"
            raise InvalidCodesError(msg)
    msg = f"The token codes of these documents cannot be read together. {REMEDY}"
    raise InvalidCodesError(msg)


def flaw(record: str, layout: RecordLayout) -> str | None:
    """
    What is wrong with a record, if anything.

    :param record: Base64 text of the record.
    :param layout: What it should look like.
    :returns: The end of a sentence on the codes; `None` if they are sound and the layout's model made them.
    """
    if not isinstance(record, str):
        return f"are of type {type(record).__name__}, not base64 text"
    try:
        data = pybase64.b64decode(record, validate=True)
    except ValueError:
        return "are damaged: they are not base64 text"
    if not data.startswith(MAGIC):
        return "are not token codes"
    if len(data) < HEAD.itemsize:
        return "are truncated"
    head = np.frombuffer(data, dtype=HEAD, count=1)[0]
    return next((reason for check in _CHECKS if (reason := check(head, data, layout))), None)


def _version(head: np.void, _data: bytes, _layout: RecordLayout) -> str | None:
    if head["version"] == VERSION:
        return None
    return f"have version {head['version']}, but this release reads version {VERSION}"


def _kind(head: np.void, _data: bytes, layout: RecordLayout) -> str | None:
    if head["kind"] >= len(KINDS):
        return "are damaged: their kind is unknown"
    if KINDS[head["kind"]] == layout.kind:
        return None
    return f"are {KINDS[head['kind']]} codes where {layout.kind} codes are expected: a list takes one kind"


def _dimensions(head: np.void, _data: bytes, layout: RecordLayout) -> str | None:
    found = f"{layout.kind} codes of {head['token_dim']} and {head['pooled_dim']} dimensions"
    expected = f"{layout.kind} codes of {layout.token_dim} and {layout.pooled_dim} dimensions"
    if found == expected:
        return None
    return f"were made by another model: they are {found}, but this model reads {expected}"


def _size(head: np.void, data: bytes, layout: RecordLayout) -> str | None:
    size = layout.record_bytes(int(head["tokens"]), int(head["words"]))
    if len(data) == size:
        return None
    return f"are {'truncated' if len(data) < size else 'damaged'}: {len(data)} bytes where {size} are expected"


def _check_sum(head: np.void, data: bytes, _layout: RecordLayout) -> str | None:
    summands = np.frombuffer(data, dtype=np.uint64)
    found = (int(summands.sum(dtype=np.uint64)) - int(head["checksum"])) % 2**64
    return None if found == int(head["checksum"]) else "are damaged: their check sum is wrong"


def _fingerprint(head: np.void, _data: bytes, layout: RecordLayout) -> str | None:
    return None if head["fingerprint"] == layout.fingerprint else "were made by another model or with other weights"


# Each check relies on those before it.
_CHECKS: tuple[Callable[[np.void, bytes, RecordLayout], str | None], ...] = (
    _version,
    _kind,
    _dimensions,
    _size,
    _check_sum,
    _fingerprint,
)
