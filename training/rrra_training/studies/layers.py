"""Which hidden layer of an encoder matches best, untrained: one pass over each corpus, all layers side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from rrra_haystack.files import atomic_write
from rrra_haystack.model.codes.kinds import CodeKind, kind_named
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import query_word_codes, word_codes
from rrra_training.data import Query
from rrra_training.data.beir import collections_of
from rrra_training.data.rows import drawn
from rrra_training.evaluation.collection import Collection
from rrra_training.evaluation.splits import check_split
from rrra_training.evaluation.stages import EncoderStage, encode_queries
from rrra_training.measures.markdown import markdown_table
from rrra_training.measures.ranking import per_query
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import TablesFile

_MEASURE = "nDCG@10"
_HEAD = ("set", "queries", "encoder", "layer", "token match", "untrained", "alikeness", "peak")
_CANDIDATES = 100
# Tokens that the scale of the states is told from.
_SAMPLE = 4096

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Layer:
    """
    What a layer gives on one collection.

    :param match: nDCG@10 of the token match alone.
    :param untrained: nDCG@10 of the untrained form.
    :param alikeness: Mean cosine of two tokens of the corpus: how much all token states have in common.
    :param peak: Share of the largest dimension in the squares of all.
    """

    match: float
    untrained: float
    alikeness: float
    peak: float


@app.command()
def main(
    model: str,
    data: list[str],
    layer: Annotated[list[int], typer.Option(help="Hidden layers; -1 is the last.")] = [-1, -2, -3, -4],  # noqa: B006  (typer asks for a list)
    code: Annotated[str, typer.Option(help="Kind of the token codes.")] = "1bit",
    limit: Annotated[int | None, typer.Option(help="Draw this many queries of each split.")] = None,
    output: TablesFile = None,
) -> None:
    """
    Measure the token match of some layers, alone and in the untrained form, over the encoder's first 100 passages.

    :param model: An encoder.
    :param data: Collections in the BEIR layout, each as ``FOLDER:SPLIT``; splits of one folder count together.
    """
    kind = kind_named(code)
    folders: dict[Path, list[str]] = {}
    for folder, split in collections_of(data, "dev"):
        folders.setdefault(folder, []).append(split)
    collections = [_collection(folder, splits, limit) for folder, splits in folders.items()]
    observed = LayeredEncoder(model, layer)
    rows = []
    for collection in collections:
        alone, layers = measure(observed, collection, kind)
        for number, found in zip(layer, layers, strict=True):
            figures = [f"{100 * one:.1f}" for one in (found.match, found.untrained)]
            scale = [f"{one:.3f}" for one in (found.alikeness, found.peak)]
            measured = [str(len(collection.queries)), f"{100 * alone:.1f}", str(number), *figures, *scale]
            rows.append([collection.name, *measured])
    text = markdown_table(_HEAD, rows) + "\n"
    typer.echo(text)
    if output is not None:
        atomic_write(output, text)


class LayeredEncoder:
    """
    An encoder whose token states are those of several layers, side by side.

    :param model: The encoder.
    :param layers: The hidden layers.
    """

    def __init__(self, model: str, layers: Sequence[int]) -> None:
        self.layers = tuple(layers)
        # Any layer but the last makes the transformer give all of them.
        self.encoder = Encoder(model, layer=-2)
        self.model = RRRAModel.untrained(self.encoder)
        self.encoder.transformer[0].register_forward_hook(self._beside)

    def split(self, states: Tensor) -> list[Tensor]:
        """The states of each layer, shape ``[T, hidden]``, out of those of all, shape ``[T, layers * hidden]``."""
        return list(states.float().chunk(len(self.layers), dim=-1))

    def _beside(self, _module: nn.Module, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        every = features["all_layer_embeddings"]
        # The last but one is what the encoder reads.
        features["all_layer_embeddings"] = (torch.cat([every[layer] for layer in self.layers], dim=-1), every[-1])
        return features


def measure(observed: LayeredEncoder, collection: Collection, code: CodeKind) -> tuple[float, list[Layer]]:
    """
    Measure the encoder alone, and each layer over what it retrieves.

    :param observed: The encoder.
    :param collection: The collection.
    :param code: Kind of the token codes.
    :returns: nDCG@10 of the encoder alone, and what each layer gives.
    """
    untrained = observed.model
    matching = RRRAModel(untrained.encoder, untrained.config.model_copy(update={"lexical_weight": 0.0}))
    pooled, codes, samples = _encoded(observed, collection, code)
    stage = EncoderStage(pooled, encode_queries(observed.encoder, collection.queries, show_progress=True), _CANDIDATES)
    names = ["encoder", *(f"{form} {layer}" for layer in observed.layers for form in ("match", "untrained"))]
    runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    for query in stage.queries:
        scores, rows = stage.retrieve(query)
        ids = [collection.ids[row] for row in rows]
        runs["encoder"][query.query.id] = dict(zip(ids, scores.tolist(), strict=True))
        for layer, own, states in zip(observed.layers, codes, observed.split(query.hidden), strict=True):
            words = query_word_codes(query.query.text)
            encoded = QueryEncoding(query.pooled, untrained.project(states), states, words)
            candidates = untrained.read_codes([own[row] for row in rows])
            match = matching.score(encoded, candidates).adapter
            fused = untrained.score(encoded, candidates).fused
            runs[f"match {layer}"][query.query.id] = dict(zip(ids, match.tolist(), strict=True))
            runs[f"untrained {layer}"][query.query.id] = dict(zip(ids, fused.tolist(), strict=True))
    value = {name: float(per_query(collection.judged, run)[_MEASURE].mean()) for name, run in runs.items()}
    return value["encoder"], [
        Layer(value[f"match {layer}"], value[f"untrained {layer}"], *scale_of(sample))
        for layer, sample in zip(observed.layers, samples, strict=True)
    ]


def scale_of(states: Tensor) -> tuple[float, float]:
    """
    How much token states have in common, and how much of them their largest dimension holds.

    :param states: Shape ``[T, hidden]``.
    :returns: The mean cosine of two tokens, and the share of the largest dimension in the squares of all.
    """
    unit = nn.functional.normalize(states, dim=-1)
    # The square of the mean's length is the mean cosine of all pairs, each token's with itself among them.
    alike = float(unit.mean(dim=0).square().sum())
    squares = unit.square().mean(dim=0)
    return alike, float(squares.max() / squares.sum())


def _encoded(
    observed: LayeredEncoder, collection: Collection, code: CodeKind
) -> tuple[np.ndarray, list[list[str]], list[Tensor]]:
    """Embeddings of the corpus, of length 1; the token codes of each layer; and a sample of its token states."""
    encoder, model = observed.encoder, observed.model
    codec = model.codec(code)
    pooled = np.empty((len(collection.texts), encoder.dimension), dtype=np.float32)
    codes = [[""] * len(collection.texts) for _ in observed.layers]
    samples: list[Tensor] = []
    for batch in encoder.encode(collection.texts, task="document", tokens_per_batch=4096, show_progress_bar=True):
        indices = batch.indices.tolist()
        pooled[indices] = nn.functional.normalize(batch.pooled, dim=-1).numpy()
        words = [word_codes(collection.texts[index]) for index in indices]
        layers = observed.split(batch.states)
        samples = samples or [states[:_SAMPLE] for states in layers]
        for own, states in zip(codes, layers, strict=True):
            records = codec.pack(batch.pooled, model.project(states), batch.lengths, words)
            for index, record in zip(indices, records, strict=True):
                own[index] = record
    return pooled, codes, samples


def _collection(folder: Path, splits: Sequence[str], limit: int | None) -> Collection:
    queries: list[Query] = []
    judged: dict[str, dict[str, int]] = {}
    for split in splits:
        checked = check_split(folder, split)
        chosen = drawn(checked.queries, limit, 0)
        queries += chosen
        judged |= {query.id: checked.labels[query.id] for query in chosen}
    return Collection(f"{folder.name} {'+'.join(splits)}", checked.passages, queries, judged)


if __name__ == "__main__":
    run_command(app)
