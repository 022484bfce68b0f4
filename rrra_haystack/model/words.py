"""The words of texts as numbers: what a query and a passage share to the letter, which states tell less exactly."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise
from zlib import crc32

import numpy as np

# Words of one or two letters are left out, as "of", "in" and "It", unless they end in a capital, as "US" and the C of
# vitamin C: the words that carry the meaning come to stand side by side, and a fifth of their bytes is saved.
_WORD = re.compile(r"(?![A-Za-z]?[a-z]\b)\w+")
# Accents of Latin, Greek and Cyrillic letters. They tell words of one or two letters apart, as the Vietnamese "bo" with
# and without its tone; longer ones are written with and without them.
_ACCENTS = "\u0300-\u036f"
# Vowels and tones of Indic and South-East Asian scripts, and the voicing of Japanese: without them a word is another.
MARKS = "".join(
    chr(place) for place in (*range(0x900, 0x1AB0), 0x3099, 0x309A) if unicodedata.category(chr(place)) in {"Mn", "Mc"}
)
# The letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese and Chinese.
UNSPACED = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
# Consonants and vowels of Korean, which NFKD takes its syllables apart into.
_JAMO = "\u1100-\u11ff"
# Korean has spaces, but what stands between them is a word with all its endings, or several words in one.
_PAIRED = UNSPACED + _JAMO
_LETTER = re.compile(rf"(?:[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?|.)[{_ACCENTS}{MARKS}]*")
_WORD_OR_RUN = re.compile(
    rf"(?P<run>(?:[{_PAIRED}][{MARKS}]*)+)"
    rf"|(?![A-Za-z]?[a-z](?:[{_PAIRED}]|(?![\w{_ACCENTS}{MARKS}])))(?:[^\W{_PAIRED}][{_ACCENTS}{MARKS}]*)+"
)
_ACCENT = re.compile(f"[{_ACCENTS}]+")
_DIGIT = re.compile(r"\d")
# Words that begin alike count as the same: a stemmer that knows no language. Chosen on dev splits among 4, 5 and 6
# letters, whole words and the English Snowball stemmer.
_LETTERS = 6
# Of a word that its accents tell from others.
_SHORT = 2
_OTHER = re.compile(r"[^\x00-\x7f]")
# Marks that may be left out, as the vowels of Arabic, and characters without a width such as the soft hyphen.
_INVISIBLE = frozenset({"Mn", "Mc", "Me", "Cf"})
_SEEN = re.compile(f"[{_ACCENTS}{MARKS}]")
# Draws an Arabic word out, to fill a line.
_TATWEEL = "\u0640"
# A text that has every word says nothing, and a record should stay small.
_MOST = 1024
# The number of no word: it parts two readings of a query.
_NO_WORD = 0
# How many numbers there are.
NUMBERS = 1 << 16


def word_codes(text: str) -> np.ndarray:
    """
    The words of a text in their order, as numbers of 16 bits.

    Words of one or two letters a to z without accents are left out unless they end in a capital. Apart from that, case
    makes no difference, nor do the accents of longer words and what follows the sixth letter of a word without digits.
    Letters that Unicode does not take apart into a letter and an accent, such as ø and ł, are others than o and l. Of
    scripts without spaces, such as Chinese, Japanese and Thai, each pair of adjacent letters counts as a word, and so
    does each pair of adjacent syllables of Korean. Two different words have the same number with a probability of 1 in
    65,536.

    :param text: The text; of a long one the first 1,024 words count.
    :returns: Shape ``[w]``, uint16.
    """
    codes = np.fromiter(map(_hash, islice(_words(text), _MOST)), dtype=np.uint32).astype(np.uint16)
    codes[codes == _NO_WORD] = 1
    return codes


def word_hashes(text: str) -> list[int]:
    """
    All words of a text in their order, as numbers of 32 bits.

    Words are told apart as :func:`word_codes` does, but none is left out, the whole of a long text counts, and a name
    such as ``read_file`` is two words.

    :param text: The text.
    """
    # Words of one or two letters are left out in small letters alone.
    return list(map(_hash, _words(text.upper().replace("_", " "))))


def query_word_codes(text: str) -> np.ndarray:
    """
    The words of a query, as :func:`word_codes` gives those of a text.

    A query without a capital is read a second time as if in capitals: who types "vitamin c" asks for vitamin C.

    :param text: The query.
    :returns: Shape ``[m]``, uint16.
    """
    words = word_codes(text)
    if not text.islower():
        return words
    return np.concatenate([words, np.asarray([_NO_WORD], dtype=np.uint16), word_codes(text.upper())])


def _words(text: str) -> Iterator[str]:
    return (word[0] for word in _WORD.finditer(text)) if text.isascii() else _words_of_any_script(text)


def _words_of_any_script(text: str) -> Iterator[str]:
    """The words of a text in their order, and the pairs of letters of what has no spaces between words."""
    for found in _WORD_OR_RUN.finditer(_OTHER.sub(_visible, unicodedata.normalize("NFKD", text))):
        letters = _LETTER.findall(found[0]) if found["run"] else ()
        if len(letters) > 1:
            yield from map("".join, pairwise(letters))
        else:
            yield found[0]


def _visible(character: re.Match[str]) -> str:
    own = character[0]
    drops = own == _TATWEEL or (unicodedata.category(own) in _INVISIBLE and not _SEEN.match(own))
    return "" if drops else own


@lru_cache(maxsize=1 << 17)
def _hash(word: str) -> int:
    word = word.casefold()
    plain = word if word.isascii() else _ACCENT.sub("", word)
    if len(plain) > _SHORT:
        word = plain
    # Numbers that begin alike are not the same.
    letters = [] if _DIGIT.search(word) else _LETTER.findall(word)
    counted = "".join(letters[:_LETTERS]) or word
    return crc32(counted.encode())
