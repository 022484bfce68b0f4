"""Measure the encoder alone, the token match alone and RRRA on retrieval data."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pybase64
import torch
from rich.table import Table
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.adapter import Observation, StateTokens
from rrra_haystack.codes import CodeBatch, CodeKind, TokenCodec
from rrra_haystack.model import QueryEncoding, RRRAModel
from rrra_haystack.scoring import reranking_score
from rrra_haystack.segments import Segments
from rrra_training.data import BeirDataset, Query
from rrra_training.metrics import MEASURES, mean, paired_interval, per_query

TOP_K = 100

_KINDS = ("1bit", "int8", "float32")
_PERCENTILES = (50, 95)


@dataclass
class Corpus:
    """
    An encoded corpus.

    :param ids: Passage ids, in the order of the rows.
    :param pooled: Pooled embeddings of length 1, shape ``[N, d]``, float32.
    :param codes: Token codes as base64 text, one a passage, by kind.
    :param states: Projected token states before quantisation, shape ``[T, h]``, if they were asked for.
    :param spans: First and last row of each passage in `states`, shape ``[N, 2]``.
    """

    ids: list[str]
    pooled: np.ndarray
    codes: dict[CodeKind, list[str]]
    states: np.ndarray | None = None
    spans: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))


def evaluate(
    data: str | Path,
    *,
    model: str | RRRAModel,
    split: str = "test",
    codes: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> dict[str, Any]:
    """
    Measure a model: exact retrieval of the top 100 from the whole corpus, then reranking of these.

    :param data: A folder in the BEIR layout.
    :param model: A model, or what :meth:`RRRAModel.load` takes.
    :param split: Which queries.
    :param codes: Kinds of token codes to rerank from: ``1bit``, ``int8``, and ``float32`` for token states as they
        are. The first is reported as ``match`` and ``rrra``, further ones as ``match-KIND`` and ``rrra-KIND``. The
        model's own kind if `None`.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw and of the bootstrap.
    :param show_progress: Show progress and the time left.
    :returns: Fractions between 0 and 1, milliseconds, and bytes; ``docs/evaluation.md`` describes the keys.
    :raises ValueError: If the split or a kind of codes is unknown, or the split has no queries.
    """
    dataset = BeirDataset(data)
    queries = dataset.queries(split, limit=limit, seed=seed)
    if not queries:
        msg = f"The split '{split}' of {dataset.folder} has no queries."
        raise ValueError(msg)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    kinds = list(codes) if codes else [loaded.config.code]
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        msg = f"Unknown kind of codes {unknown[0]!r}; the kinds are {', '.join(_KINDS)}."
        raise ValueError(msg)

    with tempfile.TemporaryDirectory(prefix="rrra-evaluate-") as scratch:
        corpus = encode_corpus(loaded, dataset, kinds, Path(scratch), show_progress=show_progress)
        encodings = encode_queries(loaded, queries, show_progress=show_progress)
        runs, timings = _run(loaded, corpus, queries, encodings, kinds, show_progress=show_progress)
    qrels = dataset.qrels(split)
    judged = {query.id: qrels[query.id] for query in queries}
    measured = {name: per_query(judged, run) for name, run in runs.items()}
    return {
        "dataset": dataset.name,
        "split": split,
        "model": model if isinstance(model, str) else loaded.config.encoder,
        "queries": len(queries),
        "documents": len(corpus.ids),
        "seed": seed,
        "systems": {name: mean(values) for name, values in measured.items()},
        "intervals": {
            name: {
                measure: paired_interval(values[measure], measured["encoder"][measure], seed=seed)
                for measure in ("R@1", "nDCG@10")
            }
            for name, values in measured.items()
            if name != "encoder"
        },
        "latency_ms": {
            name: {f"p{p}": float(np.percentile(times, p)) for p in _PERCENTILES} for name, times in timings.items()
        },
        "bytes_per_document": {
            "embedding": loaded.encoder.dimension * 4,
            **{"codes" if i == 0 else f"codes-{kind}": _stored_bytes(corpus, kind) for i, kind in enumerate(kinds)},
        },
    }


def encode_corpus(
    model: RRRAModel, dataset: BeirDataset, kinds: Sequence[str], scratch: Path, *, show_progress: bool
) -> Corpus:
    """
    Encode a corpus once, into every kind of codes that is asked for.

    :param model: The model.
    :param dataset: The data.
    :param kinds: Kinds of codes; ``float32`` keeps the token states in a file in `scratch`.
    :param scratch: A directory for what does not fit into memory.
    :param show_progress: Show progress and the time left.
    """
    passages = list(dataset.passages())
    count = len(passages)
    pooled = np.empty((count, model.encoder.dimension), dtype=np.float32)
    codecs: dict[CodeKind, TokenCodec] = {
        kind: model.codec(kind)  # type: ignore[arg-type, misc]  # the other kinds are those of a codec
        for kind in kinds
        if kind != "float32"
    }
    codes: dict[CodeKind, list[str]] = {kind: [""] * count for kind in codecs}
    spans = np.zeros((count, 2), dtype=np.int64)
    states_file = scratch / "states.f32"
    written = 0
    with states_file.open("wb") as file:
        batches = model.encoder.encode(
            [passage.title_and_text for passage in passages],
            task="document",
            tokens_per_batch=4096,
            show_progress_bar=show_progress,
        )
        for batch in batches:
            indices = batch.indices.numpy()
            pooled[indices] = nn.functional.normalize(batch.pooled, dim=-1).cpu().numpy()
            states = model.project(batch.states)
            for kind, codec in codecs.items():
                for index, record in zip(indices, codec.pack(batch.pooled, states, batch.lengths), strict=True):
                    codes[kind][index] = pybase64.b64encode_as_string(record)
            if "float32" in kinds:
                ends = written + np.cumsum(batch.lengths.cpu().numpy())
                spans[indices] = np.stack([ends - batch.lengths.cpu().numpy(), ends], axis=1)
                nn.functional.normalize(states, dim=-1).cpu().numpy().tofile(file)
                written = int(ends[-1])
    states_map = None
    if "float32" in kinds:
        shape = (written, model.config.adapter.token_dim)
        states_map = np.memmap(states_file, dtype=np.float32, mode="r", shape=shape)
    return Corpus([passage.id for passage in passages], pooled, codes, states_map, spans)


def encode_queries(model: RRRAModel, queries: Sequence[Query], *, show_progress: bool = False) -> list[QueryEncoding]:
    """Encode queries in batches, in their order."""
    encodings: list[QueryEncoding | None] = [None] * len(queries)
    texts = [query.text for query in queries]
    for batch in model.encoder.encode(texts, task="query", show_progress_bar=show_progress):
        lengths = batch.lengths.tolist()
        hidden = batch.states.float().cpu().split(lengths)
        states = model.project(batch.states).cpu().split(lengths)
        for index, embedding, own, whole in zip(
            batch.indices.tolist(), batch.pooled.cpu(), states, hidden, strict=True
        ):
            encodings[index] = QueryEncoding(embedding=embedding, states=own, hidden=whole)
    return [encoding for encoding in encodings if encoding is not None]


def _run(
    model: RRRAModel,
    corpus: Corpus,
    queries: Sequence[Query],
    encodings: Sequence[QueryEncoding],
    kinds: Sequence[str],
    *,
    show_progress: bool,
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, list[float]]]:
    """Retrieve and rerank, one query at a time as an application would, with times in milliseconds."""
    index = faiss.IndexFlatIP(corpus.pooled.shape[1])
    index.add(corpus.pooled)
    suffixes = {kind: "" if i == 0 else f"-{kind}" for i, kind in enumerate(kinds)}
    runs: dict[str, dict[str, dict[str, float]]] = {"encoder": {}}
    timings: dict[str, list[float]] = {"retrieve": []}
    for suffix in suffixes.values():
        runs |= {f"match{suffix}": {}, f"rrra{suffix}": {}}
        timings[f"rerank{suffix}"] = []
    progress = tqdm(queries, desc="Reranking", unit="query", disable=not show_progress)
    for query, encoding in zip(progress, encodings, strict=True):
        unit = nn.functional.normalize(encoding.embedding, dim=-1).numpy()[None]
        (base, rows), elapsed = _timed(partial(index.search, unit, min(TOP_K, len(corpus.ids))))
        timings["retrieve"].append(elapsed)
        top = rows[0]
        ids = [corpus.ids[row] for row in top]
        runs["encoder"][query.id] = _scores(ids, base[0])
        for kind, suffix in suffixes.items():
            if kind == "float32":
                (fused, match), elapsed = _timed(partial(_rank_by_states, model, corpus, encoding, top, base[0]))
            else:
                codes = [corpus.codes[kind][row] for row in top]  # type: ignore[index]  # the other kinds are codes
                (fused, batch), elapsed = _timed(partial(_rank_by_codes, model, codes, encoding))
                match = batch.match(encoding.states)
            timings[f"rerank{suffix}"].append(elapsed)
            runs[f"rrra{suffix}"][query.id] = _scores(ids, fused)
            runs[f"match{suffix}"][query.id] = _scores(ids, match.mean(dim=1).numpy())
    return runs, timings


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - begin) * 1000


def _scores(ids: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    return dict(zip(ids, map(float, scores), strict=True))


def _rank_by_codes(model: RRRAModel, codes: list[str], encoding: QueryEncoding) -> tuple[np.ndarray, CodeBatch]:
    batch = model.read_codes(codes)
    return model.score(encoding, batch).fused, batch


def _rank_by_states(
    model: RRRAModel, corpus: Corpus, encoding: QueryEncoding, top: np.ndarray, base: np.ndarray
) -> tuple[np.ndarray, Tensor]:
    """The score from token states that were never quantised, to see what the codes cost."""
    assert corpus.states is not None
    query_tokens = nn.functional.normalize(encoding.states, dim=-1)
    spans = corpus.spans[top]
    states = torch.from_numpy(np.concatenate([corpus.states[begin:end] for begin, end in spans]))
    tokens = StateTokens(states, Segments(spans[:, 1] - spans[:, 0]))
    with torch.inference_mode():
        contexts = torch.from_numpy(corpus.pooled[top])
        hidden = nn.functional.normalize(encoding.hidden, dim=-1)
        judged = model.adapter(Observation(encoding.embedding, contexts, query_tokens, tokens, hidden))
        match = tokens.segments.maximum(tokens.similarity(query_tokens)).T
    return reranking_score(torch.from_numpy(base), judged.adapter, model.config.fusion_weight).numpy(), match


def _stored_bytes(corpus: Corpus, kind: str) -> float:
    if kind == "float32":
        assert corpus.states is not None
        return corpus.states.nbytes / len(corpus.ids)
    return float(np.mean([len(code) for code in corpus.codes[kind]]))  # type: ignore[index]


def render(result: dict[str, Any]) -> Table:
    """The figures as a table, in percent."""
    title = (
        f"{result['dataset']} {result['split']}: {result['queries']} queries, {result['documents']} documents, "
        f"seed {result['seed']}"
    )
    table = Table(title=title, title_justify="left", caption=_caption(result), caption_justify="left")
    table.add_column("system")
    for name in MEASURES:
        table.add_column(name, justify="right")
    table.add_column("nDCG@10 over encoder (95 %)", justify="right")
    for system, values in result["systems"].items():
        low, high = result["intervals"].get(system, {}).get("nDCG@10", (None, None))
        interval = "" if low is None else f"{low * 100:+.1f} .. {high * 100:+.1f}"
        table.add_row(system, *(f"{values[name] * 100:.1f}" for name in MEASURES), interval)
    return table


def _caption(result: dict[str, Any]) -> str:
    times = [f"{name} {times['p50']:.1f} ms (p95 {times['p95']:.1f})" for name, times in result["latency_ms"].items()]
    sizes = [f"{name} {size:,.0f} bytes" for name, size in result["bytes_per_document"].items()]
    return "; ".join(times) + "\na document: " + ", ".join(sizes)
