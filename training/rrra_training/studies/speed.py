"""
How fast documents are embedded and candidates reranked on this machine.

``python -m rrra_training.studies.speed`` times the kernel that compares token codes against a product of floats,
encodes questions, and reranks 100 candidates of 200 tokens, alone and beside a process that keeps a core busy. With
``--data DIR`` it first embeds passages of a corpus with `RRRADocumentEmbedder`, codes included, and with
`SentenceTransformersDocumentEmbedder` in its defaults, in turns. With ``--model NAME`` it reranks with these models
alone, from codes of their own kind.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import numkong
import numpy as np
import torch
import typer
from haystack import Document
from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersDocumentEmbedder

from haystack_integrations.components.embedders.rrra import RRRADocumentEmbedder
from haystack_integrations.components.rankers.rrra import RRRAAdapterRanker
from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.model.codes.kernel import KERNEL, float32_product
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL, MINILM, resolve_encoder
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.runs.machine import processor_name
from rrra_training.studies.shared_cores import busy_process

_CANDIDATES = 100
_TOKENS = 200
_QUESTION = "In what year did the old king first cross the wide river?"


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


def kernel_speed(token_dim: int, *, repeats: int) -> dict[str, float]:
    """
    Milliseconds of the product of int8 matrices by the kernel in use, and by floats, to which the rows are converted:
    15,000 tokens of candidates and 12 of a query.

    :param token_dim: Dimensions of a token state.
    :param repeats: How many calls are timed.
    """
    torch.manual_seed(0)
    values = torch.randint(-127, 128, (15_000, token_dim), dtype=torch.int8)
    query = torch.randint(-127, 128, (12, token_dim), dtype=torch.int8)
    kernel = float(np.median(_times(lambda: KERNEL.product(values, query), repeats)))
    floats = float(np.median(_times(lambda: float32_product(values, query), repeats)))
    return {"kernel": kernel, "float32": floats, "ratio": floats / kernel}


def question_time(*, repeats: int) -> dict[str, float]:
    """
    Milliseconds to encode a question, in turns: as a model runs if nothing else is asked for, and all in float32.

    :param repeats: How many questions are timed of each.
    """
    models = {
        "default": RRRAModel.load(MINILM),
        "float32": RRRAModel.load(MINILM, model_kwargs={"dtype": torch.float32}),
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    # No two are alike: a model remembers its last questions.
    for number in range(repeats // 10 + repeats):
        for name, model in models.items():
            begin = time.perf_counter()
            model.encode_query(_QUESTION.replace("old", str(number)))
            times[name].append((time.perf_counter() - begin) * 1000)
    return {name: float(np.median(values[repeats // 10 :])) for name, values in times.items()}


def untrained_time(kind: CodeKind, *, token_dim: int, repeats: int) -> dict[str, float]:
    """
    Milliseconds to judge a candidate list without a trained adapter, from random codes as text, decoding included.

    :param kind: Kind of the codes.
    :param token_dim: Dimensions of a token state.
    :param repeats: How many calls are timed.
    """
    model = RRRAModel.shared(MINILM)
    if token_dim != model.config.adapter.token_dim:
        adapter = model.config.adapter.model_copy(update={"token_dim": token_dim})
        model = RRRAModel(model.encoder, model.config.model_copy(update={"adapter": adapter}))
    codes = _drawn_codes(model, kind)
    query = QueryEncoding(
        embedding=torch.randn(model.encoder.dimension),
        states=torch.randn(12, token_dim),
        hidden=torch.randn(12, model.encoder.hidden_size),
        words=_drawn_words(np.random.default_rng(1), 10),
    )
    return _percentiles(lambda: model.score(query, codes), repeats) | {"bytes": len(codes[0])}


def ranker_time(kinds: Sequence[CodeKind], *, repeats: int, model: str = DEFAULT_MODEL) -> dict[str, dict[str, float]]:
    """
    Milliseconds of a model: its scorer alone, from codes as text, and the whole run of the ranker.

    :param kinds: Kinds of the codes, which the candidates have in turns.
    :param repeats: How many calls are timed.
    :param model: The model.
    """
    ranker = RRRAAdapterRanker(model)
    ranker.warm_up()
    loaded = RRRAModel.shared(model)
    drawn = [_drawn_codes(loaded, kind) for kind in kinds]
    codes = [drawn[number % len(kinds)][number] for number in range(_CANDIDATES)]
    documents = [
        Document(id=str(number), content="word " * _TOKENS, meta={CODES_KEY: code}, score=0.5)
        for number, code in enumerate(codes)
    ]
    query = loaded.encode_query(_QUESTION)

    def run() -> None:
        ranker.run(query=_QUESTION, documents=documents)

    found = {"scorer": _percentiles(lambda: loaded.score(query, codes), repeats), "run": _percentiles(run, repeats)}
    with busy_process():
        return found | {"run beside a busy process": _percentiles(run, repeats)}


def _own_time(model: str, *, repeats: int) -> dict[str, Any]:
    config = RRRAModel.shared(model).config
    times = ranker_time([config.code], repeats=repeats, model=model)
    return {"code": config.code, "token_dim": config.adapter.token_dim, **times}


def processor() -> dict[str, Any]:
    """What the libraries find in the processor, and the kernel that is chosen."""
    return {
        "name": processor_name(),
        "features": [feature for feature, there in numkong.get_capabilities().items() if there],
        "kernel": f"{KERNEL.name}: {KERNEL.reason}",
        "torch": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
    }


def _drawn_codes(model: RRRAModel, kind: CodeKind) -> list[str]:
    """Codes of random token states, as base64 text."""
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    codec = model.codec(kind)
    return codec.pack(
        torch.randn(_CANDIDATES, codec.pooled_dim),
        torch.randn(_CANDIDATES * _TOKENS, codec.token_dim),
        torch.full((_CANDIDATES,), _TOKENS),
        [_drawn_words(generator, _TOKENS * 2 // 3) for _ in range(_CANDIDATES)],
    )


def _percentiles(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    times = _times(call, repeats)
    return {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}


def _drawn_words(generator: np.random.Generator, count: int) -> np.ndarray:
    """Words in no order, of which some repeat and some are the query's."""
    return generator.integers(1000, size=count, dtype=np.uint16)


