"""The layout of one document's token codes."""

from typing import Literal

import numpy as np
import pybase64

CodeKind = Literal["int8", "1bit"]
MAGIC = b"RRRA"
VERSION = 3
KINDS: tuple[CodeKind, ...] = ("int8", "1bit")
ALIGNMENT = 24
HEAD = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("kind", "u1"),
        ("token_dim", "<u2"),
        ("pooled_dim", "<u2"),
        ("words", "<u2"),
        ("tokens", "<u4"),
        ("fingerprint", "<u4"),
        ("token_scale", "<f4"),
        ("pooled_scale", "<f4"),
        ("reserved", "<u4"),
        ("checksum", "<u8"),
    ]
)
WORD = np.dtype("<u2")
# Base64 text that holds the fixed fields of a head.
HEAD_TEXT = -(-HEAD.itemsize // 3) * 4
CHECKSUM_WORD = HEAD.fields["checksum"][1] // 8 if HEAD.fields else 0
REMEDY = "Index the document again with RRRADocumentEmbedder and the same model."


class InvalidCodesError(ValueError):
    """Token codes that are damaged, truncated, or made by another model."""


def kind_of(record: str) -> CodeKind | None:
    """The kind of a record given as base64 text, or `None` if it is none."""
    try:
        head = pybase64.b64decode(record[:8], validate=True)
    except (TypeError, ValueError):
        return None
    known = head.startswith(MAGIC) and len(head) > len(MAGIC) + 1 and head[len(MAGIC) + 1] < len(KINDS)
    return KINDS[head[len(MAGIC) + 1]] if known else None
