"""Where a text can be cut: at the ends of paragraphs, sentences, lines and words, measured in the encoder's tokens."""

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
# A mark of Latin, Arabic, Indic, Armenian or Ethiopic script wants a space behind it; one of East Asia does not.
_SPACED = r".!?\u2026\u203d\u061f\u06d4\u0964\u0965\u0589\u1362\u104b\u17d4\u0f0d"
_UNSPACED = r"\u3002\uff01\uff1f\uff61\uff0e"
# It begins with one set of characters, which is found many times faster than one of two alternatives. Of a run of marks
# the first alone is tried: without a space behind them, each of a thousand dots would be read with all that follow it.
_SENTENCE_END = re.compile(
    rf"[{_SPACED}{_UNSPACED}]"
    rf"""(?:(?<=[{_SPACED}])(?<![{_SPACED}].)[{_SPACED}]*+["'\u201d\u2019\u00bb)\]]*+\s++"""
    rf"""|(?<=[{_UNSPACED}])[{_UNSPACED}]*+["'\u201d\u2019\u300d\u300f\uff09\u3011\u300b]*+\s*+)"""
)
_ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st no nr vs etc fig figs vol pp ed eds al cf ca bzw usw vgl inc ltd jr sr dept approx abb tab "
    "sec ch eq jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_NO_END = re.compile(
    rf"(?:^|[\s(\[])(?:[^\W\d_]|\d{{1,2}}|(?:[^\W\d_]\.)+[^\W\d_]|{'|'.join(sorted(_ABBREVIATIONS))})$", re.IGNORECASE
)
_ITEM = re.compile(r"[^\S\n]*(?:[-*+|#>\u2022\u2013]|\d{1,3}[.)]|[^\W\d_]\))\s")
_CLAUSE_END = re.compile(r"[\u3001\uff0c\uff1b\uff1a,;:]")
_WORD = re.compile(r"[^\W_]")
# A line that is shorter than this part of the widest one was not broken for want of room.
_BROKEN_ON_PURPOSE = 0.75
# Letters of an abbreviation, and of what stands before it.
_REACH = 12
# Tokenizers take a word of any length for one token if they do not know it.
_CHARACTERS_PER_TOKEN = 8


def has_word(text: str) -> bool:
    """Whether there is a letter or a digit in a text."""
    return _WORD.search(text) is not None


def sentence_ends(text: str, longest: int) -> list[int]:
    """
    Where the sentences of a text end, and items of lists and rows as if they were sentences.

    :param text: The text.
    :param longest: Longer sentences are cut at lines, words or clauses, in characters.
    :returns: The characters behind them and the space that follows, in order; the last is the end of the text.
    """
    ends = []
    begin = 0
    for end in _ends(text):
        while end - begin > longest:
            begin = _within_sentence(text, begin, begin + longest)
            ends.append(begin)
        ends.append(end)
        begin = end
    return ends


def sentences(text: str, longest: int) -> list[tuple[int, int]]:
    """
    Begin and end of each sentence of a text, without those that are white space alone.

    :param text: The text.
    :param longest: As for :func:`sentence_ends`.
    """
    spans = pairwise([0, *sentence_ends(text, longest)])
    return [(begin, end) for begin, end in spans if text[begin:end].strip()]


