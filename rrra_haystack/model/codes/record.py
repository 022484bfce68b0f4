"""
The layout of one document's token codes.

A record is a matrix of bytes: some head rows, then one row a token. A row is as wide as a token code, so the
concatenated records of many documents are one matrix that is multiplied with the query as it lies, head rows included;
the head's products are ignored. The size of a record is a multiple of 24 bytes: of 3, so that base64 text needs no
padding and joined texts decode in one call, and of 8, so that check sums are sums of words.

Head, little-endian: magic ``RRRA``, version (u1), kind (u1), token dimensions (u2), pooled dimensions (u2), words
(u2), tokens (u4), fingerprint of the model (u4), scale of the token codes (f4), scale of the pooled code (f4),
check sum of the content that it was made of (u4; 0 where it is not known), check sum (u8); then the pooled code, one
byte a dimension, and the words in their order, two bytes each.
"""

import math
from dataclasses import dataclass

import numpy as np
import pybase64

from rrra_haystack.model.codes.kinds import KINDS, QUANTISERS, CodeKind, Quantiser

MAGIC = b"RRRA"
VERSION = 3
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
        ("content", "<u4"),
        ("checksum", "<u8"),
    ]
)
WORD = np.dtype("<u2")
# Base64 text that holds the fixed fields of a head.
HEAD_TEXT = -(-HEAD.itemsize // 3) * 4
# Base64 text that ends with the kind.
KIND_TEXT = 8
CHECKSUM_WORD = HEAD.fields["checksum"][1] // 8 if HEAD.fields else 0
REMEDY = "Index the document again with RRRADocumentEmbedder and the same model."


class InvalidCodesError(ValueError):
    """Token codes that are damaged, truncated, or made by another model."""


@dataclass(frozen=True)
class RecordLayout:
    """
    What the records of one model look like.

    :param kind: ``int8`` (one byte a dimension), ``4bit``, ``2bit``, or ``1bit`` (the sign of each dimension).
    :param token_dim: Dimensions of a projected token state; a multiple of 8.
    :param pooled_dim: Dimensions of the pooled embedding; 0 without one.
    :param fingerprint: Tells the codes of one model from another's; see
        :func:`~rrra_haystack.model.fingerprint.fingerprint`.
    :raises ValueError: If `kind` is unknown or `token_dim` is not a multiple of 8.
    """

    kind: CodeKind
    token_dim: int
    pooled_dim: int
    fingerprint: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"code kind must be one of {', '.join(KINDS)}, but got {self.kind!r}"
            raise ValueError(msg)
        if self.token_dim <= 0 or self.token_dim % 8:
            msg = f"token_dim must be a positive multiple of 8, but got {self.token_dim}"
            raise ValueError(msg)

    @property
    def quantiser(self) -> Quantiser:
        """What makes rows of token states, and numbers of rows."""
        return QUANTISERS[self.kind]

    @property
    def row_bytes(self) -> int:
        """Bytes of one token code."""
        return self.quantiser.row_bytes(self.token_dim)

    def record_bytes(self, tokens: int, words: int = 0) -> int:
        """Bytes of the record of a document of so many tokens and words (base64 text is 4/3 of that)."""
        return self.record_rows(np.asarray([tokens]), np.asarray([words])).item() * self.row_bytes

    def record_rows(self, tokens: np.ndarray, words: np.ndarray) -> np.ndarray:
        """
        Rows of the records of n documents.

        :param tokens: Tokens of each document, shape ``[n]``.
        :param words: Words of each document, shape ``[n]``.
        """
        head_rows = -(-(HEAD.itemsize + self.pooled_dim + WORD.itemsize * words) // self.row_bytes)
        step = ALIGNMENT // math.gcd(ALIGNMENT, self.row_bytes)
        return -(-(tokens + head_rows) // step) * step

    def head_bytes(self, record: bytes | np.ndarray) -> int:
        """Bytes of a record before its tokens, padding aside: its fixed fields, pooled code and words."""
        fields = np.frombuffer(record, dtype=HEAD, count=1)[0]
        return HEAD.itemsize + self.pooled_dim + WORD.itemsize * int(fields["words"])


def full_bytes(dimensions: int) -> int:
    """The least width of token states that fills whole bytes with one bit a dimension."""
    return -(-dimensions // 8) * 8


def kind_of(record: str) -> CodeKind | None:
    """The kind of a record given as base64 text, or `None` if it is none."""
    try:
        head = pybase64.b64decode(record[:KIND_TEXT], validate=True)
    except (TypeError, ValueError):
        return None
    known = head.startswith(MAGIC) and len(head) > len(MAGIC) + 1 and head[len(MAGIC) + 1] < len(KINDS)
    return KINDS[head[len(MAGIC) + 1]] if known else None
