"""How many tokens words have that were seen before, of all words of some texts at once."""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

_SPACE = 0x20
# Odd, so that it has an inverse among the numbers of 64 bits.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIXER = 0xD6E8FEB86659FD93
# The last bits of a hash say in which row a word is kept, and stand for its count there.
_LAST = np.uint64((1 << 16) - 1)
# Of as many characters are ten passages.
_USUAL_BITS = 14


class WordsOfTexts:
    """
    What stands between spaces in texts; ``firsts`` are the numbers of the first word of each.

    :param texts: One at least.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = " ".join(texts)
        # Lone surrogates too are what a text may hold.
        self._characters = np.frombuffer(self._joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        spaces = np.flatnonzero(self._characters == _SPACE)
        self._begins = np.concatenate([[0], spaces + 1])
        self._ends = np.append(spaces, len(self._characters))
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
        self.firsts = np.searchsorted(self._begins, np.cumsum(lengths) - lengths)

    @cached_property
    def hashes(self) -> np.ndarray:
        """
        A hash of each word, uint64; 0 of one without characters.

        It is the polynomial of the characters, which the polynomials of the whole before and behind a word tell, by
        Karp and Rabin, *Efficient randomized pattern-matching algorithms*, 1987; here modulo 2 to the power of 64.
        """
        powers, inverses = _powers(max(len(self._characters).bit_length(), _USUAL_BITS))
        before = np.zeros(len(self._characters) + 1, dtype=np.uint64)
        # None of them is 0, which would make no difference behind others.
        numbers = self._characters + np.uint32(1)
        np.cumsum(numbers * powers[: len(numbers)], out=before[1:])
        own = (before[self._ends] - before[self._begins]) * inverses[self._begins]
        # Short words differ in the last bits alone.
        return (own ^ (own >> np.uint64(32))) * np.uint64(_MIXER)

    def words(self, numbers: np.ndarray) -> list[str]:
        """Some of the words."""
        places = zip(self._begins[numbers].tolist(), self._ends[numbers].tolist(), strict=True)
        return [self._joined[begin:end] for begin, end in places]


class KnownWords:
    """
    Counts of words, by the words' hashes, in rows of two.

    A new word takes the place of an old one where there is no room. One new word in a hundred million million is taken
    for another.
    """

    def __init__(self) -> None:
        # Hash and count lie in one number, so that no other thread reads the one without the other.
        self._rows = np.zeros((int(_LAST) + 1, 2), dtype=np.uint64)

    def counts(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        The counts of words.

        :param hashes: Of each word, shape ``[w]``.
        :returns: The counts, and whether they are known, each of shape ``[w]``. A word without characters counts 0.
        """
        entries, others = self._rows.take(_row(hashes), axis=0).T
        is_entry, is_other = (entries ^ hashes) <= _LAST, (others ^ hashes) <= _LAST
        counts = np.where(is_entry, entries, others) & _LAST
        is_empty = hashes == 0
        counts[is_empty] = 0
        return counts.view(np.int64), is_entry | is_other | is_empty

    def add(self, hashes: np.ndarray, counts: np.ndarray) -> None:
        """
        Remember words.

        :param hashes: Of each word, shape ``[w]``.
        :param counts: Of each word; those that are too high to be kept are not.
        """
        kept = counts < int(_LAST)
        rows = _row(hashes[kept])
        self._rows[rows, 1] = self._rows[rows, 0]
        self._rows[rows, 0] = (hashes[kept] & ~_LAST) | counts[kept].astype(np.uint64)


def _row(hashes: np.ndarray) -> np.ndarray:
    """Where words are kept."""
    return (hashes & _LAST).view(np.int64)


@lru_cache(maxsize=2)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The first powers of the base and of its inverse, shape ``[2 ** bits]`` each."""
    exponents = np.ones((2, 1 << bits), dtype=np.uint64)
    exponents[0, 1:], exponents[1, 1:] = _BASE, _INVERSE
    powers, inverses = np.cumprod(exponents, axis=1)
    return powers, inverses
