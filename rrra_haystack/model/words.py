"""The words of texts: what a query and a passage share to the letter, which token states tell less exactly."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import islice, pairwise
from typing import Literal
from zlib import crc32

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rrra_haystack.pretrained import WORD_RARITY

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
_LETTER = re.compile(rf".[{_ACCENTS}{MARKS}]*")
_WORD_OR_RUN = re.compile(
    rf"(?P<run>(?:[{UNSPACED}][{MARKS}]*)+)"
    rf"|(?![A-Za-z]?[a-z](?:[{UNSPACED}]|(?![\w{_ACCENTS}{MARKS}])))(?:[^\W{UNSPACED}][{_ACCENTS}{MARKS}]*)+"
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
# A text that has every word says nothing, and a record should stay small.
_MOST = 1024
# Of BM25, as in Anserini.
_K1 = 0.9
# The number of no word: it parts two readings of a query.
_NO_WORD = 0
# How many numbers there are.
NUMBERS = 1 << 16
# A byte of a table of rarities counts this part: 160 stand for a rarity that changes nothing.
RARITY_UNIT = 160
# Which is that of a word that one document in 148 has.
_EVEN = 5.0
# In a list of so few candidates any word may be missing.
_FEW = 10
# Of the share that each word would have if all counted alike: what the bound leaves a word of a short query.
_EVEN_SHARE = 0.5

Language = Literal["english", "corpus"]


class LexicalForm(BaseModel):
    """
    How the words in common are counted.

    :param pair_weight: How much a pair of adjacent words counts, beside a word as rare.
    :param length: How far the words of a long candidate count less, the b of BM25: 0 for not at all, 1 for in
        proportion to its length over the mean of the list.
    :param language: A language whose common words count less, also where few candidates have them, such as the *what*
        of a question; ``corpus`` for the texts that the model was adapted to, whose table lies with its weights; `None`
        if nothing is known of the language.
    :param largest_share: Where a word of the query is in no candidate, and where the query has no capital, no word
        counts for more than this share of the whole; 1 for no bound. A list of n candidates, fewer than a hundred, has
        the bound ``10 / n``, and a query of w words in the candidates, fewer than five, ``1 / 2w``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pair_weight: float = Field(0.3, ge=0)
    length: float = Field(0.4, ge=0, le=1)
    language: Language | None = "english"
    largest_share: float = Field(1.0, gt=0, le=1)


# Of new models.
CHOSEN_FORM = LexicalForm(largest_share=0.1)
# Of models that keep none.
EARLIER_FORM = LexicalForm(pair_weight=1.0, length=0.0, language=None)
# That the regression of detection was fitted with, whatever model judges.
DETECTION_FORM = EARLIER_FORM


def word_codes(text: str) -> np.ndarray:
    """
    The words of a text in their order, as numbers of 16 bits.

    Words of one or two letters a to z without accents are left out unless they end in a capital. Apart from that, case
    makes no difference, nor do the accents of longer words and what follows the sixth letter of a word without digits.
    Of scripts without spaces, such as Chinese, Japanese and Thai, each pair of adjacent letters counts as a word. Two
    different words have the same number with a probability of 1 in 65,536.

    :param text: The text; of a long one the first 1,024 words count.
    :returns: Shape ``[w]``, uint16.
    """
    found = (word[0] for word in _WORD.finditer(text)) if text.isascii() else _words_of_any_script(text)
    return np.fromiter((_code(word) for word in islice(found, _MOST)), dtype=np.uint16)


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


def _words_of_any_script(text: str) -> Iterator[str]:
    """The words of a text in their order, and the pairs of letters of what has no spaces between words."""
    for found in _WORD_OR_RUN.finditer(_OTHER.sub(_visible, unicodedata.normalize("NFKD", text))):
        letters = _LETTER.findall(found[0]) if found["run"] else ()
        if len(letters) > 1:
            yield from map("".join, pairwise(letters))
        else:
            yield found[0]


def _visible(character: re.Match[str]) -> str:
    drops = unicodedata.category(character[0]) in _INVISIBLE and not _SEEN.match(character[0])
    return "" if drops else character[0]