def cut(text: str, offsets: np.ndarray, length: int, limit: int) -> Iterator[tuple[int, int]]:
    """
    Cut a text into passages.

    A passage ends with a paragraph if that makes it neither much shorter nor much longer than wanted, else with a
    sentence. A sentence is cut only if it is longer than the limit: at the end of a line or a word, else between
    tokens.

    :param text: The text.
    :param offsets: Where its tokens begin and end, shape ``[n, 2]``.
    :param length: The wanted number of tokens of a passage.
    :param limit: The largest number of tokens of a passage.
    :returns: Where passages begin and end, without the space around them; those without a word are left out.
    """
    starts = offsets[:, 0]
    paragraphs = np.array(_paragraph_ends(text), dtype=np.int64)
    stops = np.array(_ends(text), dtype=np.int64)
    lengths = (length // 2, length, min(limit, length + length // 2), limit)
    begin = 0
    while begin < len(text):
        half, soft, stretch, hard = _reached(starts, len(text), begin, lengths)
        end = (
            _last(paragraphs, half, soft)
            or _first(paragraphs, soft, stretch)
            or _last(stops, begin, soft)
            or _first(stops, soft, hard)
            or _within_sentence(text, begin, hard)
        )
        piece = text[begin:end]
        if has_word(piece):
            yield begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
        begin = end


def _reached(starts: np.ndarray, size: int, begin: int, lengths: tuple[int, ...]) -> list[int]:
    """The characters that passages of some numbers of tokens would end at."""
    first = int(np.searchsorted(starts, begin))
    ends = (int(starts[first + tokens]) if first + tokens < len(starts) else size for tokens in lengths)
    return [min(end, begin + tokens * _CHARACTERS_PER_TOKEN) for end, tokens in zip(ends, lengths, strict=True)]


def _last(ends: np.ndarray, after: int, until: int) -> int | None:
    index = int(np.searchsorted(ends, until, side="right")) - 1
    return int(ends[index]) if index >= 0 and ends[index] > after else None


def _first(ends: np.ndarray, after: int, until: int) -> int | None:
    index = int(np.searchsorted(ends, after, side="right"))
    return int(ends[index]) if index < len(ends) and ends[index] <= until else None


def _within_sentence(text: str, begin: int, hard: int) -> int:
    """Where a sentence is cut that is longer than the limit."""
    hard = max(hard, begin + 1)
    middle = (begin + hard) // 2
    line, space = text.rfind("\n", begin, hard) + 1, _last_space(text, begin, hard)
    clauses = [match.end() for match in _CLAUSE_END.finditer(text, middle, hard)]
    return next((end for end in (line, space, *clauses[-1:]) if end > middle), space if space > begin else hard)


def _last_space(text: str, begin: int, hard: int) -> int:
    """Behind the last space, which may end the window."""
    if text[hard : hard + 1].isspace():
        return hard
    return next((at for at in range(hard, begin, -1) if text[at - 1].isspace()), begin)


def _paragraph_ends(text: str) -> list[int]:
    return [*(match.end() for match in _PARAGRAPH_END.finditer(text)), len(text)]


def _ends(text: str) -> list[int]:
    """Where sentences, items of lists, paragraphs and the text end, in order."""
    if "\n" not in text and "\f" not in text:
        ends = list(_sentences(text))
        return ends if ends[-1:] == [len(text)] else [*ends, len(text)]
    return sorted({*_paragraph_ends(text), *_sentences(text), *_lines(text)})


def _sentences(text: str) -> Iterator[int]:
    """Where sentences begin behind others."""
    for match in _SENTENCE_END.finditer(text):
        begin, end = match.span()
        is_single_dot = text[begin] == "." and text[begin + 1] != "."
        if not (is_single_dot and (text[end : end + 1].islower() or _is_abbreviated(text, begin))):
            yield end


def _is_abbreviated(text: str, dot: int) -> bool:
    """Whether a full stop stands behind an abbreviation, an initial or a number, which end no sentence."""
    begin = max(dot - _REACH, 0)
    word = text[max(text.rfind(" ", begin, dot) + 1, begin) : dot]
    # Nearly every word is told without a search, which takes many times longer.
    if word.isalpha():
        return len(word) == 1 or word.lower() in _ABBREVIATIONS
    return _NO_END.search(text, begin, dot) is not None


def _lines(text: str) -> Iterator[int]:
    """Where lines begin that are items of a list or rows, not the next line of a paragraph."""
    begin = 0
    for match in (*_PARAGRAPH_END.finditer(text), None):
        end = match.start() if match else len(text)
        lines = re.split(r"[\n\f]", text[begin:end])
        widest = _BROKEN_ON_PURPOSE * max(map(len, lines))
        at = begin
        for line, following in pairwise(lines):
            at += len(line) + 1
            word = following.split(maxsplit=1)[:1]
            if len(line) + 1 + len("".join(word)) <= widest or _ITEM.match(following):
                yield at
        begin = match.end() if match else end
