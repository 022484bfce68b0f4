"""The words of texts: what a query and a passage share to the letter, which token states tell less exactly."""

import re
import unicodedata
from functools import lru_cache
from itertools import islice
from zlib import crc32

import numpy as np

# Words that begin alike count as the same: a stemmer that knows no language. Chosen on dev splits among 4, 5 and 6
# letters, whole words and the English Snowball stemmer.
_BEGINNING = re.compile(r"(\w{1,6})\w*")
# A text that has every word says nothing, and a record should stay small.
_MOST = 1024


def word_codes(text: str) -> np.ndarray:
    """
    The distinct words of a text, as numbers of 16 bits.

    Case, accents and what follows the sixth letter make no difference. Two words in 65,536 have the same number by
    chance.

    :param text: The text; of a long one the first 1,024 distinct words count.
    :returns: Sorted, shape ``[w]``, uint16.
    """
    folded = text.casefold()
    if not folded.isascii():
        folded = "".join(one for one in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(one))
    beginnings = dict.fromkeys(_BEGINNING.findall(folded))
    codes = {_code(beginning) for beginning in islice(beginnings, _MOST)}
    return np.asarray(sorted(codes), dtype=np.uint16)


@lru_cache(maxsize=1 << 17)
def _code(beginning: str) -> int:
    return crc32(beginning.encode()) & 0xFFFF


def lexical_scores(query: np.ndarray, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """
    Which share of a query's words each of n candidates has, where rare words count more.

    A word that d candidates have weighs ``log((n + 1) / (d + 1/2))``: its inverse document frequency (Robertson and
    Spärck Jones, 1976), taken over the candidates, since a ranker does not know the corpus. A word that no candidate
    has says nothing of their order and counts for nothing.

    :param query: The query's words as :func:`word_codes` gives them, shape ``[u]``.
    :param words: The candidates' words, one candidate after the other, shape ``[W]``.
    :param counts: Words of each candidate, shape ``[n]``.
    :returns: Between 0 and 1, shape ``[n]``, float32.
    """
    candidates = len(counts)
    present = np.zeros((candidates, len(query)), dtype=np.float32)
    if not present.size:
        return np.zeros(candidates, dtype=np.float32)
    place = np.minimum(np.searchsorted(query, words), len(query) - 1)
    found = query[place] == words
    present[np.repeat(np.arange(candidates), counts)[found], place[found]] = 1
    having = present.sum(axis=0)
    rarity = np.log((candidates + 1) / (having + 0.5)) * (having > 0)
    return present @ (rarity / max(rarity.sum(), 1e-12)).astype(np.float32)
