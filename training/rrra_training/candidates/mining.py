"""The k passages that an encoder ranks highest for each query, found with FAISS."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_directory
from rrra_training.corpora.store import StateStore

_QUERIES_AT_ONCE = 4096
_INDEXES = {"exact": "Flat", "ivf": "IVF{lists},Flat", "hnsw": "HNSW32,Flat"}


class MiningConfig(BaseModel):
    """
    How candidates are mined.

    :param top_k: Candidates a query.
    :param index: ``exact``; ``ivf`` or ``hnsw``, which are approximate; ``auto`` is exact up to `exact_up_to` passages
        and HNSW above.
    :param exact_up_to: See `index`.
    :param shard_size: Passages that are indexed at a time; memory does not grow with the corpus beyond this.
    :param nprobe: Lists that IVF searches.
    :param ef_search: Breadth of HNSW's search.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: int = Field(100, gt=0)
    index: Literal["auto", "exact", "ivf", "hnsw"] = "auto"
    exact_up_to: int = Field(2_000_000, ge=0)
    shard_size: int = Field(1_000_000, gt=0)
    nprobe: int = Field(32, gt=0)
    ef_search: int = Field(128, gt=0)


class Mined:
    """
    Candidates of Q queries.

    :param rows: Passages' rows, best first, shape ``[Q, k]``, int64; -1 where there are fewer than k.
    :param scores: Encoder scores (cosines), shape ``[Q, k]``, float32.
    :param left_out: Rows of passages that are no candidates, of each of the Q queries; none if `None`.
    """

    def __init__(self, rows: np.ndarray, scores: np.ndarray, left_out: Sequence[Sequence[int]] | None = None) -> None:
        self.rows = rows
        self.scores = scores
        self.left_out: Sequence[Sequence[int]] = [()] * len(rows) if left_out is None else left_out

    def without(self, left_out: Sequence[Sequence[int]]) -> "Mined":
        """
        The same candidates without some; those behind them move up.

        :param left_out: Rows of passages that are no candidates, of each of the Q queries.
        """
        rows, scores = np.array(self.rows), np.array(self.scores)
        for number, own in enumerate(left_out):
            if len(own) and (kept := ~np.isin(rows[number], own)).sum() < len(kept):
                rows[number] = np.pad(rows[number, kept], (0, (~kept).sum()), constant_values=-1)
                scores[number] = np.pad(scores[number, kept], (0, (~kept).sum()), constant_values=-np.inf)
        return Mined(rows, scores, left_out)


def mine(passages: StateStore, queries: StateStore, config: MiningConfig, *, show_progress: bool = False) -> Mined:
    """
    Search every query in the corpus, one shard of the corpus after the other.

    :param passages: The corpus.
    :param queries: The queries.
    :param config: How to search.
    :param show_progress: Show progress and the time left.
    """
    top_k = min(config.top_k, len(passages))
    rows = np.full((len(queries), top_k), -1, dtype=np.int64)
    scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
    shards = range(0, len(passages), config.shard_size)
    progress = tqdm(total=len(queries) * len(shards), desc="Mining", unit="query", disable=not show_progress)
    for begin in shards:
        embeddings = np.ascontiguousarray(passages.pooled[begin : begin + config.shard_size])
        index = _index(embeddings, _kind(config, len(passages)), config)
        for first in range(0, len(queries), _QUERIES_AT_ONCE):
            block = slice(first, first + _QUERIES_AT_ONCE)
            found_scores, found = index.search(np.ascontiguousarray(queries.pooled[block]), min(top_k, len(embeddings)))
            all_rows = np.concatenate([rows[block], np.where(found >= 0, found + begin, -1)], axis=1)
            all_scores = np.concatenate([scores[block], np.where(found >= 0, found_scores, -np.inf)], axis=1)
            order = np.argsort(-all_scores, axis=1, kind="stable")[:, :top_k]
            rows[block] = np.take_along_axis(all_rows, order, axis=1)
            scores[block] = np.take_along_axis(all_scores, order, axis=1)
            progress.update(len(found))
    progress.close()
    return Mined(rows, scores)


def mine_cached(
    passages: StateStore, queries: StateStore, config: MiningConfig, folder: Path, *, show_progress: bool = False
) -> Mined:
    """
    As :func:`mine`, kept on disk under a name made of the texts, the weights and the configuration.

    :param passages: The corpus.
    :param queries: The queries.
    :param config: How to search.
    :param folder: Where results are kept.
    :param show_progress: Show progress and the time left.
    """
    parts = (passages.digest, queries.digest, passages.fingerprint, queries.fingerprint, config.model_dump_json())
    path = folder / f"mined-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"
    if not path.exists():
        mined = mine(passages, queries, config, show_progress=show_progress)
        with atomic_directory(path) as work:
            np.save(work / "rows.npy", mined.rows)
            np.save(work / "scores.npy", mined.scores)
    return Mined(np.load(path / "rows.npy", mmap_mode="r"), np.load(path / "scores.npy", mmap_mode="r"))


def _kind(config: MiningConfig, passages: int) -> str:
    if config.index != "auto":
        return config.index
    return "exact" if passages <= config.exact_up_to else "hnsw"


def _index(embeddings: np.ndarray, kind: str, config: MiningConfig) -> faiss.Index:
    lists = max(int(4 * np.sqrt(len(embeddings))), 1)
    # FAISS asks for 39 training vectors a list.
    lists = min(lists, max(len(embeddings) // 39, 1))
    index: Any = faiss.index_factory(
        embeddings.shape[1], _INDEXES[kind].format(lists=lists), faiss.METRIC_INNER_PRODUCT
    )
    if kind == "ivf":
        index.train(embeddings)
        index.nprobe = config.nprobe
    if kind == "hnsw":
        index.hnsw.efSearch = config.ef_search
    index.add(embeddings)
    return index