@lru_cache(maxsize=1 << 17)
def _code(word: str) -> int:
    word = word.casefold()
    plain = word if word.isascii() else _ACCENT.sub("", word)
    if len(plain) > _SHORT:
        word = plain
    # Numbers that begin alike are not the same.
    letters = [] if _DIGIT.search(word) else _LETTER.findall(word)
    counted = "".join(letters[:_LETTERS]) or word
    return crc32(counted.encode()) & 0xFFFF or 1


def lexical_scores(
    query: np.ndarray, words: np.ndarray, counts: np.ndarray, form: LexicalForm, table: np.ndarray | None = None
) -> np.ndarray:
    """
    Which share of a query's terms each of n candidates has: of its words, and of its pairs of adjacent words.

    A word that stands f times in a candidate counts ``f / (f + 0.9)``, as in BM25 (Robertson and Zaragoza, 2009), where
    the 0.9 grows and shrinks with the candidate's length as far as the form says; a pair counts 1, however often it
    stands there. Rare terms weigh more: one that d candidates have weighs ``log((n + 1) / (d + 1/2))``, its inverse
    document frequency (Robertson and Spärck Jones, 1976), taken over the candidates, since a ranker does not know the
    corpus; a word's weight is multiplied by its rarity in the language. A term that no candidate has says nothing of
    their order and weighs nothing. But it is a sign that query and candidates use other words for the same, and that
    what they share by chance looks rare. A query without a capital does not tell names from words that such queries are
    full of. In both cases a bound holds for every word.

    :param query: The query's words as :func:`query_word_codes` gives them, shape ``[m]``.
    :param words: The candidates' words, one candidate after the other, shape ``[W]``.
    :param counts: Words of each candidate, shape ``[n]``.
    :param form: How words, pairs and lengths count.
    :param table: Rarities of words as :func:`rarity_bytes` gives them; those of the form's language if `None`.
    :returns: Between 0 and 1, shape ``[n]``, float32.
    """
    known, asked = np.unique(query, return_inverse=True)
    if not ((candidates := len(counts)) and len(known)):
        return np.zeros(candidates, dtype=np.float32)
    places = np.full(NUMBERS, len(known), dtype=np.int32)
    places[known] = np.arange(len(known))
    place = places[words]
    at = np.flatnonzero(place < len(known))
    place, owner = place[at].astype(np.int64), np.repeat(np.arange(candidates), counts)[at]
    first = np.flatnonzero((np.diff(at) == 1) & (np.diff(owner) == 0))
    # A pair is the places of its two words among the query's, as one number; the last is none.
    pairs = place[first] * len(known) + place[first + 1]
    known_pairs = np.unique(asked[:-1] * len(known) + asked[1:])
    pair_place = np.searchsorted(known_pairs, pairs)
    is_known = np.append(known_pairs, -1)[pair_place] == pairs
    pair_place = len(known) + pair_place[is_known]
    terms = len(known) + len(known_pairs)
    found = np.concatenate([owner * terms + place, owner[first[is_known]] * terms + pair_place])
    frequency = np.bincount(found, minlength=candidates * terms).reshape(candidates, terms).astype(np.float32)
    having = np.count_nonzero(frequency, axis=0)
    weight = np.log((candidates + 1) / (having + 0.5)) * (having > 0)
    if table is None and form.language == "english":
        table = _rarity_in(form.language)
    if table is not None:
        weight[: len(known)] *= table[known] / RARITY_UNIT
    weight[len(known) :] *= form.pair_weight
    of_words, of_pairs = np.split(frequency, [len(known)], axis=1)
    # A candidate without a word counts as one of one word: with b = 1 there would be nothing to divide by.
    lengths = np.maximum(counts, 1) / max(counts.mean(), 1)
    total = weight.sum()
    # No candidate has the number that parts two readings: the bound holds for every query without a capital.
    if (found_words := int(np.count_nonzero(having[: len(known)]))) < len(known):
        bound = total * max(form.largest_share, _FEW / candidates, _EVEN_SHARE / max(found_words, 1))
        np.minimum(weight[: len(known)], bound, out=weight[: len(known)])
    of_words /= of_words + (_K1 * (1 - form.length + form.length * lengths)).astype(np.float32)[:, None]
    np.minimum(of_pairs, 1, out=of_pairs)
    return frequency @ (weight / max(total, 1e-12)).astype(np.float32)


@cache
def _rarity_in(language: str) -> np.ndarray:
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
