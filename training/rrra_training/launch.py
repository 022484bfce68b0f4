"""``rrra train`` for launchers that start modules, as ``torchrun -m rrra_training.launch RECIPE`` does."""

import typer

from rrra_haystack.cli import train
from rrra_training.runs.commands import run_command

app = typer.Typer(add_completion=False)
app.command()(train.command)

if __name__ == "__main__":
    run_command(app)
