"""
Token states <-> token codes, as records that are stored beside documents.

A record holds one document and is a matrix of bytes: some head rows, then one row a token. A row is as wide as a token
code, so the concatenated records of many documents are one matrix that is multiplied with the query as it lies, head
rows included; the head's products are ignored. The size of a record is a multiple of 24 bytes: of 3, so that base64
text needs no padding and joined texts decode in one call, and of 8, so that check sums are sums of words.

Head, little-endian: magic ``RRRA``, version (u1), kind (u1), token dimensions (u2), pooled dimensions (u2), words
(u2), tokens (u4), fingerprint of the model (u4), scale of the token codes (f4), scale of the pooled code (f4),
reserved (u4), check sum (u8); then the pooled code, one byte a dimension, and the words in their order, two bytes each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pybase64
import torch
from torch import Tensor

from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.codes.record import (
    ALIGNMENT,
    CHECKSUM_WORD,
    HEAD,
    KINDS,
    MAGIC,
    REMEDY,
    VERSION,
    WORD,
    CodeKind,
    InvalidCodesError,
)
from rrra_haystack.model.segments import ranges


@dataclass(frozen=True)
class TokenCodec:
    """
    How the token states of one model are stored.

    :param kind: ``int8`` (one byte a dimension) or ``1bit`` (the sign of each dimension).
    :param token_dim: Dimensions of a projected token state; a multiple of 8.
    :param pooled_dim: Dimensions of the pooled embedding.
    :param fingerprint: Tells the codes of one model from another's; see :func:`fingerprint`.
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
    def row_bytes(self) -> int:
        """Bytes of one token code."""
        return self.token_dim if self.kind == "int8" else self.token_dim // 8

    def record_bytes(self, tokens: int, words: int = 0) -> int:
        """Bytes of the record of a document of so many tokens and words (base64 text is 4/3 of that)."""
        return self._record_rows(np.asarray([tokens]), np.asarray([words])).item() * self.row_bytes

    def _record_rows(self, tokens: np.ndarray, words: np.ndarray) -> np.ndarray:
        head_rows = -(-(HEAD.itemsize + self.pooled_dim + WORD.itemsize * words) // self.row_bytes)
        step = ALIGNMENT // math.gcd(ALIGNMENT, self.row_bytes)
        return -(-(tokens + head_rows) // step) * step

    def head_bytes(self, record: bytes | np.ndarray) -> int:
        """Bytes of a record before its tokens, padding aside: its fixed fields, pooled code and words."""
        fields = np.frombuffer(record, dtype=HEAD, count=1)[0]
        return HEAD.itemsize + self.pooled_dim + WORD.itemsize * int(fields["words"])

    def pack(self, pooled: Tensor, states: Tensor, lengths: Tensor, words: Sequence[np.ndarray]) -> list[bytes]:
        """
        Pack the token codes of b documents.

        :param pooled: Pooled embeddings, shape ``[b, pooled_dim]``.
        :param states: Projected token states of all documents, one after the other, shape ``[T, token_dim]``; their
            lengths do not matter.
        :param lengths: Tokens of each document, shape ``[b]``.
        :param words: Words of each document, as :func:`~rrra_haystack.model.words.word_codes` gives them.
        :returns: One record a document.
        """
        counts = lengths.cpu().numpy()
        if len(counts) == 0:
            return []
        word_counts = np.asarray([len(own) for own in words])
        tokens, token_scale = self._quantise(states, counts)
        peak = pooled.abs().amax(dim=1).clamp_min(1e-12)
        pooled_codes = (pooled * (127 / peak)[:, None]).round().to(torch.int8).cpu().numpy()

        rows = self._record_rows(counts, word_counts)
        ends = np.cumsum(rows)
        buffer = np.zeros((int(ends[-1]), self.row_bytes), dtype=np.uint8)
        buffer[ranges(ends - counts, counts)] = tokens

        head = np.zeros(len(counts), dtype=HEAD)
        head["magic"], head["version"], head["kind"] = MAGIC, VERSION, KINDS.index(self.kind)
        head["token_dim"], head["pooled_dim"] = self.token_dim, self.pooled_dim
        head["tokens"], head["words"], head["fingerprint"] = counts, word_counts, self.fingerprint
        head["token_scale"], head["pooled_scale"] = token_scale, (peak / 127).cpu().numpy()
        flat = buffer.reshape(-1)
        starts = (ends - rows) * self.row_bytes
        head_bytes = np.concatenate([head.view(np.uint8).reshape(len(head), -1), pooled_codes.view(np.uint8)], axis=1)
        flat[starts[:, None] + np.arange(head_bytes.shape[1])] = head_bytes
        word_bytes = np.concatenate(words).astype(WORD).view(np.uint8)
        flat[ranges(starts + head_bytes.shape[1], WORD.itemsize * word_counts)] = word_bytes
        summands = flat.view(np.uint64)
        summands[starts // 8 + CHECKSUM_WORD] = np.add.reduceat(summands, starts // 8)
        return [flat[start : end * self.row_bytes].tobytes() for start, end in zip(starts, ends, strict=True)]

    def _quantise(self, states: Tensor, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of each token, shape ``[T, row_bytes]``, and of each document the factor that restores its scale."""
        states = torch.nn.functional.normalize(states.float(), dim=-1)
        if self.kind == "int8":
            peak = np.full(len(counts), 1e-12, dtype=np.float32)
            filled = np.flatnonzero(counts)
            if len(filled):
                token_peak = states.abs().amax(dim=1).cpu().numpy()
                peak[filled] = np.maximum.reduceat(token_peak, (np.cumsum(counts) - counts)[filled])
            factor = torch.from_numpy(np.repeat(127 / peak, counts)).to(states)
            return (states * factor[:, None]).round().to(torch.int8).cpu().numpy().view(np.uint8), peak / 127
        # A sign vector stands for x best at the scale where <x, scale * sign(x)> = 1, as RaBitQ (arXiv 2405.12497)
        # corrects its estimate; one factor a document is exact enough and costs no bytes.
        scale = np.full(len(counts), 1 / self.token_dim, dtype=np.float32)
        filled = np.flatnonzero(counts)
        if len(filled):
            inverse = (1 / states.abs().sum(dim=1).clamp_min(1e-12)).cpu().numpy()
            scale[filled] = np.add.reduceat(inverse, (np.cumsum(counts) - counts)[filled]) / counts[filled]
        return np.packbits((states > 0).cpu().numpy(), axis=1), scale

    def unpack(self, records: Sequence[str], names: Sequence[str] | None = None) -> CodeBatch:
        """
        Read the codes of a candidate list.

        :param records: Base64 text of the records, one a document.
        :param names: What to call the documents in errors; their numbers if `None`.
        :raises InvalidCodesError: If a record is damaged, truncated, of another version, or made by another model.
        """
        if not records:
            return self._batch(np.zeros(0, np.uint8), np.zeros(0, HEAD), np.zeros(0, np.int64))
        try:
            sizes = np.fromiter(map(len, records), dtype=np.int64, count=len(records))
            buffer = pybase64.b64decode_as_bytearray("".join(records), validate=True)
        except (TypeError, ValueError):
            self._reject(records, names)
        sizes = sizes // 4 * 3
        smallest = -(-HEAD.itemsize // ALIGNMENT) * ALIGNMENT
        if len(buffer) != sizes.sum() or (sizes % ALIGNMENT).any() or (sizes < smallest).any():
            self._reject(records, names)
        flat = np.frombuffer(buffer, dtype=np.uint8)
        starts = np.cumsum(sizes) - sizes
        head = flat[starts[:, None] + np.arange(HEAD.itemsize)].view(HEAD)[:, 0]
        rows = self._record_rows(head["tokens"].astype(np.int64), head["words"].astype(np.int64))
        checksums = np.add.reduceat(flat.view(np.uint64), starts // 8) - head["checksum"]
        sound = (
            (head["magic"] == MAGIC)
            & (head["version"] == VERSION)
            & (head["kind"] == KINDS.index(self.kind))
            & (head["token_dim"] == self.token_dim)
            & (head["pooled_dim"] == self.pooled_dim)
            & (head["fingerprint"] == self.fingerprint)
            & (rows * self.row_bytes == sizes)
            & (checksums == head["checksum"])
        )
        if not sound.all():
            self._reject(records, names)
        return self._batch(flat, head, np.cumsum(rows))

    def _batch(self, flat: np.ndarray, head: np.ndarray, ends: np.ndarray) -> CodeBatch:
        """What is matched of sound records: their bytes, heads, and the row after the last one of each."""
        begins = (np.concatenate([[0], ends[:-1]]) if len(ends) else ends) * self.row_bytes + HEAD.itemsize
        pooled = flat[begins[:, None] + np.arange(self.pooled_dim)].view(np.int8)
        word_counts = head["words"].astype(np.int64)
        return CodeBatch(
            rows=flat.reshape(-1, self.row_bytes),
            ends=ends,
            lengths=head["tokens"].astype(np.int64),
            token_scale=head["token_scale"],
            pooled=torch.from_numpy(pooled * head["pooled_scale"][:, None]),
            words=flat[ranges(begins + self.pooled_dim, WORD.itemsize * word_counts)].view(WORD),
            word_counts=word_counts,
            is_binary=self.kind == "1bit",
        )

    def _reject(self, records: Sequence[str], names: Sequence[str] | None) -> NoReturn:
        """Find the first record that does not fit and say why."""
        for number, record in enumerate(records):
            name = names[number] if names is not None else f"number {number}"
            if reason := self.flaw(record):
                msg = f"The token codes of document {name} {reason}. {REMEDY}"
                raise InvalidCodesError(msg)
        msg = f"The token codes of these documents cannot be read together. {REMEDY}"
        raise InvalidCodesError(msg)

    def flaw(self, record: str) -> str | None:  # noqa: C901, PLR0911  (a list of checks reads best as one)
        """
        What is wrong with a record, if anything.

        :param record: Base64 text of the record.
        :returns: The end of a sentence on the codes; `None` if they are sound and this model made them.
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
        if head["version"] != VERSION:
            return f"have version {head['version']}, but this release reads version {VERSION}"
        if head["kind"] >= len(KINDS):
            return "are damaged: their kind is unknown"
        if head["kind"] != KINDS.index(self.kind):
            return f"are {KINDS[head['kind']]} codes where {self.kind} codes are expected: a list takes one kind"
        found = f"{KINDS[head['kind']]} codes of {head['token_dim']} and {head['pooled_dim']} dimensions"
        expected = f"{self.kind} codes of {self.token_dim} and {self.pooled_dim} dimensions"
        if found != expected:
            return f"were made by another model: they are {found}, but this model reads {expected}"
        size = self.record_bytes(int(head["tokens"]), int(head["words"]))
        if len(data) != size:
            return f"are {'truncated' if len(data) < size else 'damaged'}: {len(data)} bytes where {size} are expected"
        summands = np.frombuffer(data, dtype=np.uint64)
        if (int(summands.sum(dtype=np.uint64)) - int(head["checksum"])) % 2**64 != int(head["checksum"]):
            return "are damaged: their check sum is wrong"
        if head["fingerprint"] != self.fingerprint:
            return "were made by another model or with other weights"
        return None
