"""
How fast documents are embedded and candidates reranked on this machine.

``python -m rrra_training.studies.speed --data DIR`` embeds the first passages of a corpus with `RRRADocumentEmbedder`,
codes included, and with `SentenceTransformersDocumentEmbedder` in its defaults, in turns; then it reranks 100
candidates of 200 tokens for a query of 12.
"""

import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pybase64
import torch
import typer
from haystack import Document
from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersDocumentEmbedder

from haystack_integrations.components.embedders.rrra import RRRADocumentEmbedder
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import MINILM, resolve_encoder
from rrra_training.data import BeirDataset


def embedding_speed(data: Path, *, passages: int, rounds: int) -> dict[str, float]:
    """
    Texts a second of both embedders, the median of some rounds in which they take turns.

    :param data: A folder in the BEIR layout.
    :param passages: How many passages are embedded in each round.
    :param rounds: How many rounds.
    """
    documents = [
        Document(id=passage.id, content=passage.title_and_text)
        for passage in islice(BeirDataset(data).passages(), passages)
    ]
    ours = RRRADocumentEmbedder(progress_bar=False)
    theirs = SentenceTransformersDocumentEmbedder(model=resolve_encoder(MINILM), progress_bar=False)
    speeds: dict[str, list[float]] = {"RRRADocumentEmbedder": [], "SentenceTransformersDocumentEmbedder": []}
    for embedder in (ours, theirs):
        embedder.warm_up()
        embedder.run(documents[:64])
    for _ in range(rounds):
        for embedder in (ours, theirs):
            begin = time.perf_counter()
            embedder.run(documents)
            speeds[type(embedder).__name__].append(len(documents) / (time.perf_counter() - begin))
    return {name: float(np.median(values)) for name, values in speeds.items()}


def reranking_time(kind: Any, *, token_dim: int, candidates: int = 100, tokens: int = 200) -> dict[str, float]:
    """
    Milliseconds to judge a candidate list from its codes as text, decoding included, with random codes.

    :param kind: Kind of the codes.
    :param token_dim: Dimensions of a token state.
    :param candidates: Length of the list.
    :param tokens: Tokens of each candidate.
    """
    model = RRRAModel.shared(MINILM)
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    if token_dim != model.config.adapter.token_dim:
        adapter = model.config.adapter.model_copy(update={"token_dim": token_dim})
        model = RRRAModel(model.encoder, model.config.model_copy(update={"adapter": adapter}))
    records = model.codec(kind).pack(
        torch.randn(candidates, model.encoder.dimension),
        torch.randn(candidates * tokens, token_dim),
        torch.full((candidates,), tokens),
        [_drawn_words(generator, tokens * 2 // 3) for _ in range(candidates)],
    )
    codes = [pybase64.b64encode_as_string(record) for record in records]
    query = QueryEncoding(
        embedding=torch.randn(model.encoder.dimension),
        states=torch.randn(12, token_dim),
        hidden=torch.randn(12, model.encoder.hidden_size),
        words=_drawn_words(generator, 10),
    )
    times = _times(lambda: model.score(query, codes))
    return {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95)), "bytes": len(codes[0])}


def _drawn_words(generator: np.random.Generator, count: int) -> np.ndarray:
    """Words in no order, of which some repeat and some are the query's."""
    return generator.integers(1000, size=count, dtype=np.uint16)


def _times(call: Callable[[], Any], warm_up: int = 20, repeats: int = 200) -> list[float]:
    times = []
    for i in range(warm_up + repeats):
        begin = time.perf_counter()
        call()
        if i >= warm_up:
            times.append((time.perf_counter() - begin) * 1000)
    return times


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    passages: Annotated[int, typer.Option(min=64, help="Passages embedded in each round.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
) -> None:
    """Measure how fast documents are embedded and candidates reranked on this machine."""
    speeds = embedding_speed(data, passages=passages, rounds=rounds)
    ours, theirs = speeds.values()
    result = {
        "threads": torch.get_num_threads(),
        "texts_per_second": speeds,
        "ratio": ours / theirs,
        "rerank_ms": {
            f"{kind}, {dim} dimensions": reranking_time(kind, token_dim=dim)
            for kind in ("1bit", "int8")
            for dim in (384, 128)
        },
    }
    typer.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    typer.run(main)