def _times(call: Callable[[], Any], repeats: int) -> list[float]:
    warm_up = repeats // 10
    times = []
    for i in range(warm_up + repeats):
        begin = time.perf_counter()
        call()
        if i >= warm_up:
            times.append((time.perf_counter() - begin) * 1000)
    return times


def main(
    data: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A folder in the BEIR layout, to embed from.")
    ] = None,
    passages: Annotated[int, typer.Option(min=64, help="Passages embedded in each round.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Calls that are timed of whatever reranks.")] = 200,
    model: Annotated[list[str], typer.Option(help="Rerank with these models alone.")] = [],  # noqa: B006  (typer asks for a list)
) -> None:
    """Measure how fast candidates are reranked on this machine, and documents embedded."""
    result: dict[str, Any] = {"processor": processor()}
    if data is not None:
        speeds = embedding_speed(data, passages=passages, rounds=rounds)
        ours, theirs = speeds.values()
        result |= {"texts_per_second": speeds, "ratio": ours / theirs}
    if model:
        result["models_ms"] = {name: _own_time(name, repeats=repeats) for name in model}
        typer.echo(json.dumps(result, indent=2))
        return
    result["kernel_ms"] = {f"{dim} dimensions": kernel_speed(dim, repeats=repeats) for dim in (128, 384)}
    result["question_ms"] = question_time(repeats=repeats)
    result["untrained_ms"] = {
        f"{kind}, {dim} dimensions": untrained_time(kind, token_dim=dim, repeats=repeats)
        for kind in get_args(CodeKind)
        for dim in (384, 128)
    }
    lists: list[tuple[CodeKind, ...]] = [*((kind,) for kind in get_args(CodeKind)), ("int8", "2bit")]
    result["bundled_ms"] = {" and ".join(kinds): ranker_time(kinds, repeats=repeats) for kinds in lists}
    typer.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_command(main)
