"""
Token states <-> token codes, and the matcher that reads the codes of a whole candidate list at once.

A record holds one document and is a matrix of bytes: some head rows, then one row a token. A row is as wide as a token
code, so the concatenated records of many documents are one matrix that is multiplied with the query as it lies, head
rows included; the head's products are ignored. The size of a record is a multiple of 24 bytes: of 3, so that base64
text needs no padding and joined texts decode in one call, and of 8, so that check sums are sums of words.

Head, little-endian: magic ``RRRA``, version (u1), kind (u1), token dimensions (u2), pooled dimensions (u2), reserved
(u2), tokens (u4), fingerprint of the model (u4), scale of the token codes (f4), scale of the pooled code (f4),
reserved (u4), check sum (u8); then the pooled code, one byte a dimension.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NoReturn

import numpy as np
import pybase64
import torch
from torch import Tensor

from rrra_haystack.segments import Segments

CodeKind = Literal["int8", "1bit"]

_MAGIC = b"RRRA"
_VERSION = 1
_KINDS: tuple[CodeKind, ...] = ("int8", "1bit")
_ALIGNMENT = 24
_HEAD = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("kind", "u1"),
        ("token_dim", "<u2"),
        ("pooled_dim", "<u2"),
        ("reserved", "<u2"),
        ("tokens", "<u4"),
        ("fingerprint", "<u4"),
        ("token_scale", "<f4"),
        ("pooled_scale", "<f4"),
        ("reserved_2", "<u4"),
        ("checksum", "<u8"),
    ]
)
# Base64 text that holds the fixed fields of a head.
_HEAD_TEXT = -(-_HEAD.itemsize // 3) * 4
_CHECKSUM_WORD = _HEAD.fields["checksum"][1] // 8 if _HEAD.fields else 0
_REMEDY = "Index the document again with RRRADocumentEmbedder and the same model."


class InvalidCodesError(ValueError):
    """Token codes that are damaged, truncated, or made by another model."""


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
        if self.kind not in _KINDS:
            msg = f"code kind must be one of {', '.join(_KINDS)}, but got {self.kind!r}"
            raise ValueError(msg)
        if self.token_dim <= 0 or self.token_dim % 8:
            msg = f"token_dim must be a positive multiple of 8, but got {self.token_dim}"
            raise ValueError(msg)

    @property
    def row_bytes(self) -> int:
        """Bytes of one token code."""
        return self.token_dim if self.kind == "int8" else self.token_dim // 8

    def record_bytes(self, tokens: int) -> int:
        """Bytes of the record of a document of so many tokens (base64 text is 4/3 of that)."""
        return self._record_rows(np.asarray([tokens])).item() * self.row_bytes

    def _record_rows(self, tokens: np.ndarray) -> np.ndarray:
        head_rows = -(-(_HEAD.itemsize + self.pooled_dim) // self.row_bytes)
        step = _ALIGNMENT // math.gcd(_ALIGNMENT, self.row_bytes)
        return -(-(tokens + head_rows) // step) * step

    def pack(self, pooled: Tensor, states: Tensor, lengths: Tensor) -> list[bytes]:
        """
        Pack the token codes of b documents.

        :param pooled: Pooled embeddings, shape ``[b, pooled_dim]``.
        :param states: Projected token states of all documents, one after the other, shape ``[T, token_dim]``; their
            lengths do not matter.
        :param lengths: Tokens of each document, shape ``[b]``.
        :returns: One record a document.
        """
        counts = lengths.cpu().numpy()
        if len(counts) == 0:
            return []
        tokens, token_scale = self._quantise(states, counts)
        peak = pooled.abs().amax(dim=1).clamp_min(1e-12)
        pooled_codes = (pooled * (127 / peak)[:, None]).round().to(torch.int8).cpu().numpy()

        rows = self._record_rows(counts)
        ends = np.cumsum(rows)
        buffer = np.zeros((int(ends[-1]), self.row_bytes), dtype=np.uint8)
        buffer[_ranges(ends - counts, counts)] = tokens

        head = np.zeros(len(counts), dtype=_HEAD)
        head["magic"], head["version"], head["kind"] = _MAGIC, _VERSION, _KINDS.index(self.kind)
        head["token_dim"], head["pooled_dim"] = self.token_dim, self.pooled_dim
        head["tokens"], head["fingerprint"] = counts, self.fingerprint
        head["token_scale"], head["pooled_scale"] = token_scale, (peak / 127).cpu().numpy()
        flat = buffer.reshape(-1)
        starts = (ends - rows) * self.row_bytes
        head_bytes = np.concatenate([head.view(np.uint8).reshape(len(head), -1), pooled_codes.view(np.uint8)], axis=1)
        flat[starts[:, None] + np.arange(head_bytes.shape[1])] = head_bytes
        words = flat.view(np.uint64)
        words[starts // 8 + _CHECKSUM_WORD] = np.add.reduceat(words, starts // 8)
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

    def unpack(self, records: Sequence[str], names: Sequence[str] | None = None) -> "CodeBatch":
        """
        Read the codes of a candidate list.

        :param records: Base64 text of the records, one a document.
        :param names: What to call the documents in errors; their numbers if `None`.
        :raises InvalidCodesError: If a record is damaged, truncated, of another version, or made by another model.
        """
        if not records:
            return CodeBatch(self, np.zeros((0, self.row_bytes), np.uint8), np.zeros(0, _HEAD), np.zeros(0, np.int64))
        try:
            sizes = np.fromiter(map(len, records), dtype=np.int64, count=len(records))
            buffer = pybase64.b64decode_as_bytearray("".join(records), validate=True)
        except (TypeError, ValueError):
            self._reject(records, names)
        sizes = sizes // 4 * 3
        smallest = -(-_HEAD.itemsize // _ALIGNMENT) * _ALIGNMENT
        if len(buffer) != sizes.sum() or (sizes % _ALIGNMENT).any() or (sizes < smallest).any():
            self._reject(records, names)
        flat = np.frombuffer(buffer, dtype=np.uint8)
        starts = np.cumsum(sizes) - sizes
        head = flat[starts[:, None] + np.arange(_HEAD.itemsize)].view(_HEAD)[:, 0]
        rows = self._record_rows(head["tokens"].astype(np.int64))
        checksums = np.add.reduceat(flat.view(np.uint64), starts // 8) - head["checksum"]
        sound = (
            (head["magic"] == _MAGIC)
            & (head["version"] == _VERSION)
            & (head["kind"] == _KINDS.index(self.kind))
            & (head["token_dim"] == self.token_dim)
            & (head["pooled_dim"] == self.pooled_dim)
            & (head["fingerprint"] == self.fingerprint)
            & (rows * self.row_bytes == sizes)
            & (checksums == head["checksum"])
        )
        if not sound.all():
            self._reject(records, names)
        return CodeBatch(self, flat.reshape(-1, self.row_bytes), head, np.cumsum(rows))

    def _reject(self, records: Sequence[str], names: Sequence[str] | None) -> NoReturn:
        """Find the first record that does not fit and say why."""
        for number, record in enumerate(records):
            name = names[number] if names is not None else f"number {number}"
            if reason := self.flaw(record):
                msg = f"The token codes of document {name} {reason}. {_REMEDY}"
                raise InvalidCodesError(msg)
        msg = f"The token codes of these documents cannot be read together. {_REMEDY}"
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
        if not data.startswith(_MAGIC):
            return "are not token codes"
        if len(data) < _HEAD.itemsize:
            return "are truncated"
        head = np.frombuffer(data, dtype=_HEAD, count=1)[0]
        if head["version"] != _VERSION:
            return f"have version {head['version']}, but this release reads version {_VERSION}"
        if head["kind"] >= len(_KINDS):
            return "are damaged: their kind is unknown"
        if head["kind"] != _KINDS.index(self.kind):
            return f"are {_KINDS[head['kind']]} codes where {self.kind} codes are expected: a list takes one kind"
        found = f"{_KINDS[head['kind']]} codes of {head['token_dim']} and {head['pooled_dim']} dimensions"
        expected = f"{self.kind} codes of {self.token_dim} and {self.pooled_dim} dimensions"
        if found != expected:
            return f"were made by another model: they are {found}, but this model reads {expected}"
        size = self.record_bytes(int(head["tokens"]))
        if len(data) != size:
            return f"are {'truncated' if len(data) < size else 'damaged'}: {len(data)} bytes where {size} are expected"
        words = np.frombuffer(data, dtype=np.uint64)
        if (int(words.sum(dtype=np.uint64)) - int(head["checksum"])) % 2**64 != int(head["checksum"]):
            return "are damaged: their check sum is wrong"
        if head["fingerprint"] != self.fingerprint:
            return "were made by another model or with other weights"
        return None


@dataclass(frozen=True)
class CodeBatch:
    """
    The codes of n documents, read but not expanded.

    :param codec: The codec that read them.
    :param rows: All records as one matrix, shape ``[R, row_bytes]``, uint8.
    :param head: The records' heads, shape ``[n]``.
    :param ends: The row after the last one of each document, shape ``[n]``.
    """

    codec: TokenCodec
    rows: np.ndarray
    head: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.head)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, shape ``[n]``."""
        return self.head["tokens"].astype(np.int64)

    @cached_property
    def pooled(self) -> Tensor:
        """The documents' pooled embeddings, shape ``[n, pooled_dim]``, float32."""
        begins = np.concatenate([[0], self.ends[:-1]]) if len(self) else self.ends
        columns = begins[:, None] * self.codec.row_bytes + _HEAD.itemsize + np.arange(self.codec.pooled_dim)
        codes = self.rows.reshape(-1)[columns].view(np.int8)
        return torch.from_numpy(codes * self.head["pooled_scale"][:, None])

    def _values(self, rows: Tensor) -> Tensor:
        """Rows as int8 numbers, shape ``[R, token_dim]``; of `1bit` codes the bits, 0 or 1."""
        if not self.is_binary:
            return rows.view(torch.int8)
        return torch.from_numpy(np.unpackbits(rows.numpy(), axis=1)).view(torch.int8)

    @cached_property
    def _token_values(self) -> Tensor:
        """The tokens as int8 numbers, shape ``[T, token_dim]``."""
        tokens = torch.from_numpy(_ranges(self.ends - self.lengths, self.lengths))
        return self._values(torch.from_numpy(self.rows).index_select(0, tokens))

    def _signed(self, values: Tensor) -> Tensor:
        return values.float() * 2 - 1 if self.is_binary else values.float()

    def token_states(self) -> Tensor:
        """The token states as the codes keep them, one document after the other, shape ``[T, token_dim]``."""
        return self._signed(self._token_values) * self._token_scales[:, None]

    def match(self, query_states: Tensor) -> Tensor:
        """
        The score of the best-matching token of each document for each query token (MaxSim, arXiv 2004.12832).

        :param query_states: Projected token states of the query, shape ``[m, token_dim]``; their lengths do not matter.
        :returns: Cosines, shape ``[n, m]``; -1 where a document has no token.
        """
        query, peak = _as_int8(query_states)
        best = torch.full((len(query), len(self)), -1.0)
        filled = np.flatnonzero(self.lengths)
        if len(query) == 0 or len(filled) == 0:
            return best.T
        # The head rows are multiplied too: that costs less than a copy of the others.
        products = _int8_product(query, self._values(torch.from_numpy(self.rows)))
        # Segments: the tokens of a document, then what lies before the next one's tokens, which is skipped.
        bounds = np.stack([(self.ends - self.lengths)[filled], self.ends[filled]], axis=1).reshape(-1)
        # The last bound may lie behind the matrix; the last segment is then open.
        bounds = bounds[bounds < len(self.rows)]
        maxima = torch.from_numpy(np.ascontiguousarray(np.maximum.reduceat(products.numpy(), bounds, axis=1)[:, ::2]))
        if self.is_binary:
            maxima = maxima * 2 - query.sum(dim=1, dtype=torch.int64)[:, None]
        best[:, filled] = maxima.float() * torch.from_numpy(self.head["token_scale"][filled]) * (peak / 127)
        return best.T

    @cached_property
    def segments(self) -> Segments:
        """Which tokens belong to which document."""
        return Segments(self.lengths)

    @property
    def is_binary(self) -> bool:
        """Whether only the signs of the token states are kept."""
        return self.codec.kind == "1bit"

    @cached_property
    def _token_scales(self) -> Tensor:
        """Factor that restores each token's scale, shape ``[T]``."""
        return torch.from_numpy(np.repeat(self.head["token_scale"], self.lengths))

    def similarity(self, vectors: Tensor) -> Tensor:
        """
        Cosines of vectors with every token.

        :param vectors: Shape ``[v, token_dim]``; their lengths do not matter.
        :returns: Shape ``[v, T]``.
        """
        query, peak = _as_int8(vectors)
        if len(query) == 0 or not self.lengths.any():
            return torch.zeros((len(query), int(self.lengths.sum())))
        products = _int8_product(query, self._token_values).float()
        if self.is_binary:
            products = products * 2 - query.sum(dim=1, dtype=torch.int64)[:, None]
        return products.mul_(self._token_scales).mul_(peak / 127)

    def states_at(self, places: Tensor) -> Tensor:
        """
        Token states of length 1.

        :param places: Places among the T tokens, any shape.
        :returns: Shape ``[*places.shape, token_dim]``; 0 where a place is -1.
        """
        if not self.lengths.any():
            return torch.zeros((*places.shape, self.codec.token_dim))
        states = self._signed(self._token_values[places.clamp_min(0)]) * (places >= 0)[..., None]
        return torch.nn.functional.normalize(states, dim=-1)


