"""How rare the words of a language are, counted in collections: one byte for each number of a word."""

from pathlib import Path

import numpy as np
import typer

from rrra_haystack.files import atomic_file
from rrra_haystack.model.words import RARITY_UNIT, word_codes
from rrra_training.data import BeirDataset

_NUMBERS = 1 << 16
# At this rarity the language changes nothing: one document in 148 has the word.
_EVEN = 5.0

app = typer.Typer(add_completion=False)


@app.command()
def main(data: list[str], output: Path) -> None:
    """
    Count in how many documents each word stands; every collection counts alike.

    :param data: Folders in the BEIR layout.
    :param output: The file that is written.
    """
    share = np.mean([_document_share(BeirDataset(folder)) for folder in data], axis=0)
    with atomic_file(output) as work:
        rarity_bytes(share).tofile(work)


def rarity_bytes(share: np.ndarray) -> np.ndarray:
    """
    Rarities as the package keeps them.

    :param share: Share of the documents that have the words of each number, shape ``[65536]``.
    :returns: The same shape, uint8; words that no document has are as rare as can be told.
    """
    rarity = -np.log(np.maximum(share, 1e-9)) / _EVEN
    return np.clip(np.round(rarity * RARITY_UNIT), 0, 255).astype(np.uint8)


def _document_share(dataset: BeirDataset) -> np.ndarray:
    having, documents = np.zeros(_NUMBERS), 0
    for passage in dataset.passages():
        having[np.unique(word_codes(passage.title_and_text))] += 1
        documents += 1
    return having / max(documents, 1)


if __name__ == "__main__":
    app()
