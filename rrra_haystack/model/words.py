"""The words of texts: what a query and a passage share to the letter, which token states tell less exactly."""

import re
import unicodedata
from functools import lru_cache
from itertools import islice
from zlib import crc32

import numpy as np

# Words of one or two letters are left out, as "of", "in" and "It", unless they end in a capital, as "US" and the C of
# vitamin C: the words that carry the meaning come to stand side by side, and a fifth of their bytes is saved.
_WORD = re.compile(r"(?![A-Za-z]?[a-z]\b)\w+")
_DIGIT = re.compile(r"\d")
# Words that begin alike count as the same: a stemmer that knows no language. Chosen on dev splits among 4, 5 and 6
# letters, whole words and the English Snowball stemmer.
_LETTERS = 6
_OTHER = re.compile(r"[^\x00-\x7f]")
# Marks, and characters without a width such as the soft hyphen.
_INVISIBLE = frozenset({"Mn", "Mc", "Me", "Cf"})
# A text that has every word says nothing, and a record should stay small.
_MOST = 1024
# Of BM25, as in Anserini.
_K1 = 0.9
# The number of no word: it parts two readings of a query.
_NO_WORD = 0


def word_codes(text: str) -> np.ndarray:
    """
    The words of a text in their order, as numbers of 16 bits.

    Words of one or two letters a to z are left out unless they end in a capital. Apart from that, case and accents make
    no difference, nor does what follows the sixth letter of a word without digits. Two different words have the same
    number with a probability of 1 in 65,536.

    :param text: The text; of a long one the first 1,024 words count.
    :returns: Shape ``[w]``, uint16.
    """
    if not text.isascii():
        text = _OTHER.sub(_visible, unicodedata.normalize("NFKD", text))
    words = islice(_WORD.finditer(text), _MOST)
    return np.fromiter((_code(word[0]) for word in words), dtype=np.uint16)


def query_word_codes(text: str) -> np.ndarray:
    """
    The words of a query, as :func:`word_codes` gives those of a text.

    A query without a capital is read a second time as if in capitals: who types "vitamin c" asks for vitamin C.

    :param text: The query.
    :returns: Shape ``[m]``, uint16.
    """
    words = word_codes(text)
    if text != text.lower():
        return words
    return np.concatenate([words, np.asarray([_NO_WORD], dtype=np.uint16), word_codes(text.upper())])


def _visible(character: re.Match[str]) -> str:
    return "" if unicodedata.category(character[0]) in _INVISIBLE else character[0]


@lru_cache(maxsize=1 << 17)
def _code(word: str) -> int:
    word = word.casefold()
    # Numbers that begin alike are not the same.
    counted = word if _DIGIT.search(word) else word[:_LETTERS]
    return crc32(counted.encode()) & 0xFFFF or 1


def lexical_scores(query: np.ndarray, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """
    Which share of a query's terms each of n candidates has: of its words, and of its pairs of adjacent words.

    A word that stands f times in a candidate counts ``f / (f + 0.9)``, as in BM25 without length (Robertson and
    Zaragoza, 2009); a pair counts 1, however often it stands there. Rare terms weigh more: one that d candidates have
    weighs ``log((n + 1) / (d + 1/2))``, its inverse document frequency (Robertson and Spärck Jones, 1976), taken over
    the candidates, since a ranker does not know the corpus. A term that no candidate has says nothing of their order
    and weighs nothing.

    :param query: The query's words as :func:`query_word_codes` gives them, shape ``[m]``.
    :param words: The candidates' words, one candidate after the other, shape ``[W]``.
    :param counts: Words of each candidate, shape ``[n]``.
    :returns: Between 0 and 1, shape ``[n]``, float32.
    """
    candidates = len(counts)
    known, asked = np.unique(query, return_inverse=True)
    if not (candidates and len(known)):
        return np.zeros(candidates, dtype=np.float32)
    place = np.minimum(np.searchsorted(known, words), len(known) - 1)
    at = np.flatnonzero(known[place] == words)
    place, owner = place[at], np.repeat(np.arange(candidates), counts)[at]
    first = np.flatnonzero((np.diff(at) == 1) & (np.diff(owner) == 0))
    # A pair is the places of its two words among the query's, as one number.
    pairs = place[first] * len(known) + place[first + 1]
    known_pairs = np.unique(asked[:-1] * len(known) + asked[1:])
    is_known = np.isin(pairs, known_pairs)
    pair_place = len(known) + np.searchsorted(known_pairs, pairs[is_known])
    terms = len(known) + len(known_pairs)
    found = np.concatenate([owner * terms + place, owner[first[is_known]] * terms + pair_place])
    frequency = np.bincount(found, minlength=candidates * terms).reshape(candidates, terms).astype(np.float32)
    having = np.count_nonzero(frequency, axis=0)
    rarity = np.log((candidates + 1) / (having + 0.5)) * (having > 0)
    of_words, of_pairs = np.split(frequency, [len(known)], axis=1)
    of_words /= of_words + _K1
    np.minimum(of_pairs, 1, out=of_pairs)
    return frequency @ (rarity / max(rarity.sum(), 1e-12)).astype(np.float32)