def _as_int8(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 as int8 numbers, and of each the number that 127 stands for, shape ``[v, 1]``."""
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    peak = unit.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
    return (unit * (127 / peak)).round().to(torch.int8), peak


def eight_bits(vectors: Tensor) -> Tensor:
    """Vectors as the scorer sees a query: of length 1, in eight bits a dimension; shape ``[v, h]``, float32."""
    codes, peak = _as_int8(vectors)
    return codes * (peak / 127)


def kind_of(record: str) -> CodeKind | None:
    """The kind of a record given as base64 text, or `None` if it is none."""
    try:
        head = pybase64.b64decode(record[:8], validate=True)
    except (TypeError, ValueError):
        return None
    known = head.startswith(_MAGIC) and len(head) > len(_MAGIC) + 1 and head[len(_MAGIC) + 1] < len(_KINDS)
    return _KINDS[head[len(_MAGIC) + 1]] if known else None


def split_record(record: str, name: str) -> tuple[str, Tensor]:
    """
    Take a record apart: what comes before its tokens, and the token states as the codes keep them.

    :param record: Base64 text of the record.
    :param name: What to call the document in errors.
    :returns: Base64 text of head and pooled code, and the token states, shape ``[tokens, token_dim]``.
    :raises InvalidCodesError: If the record is damaged or truncated.
    """
    _, codec = _codec_of(record[:_HEAD_TEXT] if kind_of(record) else "", name)
    states = codec.unpack([record], [name]).token_states()
    head = pybase64.b64decode(record)[: _HEAD.itemsize + codec.pooled_dim]
    return pybase64.b64encode_as_string(head), states


def join_record(head: str, states: np.ndarray, name: str) -> str:
    """
    Put a record together again, byte for byte if the states are off by less than half a step of the codes.

    What is not the same is found by the check sum when the record is read.

    :param head: Base64 text of head and pooled code.
    :param states: Token states, shape ``[tokens, token_dim]``.
    :param name: What to call the document in errors.
    :raises InvalidCodesError: If the head is damaged.
    """
    data, codec = _codec_of(head, name)
    if len(data) != _HEAD.itemsize + codec.pooled_dim or states.shape[1] != codec.token_dim:
        msg = f"The token codes of document {name} are damaged. {_REMEDY}"
        raise InvalidCodesError(msg)
    fields = data[: _HEAD.itemsize].view(_HEAD)[0]
    rows = np.zeros((codec.record_bytes(len(states)) // codec.row_bytes, codec.row_bytes), dtype=np.uint8)
    rows.reshape(-1)[: len(data)] = data
    if codec.kind == "int8":
        tokens = np.rint(states / fields["token_scale"]).clip(-127, 127).astype(np.int8).view(np.uint8)
    else:
        tokens = np.packbits(states > 0, axis=1)
    rows[len(rows) - len(states) :] = tokens
    return pybase64.b64encode_as_string(rows.tobytes())


def _codec_of(head: str, name: str) -> tuple[np.ndarray, TokenCodec]:
    """The bytes of a text that begins with a record's head, and the codec that wrote the record."""
    try:
        data = pybase64.b64decode(head, validate=True) if kind_of(head) else b""
        fields = np.frombuffer(data, dtype=_HEAD, count=1)[0]
        codec = TokenCodec(
            kind=_KINDS[fields["kind"]],
            token_dim=int(fields["token_dim"]),
            pooled_dim=int(fields["pooled_dim"]),
            fingerprint=int(fields["fingerprint"]),
        )
    except ValueError:
        msg = f"The token codes of document {name} are damaged, truncated or not token codes. {_REMEDY}"
        raise InvalidCodesError(msg) from None
    return np.frombuffer(data, dtype=np.uint8), codec


def fingerprint(*parts: str | bytes) -> int:
    """A number of 32 bits that tells models apart by the parts that their codes depend on."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest()[:4], "little")


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenation of ``arange(start, start + count)`` of each pair."""
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def _int8_product(query: Tensor, values: Tensor) -> Tensor:
    """``query @ values.T`` of int8 matrices, exact, shape ``[m, R]``, int32."""
    try:
        return torch._int_mm(query, values.T)  # noqa: SLF001  (there is no public name for it)
    except (AttributeError, RuntimeError, NotImplementedError):  # platforms without an integer kernel
        return (query.float() @ values.T.float()).to(torch.int32)
