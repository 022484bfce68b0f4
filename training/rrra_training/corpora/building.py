"""Encodes a corpus into shards on disk, and goes on where it was interrupted."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.files import write_json
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encoder_kinds import Task
from rrra_training.corpora.fingerprint import cache_key, encoder_fingerprint
from rrra_training.corpora.store import LENGTHS, META, POOLED, STATES, TEXT_ENDS, TEXTS, StateStore, read_meta
from rrra_training.data import Passage

# Texts that are encoded and written together: what an interruption costs at most.
_SHARD = 4096
# Padding included.
_TOKENS_PER_BATCH = 4096


def encoded_passages(
    name: str,
    passages: Iterable[Passage],
    encoder: Encoder,
    cache: Path,
    *,
    total: int | None = None,
    show_progress: bool = False,
) -> StateStore:
    """
    Encode a corpus, or take it from the cache if it was encoded by the same encoder.

    :param name: Name of the data.
    :param passages: The corpus.
    :param encoder: The encoder.
    :param cache: Where stores are kept.
    :param total: How many passages there are, if that is known.
    :param show_progress: Show progress and the time left.
    """
    return build_store(
        cache / f"{name}-passages-{cache_key(encoder)}",
        ((passage.id, passage.title_and_text) for passage in passages),
        encoder,
        task="document",
        total=total,
        show_progress=show_progress,
    )


def build_store(
    path: str | Path,
    texts: Iterable[tuple[str, str]],
    encoder: Encoder,
    *,
    task: Task,
    total: int | None = None,
    show_progress: bool = False,
) -> StateStore:
    """
    Encode texts into a store, or take the one that is there if it holds the same texts by the same encoder.

    An interrupted build goes on after the last shard that was written. The texts are read as they come; memory
    does not grow with their number.

    :param path: The directory.
    :param texts: Identifier and text of each.
    :param encoder: The encoder.
    :param task: Whether they are queries or documents.
    :param total: Their number, for the progress bar.
    :param show_progress: Show progress and the time left.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint = encoder_fingerprint(encoder)
    shards = _shards_of(texts)
    meta = read_meta(folder)
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
            meta, known = _cut_to(meta, known, number), known[:number]
        # Until the last shard is written, nobody may take the files for what they were before.
        write_json(folder / META, meta | {"complete": False})
        meta = _write_shard(folder, meta, shard, encoder, task, progress)
        known = [*known, digest]
        number += 1
        meta |= {"digest": digest, "digests": known, "complete": False}
        write_json(folder / META, meta)
    if number < len(known):
        meta = _cut_to(meta, known, number)
    progress.close()
    write_json(folder / META, meta | {"digest": digest, "complete": True})
    return StateStore(folder)


def _write_shard(
    folder: Path, meta: dict[str, Any], shard: list[tuple[str, str]], encoder: Encoder, task: Task,
    progress: tqdm,
) -> dict[str, Any]:  # fmt: skip
    """Append a shard; whatever an interrupted run wrote behind the last complete one is overwritten."""
    pooled = np.empty((len(shard), encoder.dimension), dtype=np.float32)
    states: list[Tensor] = [torch.empty(0)] * len(shard)
    for batch in encoder.encode([text for _, text in shard], task=task, tokens_per_batch=_TOKENS_PER_BATCH):
        pooled[batch.indices.numpy()] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
        own = _half(batch.states).cpu().split(batch.lengths.tolist())
        for index, tokens in zip(batch.indices.tolist(), own, strict=True):
            states[index] = tokens
        progress.update(len(batch.indices))
    lengths = np.asarray([len(tokens) for tokens in states], dtype=np.int32)
    count, tokens_before = meta["count"], meta["tokens"]
    _append(folder / POOLED, pooled.tobytes(), count * encoder.dimension * 4)
    _append(folder / STATES, torch.cat(states).numpy().tobytes(), tokens_before * encoder.hidden_size * 2)
    _append(folder / LENGTHS, lengths.tobytes(), count * 4)
    lines = [(json.dumps(pair) + "\n").encode() for pair in shard]
    text_ends = meta["text_bytes"] + np.cumsum([len(line) for line in lines])
    _append(folder / TEXTS, b"".join(lines), meta["text_bytes"])
    _append(folder / TEXT_ENDS, text_ends.astype(np.int64).tobytes(), count * 8)
    end = {
        "count": count + len(shard),
        "tokens": tokens_before + int(lengths.sum()),
        "text_bytes": int(text_ends[-1]),
    }
    return meta | end | {"ends": [*meta["ends"], end]}


def _half(states: Tensor) -> Tensor:
    """Token states in float16; those that are too large for it are shortened, for their lengths do not matter."""
    excess = states.abs().amax(dim=1, keepdim=True) / torch.finfo(torch.float16).max
    return (states / excess.clamp_min(1)).to(torch.float16)


def _cut_to(meta: dict[str, Any], digests: list[str], shards: int) -> dict[str, Any]:
    """Forget all but the first shards, and the rows behind them."""
    ends = meta["ends"][:shards]
    end = ends[-1] if ends else {"count": 0, "tokens": 0, "text_bytes": 0}
    return meta | end | {"digests": digests[:shards], "ends": ends}


def _append(path: Path, data: bytes, position: int) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(position)
        file.write(data)
        file.truncate()


def _shards_of(texts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Cut a stream of texts into shards."""
    iterator = iter(texts)
    while shard := list(islice(iterator, _SHARD)):
        yield shard
