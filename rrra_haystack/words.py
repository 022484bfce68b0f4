"""The words of texts: what a query and a passage share to the letter, which token states tell less exactly."""

import re
import unicodedata
from functools import lru_cache
from itertools import islice
from zlib import crc32

import numpy as np

_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
# Words that begin alike count as the same: a stemmer that knows no language. Chosen on dev splits among 4, 5 and 6
# letters, whole words and the English Snowball stemmer.
_LETTERS = 6
_OTHER = re.compile(r"[^\x00-\x7f]")
# Marks, and characters without a width such as the soft hyphen.
_INVISIBLE = frozenset({"Mn", "Mc", "Me", "Cf"})
# A text that has every word says nothing, and a record should stay small.
_MOST = 1024


def word_codes(text: str) -> np.ndarray:
    """
    The distinct words of a text, as numbers of 16 bits.

    Case and accents make no difference, nor does what follows the sixth letter of a word without digits. Two different
    words have the same number with a probability of 1 in 65,536.

    :param text: The text; of a long one the first 1,024 distinct words count.
    :returns: Sorted, shape ``[w]``, uint16.
    """
    if not text.isascii():
        text = _OTHER.sub(_visible, unicodedata.normalize("NFKD", text))
    words = dict.fromkeys(_WORD.findall(text.casefold()))
    return np.asarray(sorted(set(map(_code, islice(words, _MOST)))), dtype=np.uint16)


def _visible(character: re.Match[str]) -> str:
    return "" if unicodedata.category(character[0]) in _INVISIBLE else character[0]


@lru_cache(maxsize=1 << 17)
def _code(word: str) -> int:
    # Numbers that begin alike are not the same.
    counted = word if _DIGIT.search(word) else word[:_LETTERS]
    return crc32(counted.encode()) & 0xFFFF


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
