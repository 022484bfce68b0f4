"""What a frozen encoder says of many texts, encoded once and kept in memory-mapped files."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_write
from rrra_haystack.model.encoder import EncodedBatch, Encoder, Task

logger = logging.getLogger(__name__)

# Texts that are encoded and written together: what an interruption costs at most.
_SHARD = 4096
# Texts that are read together.
_BATCH = 256

_POOLED, _STATES, _LENGTHS, _META = "pooled.f32", "states.f16", "lengths.i32", "meta.json"
_TEXTS, _TEXT_ENDS = "texts.jsonl", "text_ends.i64"


@dataclass(frozen=True)
class TokenSlice:
    """
    Token states of some texts, one text after the other.

    :param states: Shape ``[T, hidden]``, float16.
    :param lengths: Tokens of each text, shape ``[n]``, int64.
    """

    states: Tensor
    lengths: Tensor


class StateStore:
    """
    Pooled embeddings and token states of n texts on disk, read through memory maps.

    A directory of flat files: ``pooled.f32`` (length 1, ``[n, d]``), ``states.f16`` (``[T, hidden]``), ``lengths.i32``
    (``[n]``), ``texts.jsonl`` (identifier and text a line), ``text_ends.i64`` (byte after each line) and ``meta.json``.
    Two bytes a number: 768 bytes a token of a 384-dimensional encoder.

    :param path: A directory that :meth:`build` made.
    :raises FileNotFoundError: If there is no store.
    :raises ValueError: If it is not complete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = _read_meta(self.path)
        if meta is None:
            msg = f"There is no store of token states at {self.path}."
            raise FileNotFoundError(msg)
        if not meta["complete"]:
            msg = f"The store of token states at {self.path} is not complete: build it again to finish it."
            raise ValueError(msg)
        self.fingerprint: str = meta["fingerprint"]
        self.digest: str = meta["digest"]
        count, tokens, dimension, hidden = (meta[key] for key in ("count", "tokens", "dimension", "hidden"))
        self.pooled: np.ndarray = _map(self.path / _POOLED, np.float32, (count, dimension))
        self.all_states: np.ndarray = _map(self.path / _STATES, np.float16, (tokens, hidden))
        self.lengths: np.ndarray = np.fromfile(self.path / _LENGTHS, dtype=np.int32, count=count).astype(np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._text_ends = np.fromfile(self.path / _TEXT_ENDS, dtype=np.int64, count=count)
        text_bytes = int(self._text_ends[-1]) if count else 0
        self._texts = _map(self.path / _TEXTS, np.uint8, (text_bytes, 1))[:, 0]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def hidden_size(self) -> int:
        """Dimensions of a token state."""
        return int(self.all_states.shape[1])

    @cached_property
    def ids(self) -> list[str]:
        """Identifiers of the texts, in the order of the rows."""
        with (self.path / _TEXTS).open(encoding="utf-8") as lines:
            # A corpus that became shorter leaves the rest of its file.
            return [json.loads(line)[0] for line in islice(lines, len(self))]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each identifier."""
        return {identifier: row for row, identifier in enumerate(self.ids)}

    def tokens(self, rows: np.ndarray) -> TokenSlice:
        """
        Read the token states of some texts.

        :param rows: Shape ``[n]``; a row may occur more than once.
        """
        rows = np.asarray(rows, dtype=np.int64)
        picked = self.all_states[self.token_rows(rows)]
        return TokenSlice(torch.from_numpy(picked), torch.from_numpy(self.lengths[rows]))

    def token_rows(self, rows: np.ndarray) -> np.ndarray:
        """Where the token states of some texts stand, one text after the other, shape ``[T]``."""
        counts = self.lengths[rows]
        return np.repeat(self._starts[rows] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())

    def states(self, span: slice) -> Tensor:
        """Token states in a span of all of them, float16."""
        return torch.from_numpy(np.array(self.all_states[span]))

    def batches(self, *, show_progress: bool = False) -> Iterator[EncodedBatch]:
        """
        Read what the encoder says of all texts, in the order of the rows: embeddings of length 1, token states that
        were rounded to float16.

        :param show_progress: Show progress and the time left.
        """
        begins = range(0, len(self), _BATCH)
        for begin in tqdm(begins, desc=f"Reading {self.path.name}", unit="batch", disable=not show_progress):
            end = min(begin + _BATCH, len(self))
            lengths = self.lengths[begin:end]
            first = int(self._starts[begin])
            states = self.states(slice(first, first + int(lengths.sum()))).float()
            pooled = torch.from_numpy(np.array(self.pooled[begin:end]))
            yield EncodedBatch(torch.arange(begin, end), pooled, states, torch.from_numpy(lengths))

    def text(self, row: int) -> str:
        """The text of a row, read from disk."""
        begin, end = (int(self._text_ends[row - 1]) if row else 0), int(self._text_ends[row])
        return json.loads(self._texts[begin:end].tobytes())[1]

    @classmethod
    def build(
        cls,
        path: str | Path,
        texts: Iterable[tuple[str, str]],
        encoder: Encoder,
        *,
        task: Task,
        total: int | None = None,
        tokens_per_batch: int = 4096,
        show_progress: bool = False,
    ) -> "StateStore":
        """
        Encode texts into a store, or take the one that is there if it holds the same texts by the same encoder.

        An interrupted build goes on after the last shard that was written. The texts are read as they come; memory
        does not grow with their number.

        :param path: The directory.
        :param texts: Identifier and text of each.
        :param encoder: The encoder.
        :param task: Whether they are queries or documents.
        :param total: Their number, for the progress bar.
        :param tokens_per_batch: Upper bound on the tokens of a forward pass, padding included.
        :param show_progress: Show progress and the time left.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        fingerprint = encoder_fingerprint(encoder)
        shards = _shards(texts)
        meta = _read_meta(folder)
        progress = tqdm(total=total, desc=f"Encoding {folder.name}", unit="text", disable=not show_progress)
        fresh: dict[str, Any] = {
            "fingerprint": fingerprint, "task": task, "count": 0, "tokens": 0, "text_bytes": 0, "ends": [],
            "digest": "", "digests": [], "dimension": encoder.dimension, "hidden": encoder.hidden_size,
            "complete": False,
        }  # fmt: skip
        if meta is None or meta["fingerprint"] != fingerprint or meta["task"] != task:
            meta = fresh
        known: list[str] = meta["digests"]
        digest = ""
        number = 0
        for shard in shards:
            digest = hashlib.sha256((digest + json.dumps(shard)).encode()).hexdigest()
            if number < len(known) and known[number] == digest:
                number += 1
                progress.update(len(shard))
                continue
            if number < len(known):
                meta, known = _cut(meta, known, number), known[:number]
            # Until the last shard is written, nobody may take the files for what they were before.
            atomic_write(folder / _META, json.dumps(meta | {"complete": False}))
            meta = _write_shard(folder, meta, shard, encoder, task, tokens_per_batch, progress)
            known = [*known, digest]
            number += 1
            meta |= {"digest": digest, "digests": known, "complete": False}
            atomic_write(folder / _META, json.dumps(meta))
        if number < len(known):
            meta = _cut(meta, known, number)
        progress.close()
        atomic_write(folder / _META, json.dumps(meta | {"digest": digest, "complete": True}))
        return cls(folder)


def encoder_fingerprint(encoder: Encoder) -> str:
    """
    Tells encoders apart by what changes what they say of a text: weights, modules, prompts, greatest length, and the
    layer that is observed; never by their names.

    The whole of every tensor counts: a fine-tuned encoder differs from its origin by little and everywhere. The
    tokenizer is not looked at: it belongs to the weights.
    """
    transformer = encoder.transformer
    modules: list[Any] = [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in transformer]
    settings = [encoder.layer, encoder.dimension, transformer.max_seq_length, transformer.prompts, modules]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(transformer.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _write_shard(
    folder: Path, meta: dict[str, Any], shard: list[tuple[str, str]], encoder: Encoder, task: Task,
    tokens_per_batch: int, progress: tqdm,
) -> dict[str, Any]:  # fmt: skip
    """Append a shard; whatever an interrupted run wrote behind the last complete one is overwritten."""
    pooled = np.empty((len(shard), encoder.dimension), dtype=np.float32)
    states: list[Tensor] = [torch.empty(0)] * len(shard)
    for batch in encoder.encode([text for _, text in shard], task=task, tokens_per_batch=tokens_per_batch):
        pooled[batch.indices.numpy()] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
        own = batch.states.to(torch.float16).cpu().split(batch.lengths.tolist())
        for index, tokens in zip(batch.indices.tolist(), own, strict=True):
            states[index] = tokens
        progress.update(len(batch.indices))
    lengths = np.asarray([len(tokens) for tokens in states], dtype=np.int32)
    count, tokens_before = meta["count"], meta["tokens"]
    _append(folder / _POOLED, pooled.tobytes(), count * encoder.dimension * 4)
    _append(folder / _STATES, torch.cat(states).numpy().tobytes(), tokens_before * encoder.hidden_size * 2)
    _append(folder / _LENGTHS, lengths.tobytes(), count * 4)
    lines = [(json.dumps(pair) + "\n").encode() for pair in shard]
    text_ends = meta["text_bytes"] + np.cumsum([len(line) for line in lines])
    _append(folder / _TEXTS, b"".join(lines), meta["text_bytes"])
    _append(folder / _TEXT_ENDS, text_ends.astype(np.int64).tobytes(), count * 8)
    end = {
        "count": count + len(shard),
        "tokens": tokens_before + int(lengths.sum()),
        "text_bytes": int(text_ends[-1]),
    }
    return meta | end | {"ends": [*meta["ends"], end]}


def _cut(meta: dict[str, Any], digests: list[str], shards: int) -> dict[str, Any]:
    """Forget all but the first shards, and the rows behind them."""
    ends = meta["ends"][:shards]
    end = ends[-1] if ends else {"count": 0, "tokens": 0, "text_bytes": 0}
    return meta | end | {"digests": digests[:shards], "ends": ends}


def _append(path: Path, data: bytes, position: int) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(position)
        file.write(data)
        file.truncate()


def _shards(texts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    iterator = iter(texts)
    while shard := list(islice(iterator, _SHARD)):
        yield shard


def _map(path: Path, dtype: type, shape: tuple[int, int]) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


def _read_meta(folder: Path) -> dict[str, Any] | None:
    path = folder / _META
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def cache_key(encoder: Encoder) -> str:
    """Part of the names of what is kept on disk for an encoder, so that another encoder never finds it."""
    return encoder_fingerprint(encoder)[:8]
