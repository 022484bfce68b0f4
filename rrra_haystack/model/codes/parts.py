"""A record in two parts: its head as text, its tokens as numbers."""

import numpy as np
import pybase64
from torch import Tensor

from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.model.codes.record import HEAD, HEAD_TEXT, REMEDY, InvalidCodesError, kind_of


def split_record(record: str, name: str) -> tuple[str, Tensor]:
    """
    Take a record apart: what comes before its tokens, and the token states as the codes keep them.

    :param record: Base64 text of the record.
    :param name: What to call the document in errors.
    :returns: Base64 text of head, pooled code and words, and the token states, shape ``[tokens, token_dim]``.
    :raises InvalidCodesError: If the record is damaged or truncated.
    """
    _, codec = _codec_of(record[:HEAD_TEXT] if kind_of(record) else "", name)
    states = codec.unpack([record], [name]).token_states()
    data = pybase64.b64decode(record)
    return pybase64.b64encode_as_string(data[: codec.head_bytes(data)]), states


def join_record(head: str, states: np.ndarray, name: str) -> str:
    """
    Put a record together again, byte for byte if the states are off by less than half a step of the codes.

    What is not the same is found by the check sum when the record is read.

    :param head: Base64 text of head, pooled code and words.
    :param states: Token states, shape ``[tokens, token_dim]``.
    :param name: What to call the document in errors.
    :raises InvalidCodesError: If the head is damaged.
    """
    data, codec = _codec_of(head, name)
    if len(data) != codec.head_bytes(data) or states.shape[1] != codec.token_dim:
        msg = f"The token codes of document {name} are damaged. {REMEDY}"
        raise InvalidCodesError(msg)
    fields = data[: HEAD.itemsize].view(HEAD)[0]
    size = codec.record_bytes(len(states), int(fields["words"]))
    rows = np.zeros((size // codec.row_bytes, codec.row_bytes), dtype=np.uint8)
    rows.reshape(-1)[: len(data)] = data
    rows[len(rows) - len(states) :] = codec.quantiser.rows(states, fields["token_scale"])
    return pybase64.b64encode_as_string(rows.tobytes())


def _codec_of(head: str, name: str) -> tuple[np.ndarray, TokenCodec]:
    """The bytes of a text that begins with a record's head, and the codec that wrote the record."""
    try:
        data = pybase64.b64decode(head, validate=True) if kind_of(head) else b""
        fields = np.frombuffer(data, dtype=HEAD, count=1)[0]
        codec = TokenCodec(
            kind=KINDS[fields["kind"]],
            token_dim=int(fields["token_dim"]),
            pooled_dim=int(fields["pooled_dim"]),
            fingerprint=int(fields["fingerprint"]),
        )
    except ValueError:
        msg = f"The token codes of document {name} are damaged, truncated or not token codes. {REMEDY}"
        raise InvalidCodesError(msg) from None
    return np.frombuffer(data, dtype=np.uint8), codec
