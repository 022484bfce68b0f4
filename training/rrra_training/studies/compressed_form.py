"""
The bundled compressed forms: an untrained form whose projection is fitted to a mixture of collections.

``python -m rrra_training.studies.compressed_form all-MiniLM-L6-v2 DATA/squad DATA/medquad --output DIR``
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from rrra_haystack.model.codes.kinds import kind_named
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.saving import check_place
from rrra_training.compression.compressing import projected_form
from rrra_training.corpora.principal import principal_projection
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import writable

app = typer.Typer(add_completion=False)


@app.command()
def main(
    model: Annotated[str, typer.Argument(help="A plain encoder.")],
    data: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Collections in the BEIR layout.")],
    output: Annotated[Path, typer.Option(file_okay=False, callback=writable, help="Where the model goes.")],
    dimensions: int = 128,
    code: str = "1bit",
    passages: Annotated[int, typer.Option(min=1, help="To draw from each collection.")] = 200,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit the projection, and write the model without its encoder."""
    kind = kind_named(code)
    check_place(output)
    collections = [BeirDataset(folder) for folder in data]
    whole = RRRAModel.load(model)
    generator = np.random.default_rng(seed)
    texts = [text for one in collections for text in _drawn(one, passages, generator)]
    states = _states_in_order(whole.encoder, texts)
    projection = principal_projection(states, dimensions, np.random.default_rng(seed))
    projected_form(whole, projection, kind).save(output, include_encoder=False)
    typer.echo(f"{dimensions} dimensions in {kind}, fitted to {len(texts)} passages: {output}")


def _drawn(dataset: BeirDataset, count: int, generator: np.random.Generator) -> list[str]:
    """Passages of a collection, none of which a question outside the split ``train`` is about."""
    held_out = {
        passage
        for split in dataset.splits()
        if not split.startswith("train")
        for judged in dataset.qrels(split).values()
        for passage, grade in judged.items()
        if grade > 0
    }
    free = [passage.title_and_text for passage in dataset.passages() if passage.id not in held_out]
    return [free[number] for number in np.sort(generator.choice(len(free), min(count, len(free)), replace=False))]


def _states_in_order(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    """Token states of texts, one text after the other: the rotation that is found depends on their order."""
    states: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    for batch in encoder.encode(texts, task="document", show_progress_bar=True):
        own = batch.states.float().cpu().split(batch.lengths.tolist())
        for index, tokens in zip(batch.indices.tolist(), own, strict=True):
            states[index] = tokens
    return torch.cat(states)


if __name__ == "__main__":
    run_command(app)
