"""Bytes -> text, whatever encoding they are in."""

import codecs
import re
from typing import Any, NamedTuple

from rrra_haystack.documents.guessing import guessed_encoding, is_escaped_japanese

# The longer first: a mark of UTF-32 begins with one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 16
# Of a text in several encodings, so many of the lines that are not ASCII are UTF-8.
_ONE_IN = 4
_DECLARED = re.compile(rb"""(?:charset|encoding|coding)\s*[=:]\s*["']?([\w.-]+)""", re.IGNORECASE)
_HEAD = 1024
# Without those that text is laid out and coloured with.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_FEW = 2
# What was guessed of a few bytes is no text if more than one in so many is a control character.
_MOSTLY = 5
_NEWLINES = re.compile(r"\r\n?")


def marked_encoding(data: bytes) -> str | None:
    """
    The encoding that a byte order mark tells; `None` without one.

    :param data: The beginning of a file, at least four bytes if it has so many.
    """
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


class Decoded(NamedTuple):
    """
    What some bytes say.

    :param text: The text, with newlines alone at the ends of lines.
    :param guess: The encoding, if it was guessed from a few letters.
    """

    text: str
    guess: str | None = None


def decode(data: bytes, otherwise: str | None = None) -> Decoded:
    """
    The text that some bytes are.

    A mark at the beginning decides, then UTF-8 if it fits, then what the text declares, then what is most likely.

    :param data: The bytes.
    :param otherwise: The encoding of what tells none by a mark and is no UTF-8; guessed if `None`.
    :raises ValueError: If they are no text.
    :raises LookupError: If there is no such encoding.
    """
    text, guess = _decoded(data, otherwise)
    controls = len(_CONTROLS.findall(text))
    is_odd = controls > max(_FEW, len(text) // 50) or (guess is not None and controls * _MOSTLY > len(text))
    if is_odd or (data and not text and not marked_encoding(data)):
        msg = "it is not text in any known encoding"
        raise ValueError(msg)
    return Decoded(_NEWLINES.sub("\n", without_surrogates(text.replace("\0", ""))), guess)


def without_surrogates(value: Any) -> Any:
    """
    A value of JSON in which halves of surrogate pairs are joined, or replaced where the other half is missing.

    :param value: The value; its strings may be anywhere in it.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(one) for key, one in value.items()}
    return value


def _decoded(data: bytes, otherwise: str | None) -> Decoded:
    if marked := marked_encoding(data):
        return Decoded(data.decode(marked, "replace"))
    if utf16 := _unmarked_utf16(data):
        return Decoded(data.decode(utf16, "replace"))
    if is_escaped_japanese(data):
        return Decoded(data.decode("iso2022_jp", "replace"))
    try:
        # Whatever left NULs in it, they fit into no other encoding better.
        return Decoded(data.decode("utf-8").replace("\0", ""))
    except UnicodeDecodeError:
        pass
    lines = data.split(b"\n")
    others = [number for number, line in enumerate(lines) if not _is_utf8(line)]
    beyond_ascii = sum(not line.isascii() for line in lines)
    if len(others) * _ONE_IN > beyond_ascii * (_ONE_IN - 1):
        return _in_another(data, otherwise)
    # What was written by several programs, or cut off, or has a stray byte.
    rest = _in_another(b"\n".join(lines[number] for number in others), otherwise) if others else Decoded("")
    told = [line.decode("utf-8", "replace") for line in lines]
    for number, line in zip(others, rest.text.split("\n"), strict=False):
        told[number] = line
    return Decoded("\n".join(told), rest.guess)


def _is_utf8(line: bytes) -> bool:
    """Whether a line is UTF-8, but for a byte or two."""
    text = line.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    return not damaged or sum(character > "\x7f" for character in text) > 2 * damaged


def _unmarked_utf16(data: bytes) -> str | None:
    """Which UTF-16 it is, if every other byte is mostly zero."""
    even, odd = data[:_SAMPLE:2].count(0), data[1:_SAMPLE:2].count(0)
    most = min(len(data), _SAMPLE) // 5
    if odd > most and even * 10 < odd:
        return "utf-16-le"
    return "utf-16-be" if even > most and odd * 10 < even else None


def _in_another(data: bytes, otherwise: str | None) -> Decoded:
    """What is no UTF-8, in the encoding that is told, that it declares, or that is likely."""
    if otherwise is not None:
        return Decoded(data.decode(otherwise, "replace"))
    declared = _DECLARED.search(data, 0, _HEAD)
    try:
        if declared:
            return Decoded(data.decode(declared[1].decode("ascii")))
    except (LookupError, UnicodeDecodeError):
        pass
    encoding, is_sure = guessed_encoding(data)
    return Decoded(data.decode(encoding, "replace"), None if is_sure else encoding) if encoding else Decoded("")
