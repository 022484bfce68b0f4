"""How rare words are: tables that make the common words of a language or a corpus count less."""

from collections.abc import Iterable
from functools import cache

import numpy as np

from rrra_haystack.model.words import NUMBERS, word_codes
from rrra_haystack.pretrained import WORD_RARITY

# A byte of a table of rarities counts this part: 160 stand for a rarity that changes nothing.
RARITY_UNIT = 160
# Which is that of a word that one document in 148 has.
_EVEN = 5.0


@cache
def rarity_in(language: str) -> np.ndarray:
    """
    How rare words are in a language.

    :param language: One whose table the package has.
    :returns: As :func:`rarity_bytes` gives them.
    """
    table: np.ndarray = np.fromfile(WORD_RARITY / f"{language}.u8", dtype=np.uint8)
    return table


def rarity_bytes(share: np.ndarray) -> np.ndarray:
    """
    Rarities as the package and adapted models keep them: how much each number of a word counts.

    A word that 7 of 1,000 documents have counts 1; one that all have counts nothing, one that hardly any has up to 1.6.

    :param share: Share of the documents that have the words of each number, shape ``[65536]``.
    :returns: In parts of 1 / 160, the same shape, uint8; words that no document has are as rare as can be told.
    """
    rarity = -np.log(np.maximum(share, 1e-9)) / _EVEN
    return np.clip(np.round(rarity * RARITY_UNIT), 0, 255).astype(np.uint8)


def document_share(texts: Iterable[str]) -> np.ndarray:
    """
    In which share of the documents each word stands.

    :param texts: The documents.
    :returns: Shape ``[65536]``, by the numbers of words.
    """
    having, documents = np.zeros(NUMBERS), 0
    for text in texts:
        having[np.unique(word_codes(text))] += 1
        documents += 1
    return having / max(documents, 1)
