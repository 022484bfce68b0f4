"""How rare the words of a language are, counted in collections: one byte for each number of a word."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.files import atomic_file
from rrra_haystack.model.rarity import document_share, rarity_bytes
from rrra_training.data import BeirDataset
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import writable

app = typer.Typer(add_completion=False)


@app.command()
def main(data: list[str], output: Annotated[Path, typer.Argument(dir_okay=False, callback=writable)]) -> None:
    """
    Count in how many documents each word stands; every collection counts alike.

    :param data: Folders in the BEIR layout.
    :param output: The file that is written.
    """
    collections = [BeirDataset(folder) for folder in data]
    share = np.mean([document_share(one.title_and_text for one in own.passages()) for own in collections], axis=0)
    with atomic_file(output) as work:
        rarity_bytes(share).tofile(work)


if __name__ == "__main__":
    run_command(app)
