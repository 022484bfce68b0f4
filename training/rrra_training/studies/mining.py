"""
How many false negatives remain among mined negatives, and how hard the others are.

Of each query with several labelled positives one is kept, and the others are hidden: who takes them for negatives is
wrong. Beside the samplers of ``rrra mine`` stands sentence-transformers' ``mine_hard_negatives``.

``python -m rrra_training.studies.mining DATA/medquad:dev DATA/cranfield:train --output mining.json``
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from sentence_transformers.util import mine_hard_negatives
from torch import nn

from rrra_haystack.files import working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.candidates.sets import CandidateSet
from rrra_training.data.beir import named_collections
from rrra_training.mining.drawing import draw_negatives
from rrra_training.mining.mine import MinedNegatives, mine_negatives
from rrra_training.mining.settings import NegativesConfig
from rrra_training.negatives.samplers import RRRA, AnySampler
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import FiguresFile
from rrra_training.studies.hiding import hidden_rows, hide_all

app = typer.Typer(add_completion=False)
# Query row -> rows of its negatives.
Negatives = Mapping[int, Sequence[int]]
_PEER = "sentence-transformers"
# Relative and absolute margin below the positive.
_MARGINS: dict[str, tuple[float | None, float | None]] = {
    f"{_PEER}, no margin": (None, None),
    f"{_PEER}, relative margin 0.05": (0.05, None),
    f"{_PEER}, relative margin 0.1": (0.1, None),
    f"{_PEER}, absolute margin 0.05": (None, 0.05),
    f"{_PEER}, absolute margin 0.1": (None, 0.1),
}


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT.")],
    output: FiguresFile,
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of a query.")] = 7,
    limit: Annotated[int | None, typer.Option(min=1, help="Hide positives of so many queries of a split.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is hidden and drawn.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Hide labelled positives, mine negatives in several ways, and count which of them were hidden."""
    chosen = named_collections(data, "train")
    loaded = RRRAModel.load(model)
    report = {}
    with working_folder(None) as scratch, working_folder(cache) as kept:
        for name, (folder, split, hidden) in hide_all(chosen, scratch, limit, seed).items():
            config = NegativesConfig(negatives=negatives, seed=seed)
            mined = mine_negatives(folder, split, config, model=loaded, cache=kept, show_progress=True)
            report[name] = _figures(loaded, mined, hidden, config)
    write_json(output, {"model": model, "seed": seed, "sets": report})
    console = Console()
    for name, figures in report.items():
        console.print(table(name, figures))


def _figures(
    model: RRRAModel, mined: MinedNegatives, hidden: Mapping[str, set[str]], config: NegativesConfig
) -> dict[str, Any]:
    data = mined.data
    truth, found = hidden_rows(data, hidden)
    figures: dict[str, Any] = {"queries": len(truth), "hidden among the candidates": found}
    methods = _methods(model, mined, list(truth), config)
    return figures | {"methods": {name: measured(data, own, truth, config) for name, own in methods}}


def _methods(
    model: RRRAModel, mined: MinedNegatives, asked: Sequence[int], config: NegativesConfig
) -> Iterator[tuple[str, Negatives]]:
    """Negatives of the queries that are looked at, by the name of what chose them."""
    samplers: dict[str, tuple[AnySampler | None, float]] = {
        "the nearest": (None, 1.0),
        **{f"rrra mine, at most {most}": (None, most) for most in (0.3, 0.1, 0.03)},
        "rrra mine, at most 0.1, sampler rrra": (RRRA(), 0.1),
    }
    for name, (sampler, most) in samplers.items():
        drawn = draw_negatives(
            mined.data, mined.probability, config.model_copy(update={"sampler": sampler, "max_false_negative": most})
        )
        yield name, {row: drawn.rows[row][drawn.rows[row] >= 0].tolist() for row in asked}
    for name, margin in _MARGINS.items():
        yield name, _of_sentence_transformers(model, mined.data, asked, config.negatives, margin)


class _Known:
    """An encoder that knows the texts of a set already, and its queries by the numbers of their rows."""

    def __init__(self, transformer: nn.Module, data: CandidateSet) -> None:
        self._transformer = transformer
        self._passages = {data.passages.text(row): row for row in range(len(data.passages))}
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def encode_document(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        return np.asarray(self._data.passages.pooled[[self._passages[text] for text in texts]])

    def encode_query(self, rows: Sequence[str], **_: Any) -> np.ndarray:
        return np.asarray(self._data.queries.pooled[[int(row) for row in rows]])


def _of_sentence_transformers(
    model: RRRAModel, data: CandidateSet, asked: Sequence[int], count: int, margin: tuple[float | None, float | None]
) -> Negatives:
    known: Any = _Known(model.encoder.transformer, data)
    texts = [data.passages.text(row) for row in range(len(data.passages))]
    row_of = {text: row for row, text in enumerate(texts)}
    # Not by their texts: what two queries with the same text have for negatives would be that of one.
    pairs = [(str(row), texts[int(positive)]) for row in asked for positive in data.positives.of(row)]
    relative, absolute = margin
    mined = mine_hard_negatives(
        Dataset.from_dict({"anchor": [query for query, _ in pairs], "positive": [text for _, text in pairs]}),
        known, corpus=texts, num_negatives=count, range_max=100, relative_margin=relative, absolute_margin=absolute,
        output_format="triplet", verbose=False,
    )  # fmt: skip
    found: dict[int, list[int]] = {row: [] for row in asked}
    for row in mined:
        found[int(row["anchor"])].append(row_of[row["negative"]])
    return found


def measured(
    data: CandidateSet, negatives: Negatives, truth: Mapping[int, set[int]], config: NegativesConfig
) -> dict[str, float]:
    """
    Measure negatives.

    :param data: The set.
    :param negatives: The negatives of its queries.
    :param truth: What was hidden of each.
    :param config: How many negatives were asked for.
    """
    pairs = [(query, row, row in truth[query]) for query, own in negatives.items() for row in own]
    cosines = [
        float(data.passages.pooled[row] @ data.queries.pooled[query]) for query, row, is_false in pairs if not is_false
    ]
    return {
        "false negatives a query": sum(is_false for *_, is_false in pairs) / len(negatives),
        "share of false ones": sum(is_false for *_, is_false in pairs) / max(len(pairs), 1),
        "cosine of the others": float(np.mean(cosines)),
        "queries with all": float(np.mean([len(own) == config.negatives for own in negatives.values()])),
        "negatives a query": len(pairs) / len(negatives),
    }


def table(name: str, figures: Mapping[str, Any]) -> Table:
    """
    Make a table of what was measured.

    :param name: The set.
    :param figures: Its figures.
    """
    title = (
        f"{name}: {figures['queries']} queries, {figures['hidden among the candidates']:.2f} hidden positives a query "
        "among the first 100"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("negatives by")
    measured = figures["methods"]
    for key in next(iter(measured.values())):
        table.add_column(key, justify="right")
    for method, own in measured.items():
        table.add_row(method, *(f"{value:.3f}" for value in own.values()))
    return table


if __name__ == "__main__":
    run_command(app)
