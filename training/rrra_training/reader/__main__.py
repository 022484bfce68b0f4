"""Train and evaluate the bundled reader: ``python -m rrra_training.reader``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.reader.loading import DEFAULT_READER
from rrra_training.reader.evaluating import evaluate_reader
from rrra_training.reader.examples import ReaderRecipe
from rrra_training.reader.training import train_reader
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import writable

app = typer.Typer(help="Train and measure the extractive reader.", no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Option(exists=True, file_okay=False, help="SQuAD in the BEIR layout, with answers.")]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe YAML.")],
    data: Data,
    output: Annotated[Path, typer.Option(file_okay=False, callback=writable, help="Where the reader is written.")],
) -> None:
    """Train a reader; continues from the last checkpoint."""
    train_reader(load_yaml(recipe, (), ReaderRecipe), data, output)


@app.command()
def evaluate(
    data: Data,
    model: Annotated[str, typer.Option(help="A bundled name, a directory or a hub id.")] = DEFAULT_READER,
    split: Annotated[str, typer.Option(help="Which questions.")] = "test",
    limit: Annotated[int, typer.Option(min=1, help="Draw this many questions.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
) -> None:
    """Measure a reader on questions with their right passage."""
    typer.echo(json.dumps(evaluate_reader(data, model=model, split=split, limit=limit, seed=seed), indent=2))


if __name__ == "__main__":
    run_command(app)
