"""Bytes -> text, whatever encoding they are in."""

import codecs
import re
from typing import Any

from charset_normalizer import from_bytes

# The longer first: a mark of UTF-32 begins with one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Of many more a detector would take a few letters with accents for one that nobody writes.
_WRITTEN = "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 koi8_r cp932 euc_jp gb18030 big5 cp949".split()
_WESTERN = "cp1252"
_SAMPLE = 1 << 16
_AS_GOOD = 0.1
_DECLARED = re.compile(rb"""(?:charset|encoding|coding)\s*[=:]\s*["']?([\w.-]+)""", re.IGNORECASE)
_HEAD = 1024
# Without those that text is laid out and coloured with.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_FEW = 2
_NEWLINES = re.compile(r"\r\n?")


def marked_encoding(data: bytes) -> str | None:
    """
    The encoding that a byte order mark tells; `None` without one.

    :param data: The beginning of a file, at least four bytes if it has so many.
    """
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def decode(data: bytes) -> str:
    """
    The text that some bytes are, with newlines alone at the ends of lines.

    A mark at the beginning decides, then UTF-8 if it fits, then what the text declares, then what is most likely.

    :param data: The bytes.
    :raises ValueError: If they are no text.
    """
    text = _decoded(data)
    if len(_CONTROLS.findall(text)) > max(_FEW, len(text) // 50) or (data and not text):
        msg = "it is not text in any known encoding"
        raise ValueError(msg)
    return _NEWLINES.sub("\n", without_surrogates(text.replace("\0", "")))


def without_surrogates(value: Any) -> Any:
    """
    A value of JSON in which halves of surrogate pairs are joined, or replaced where the other half is missing.

    :param value: The value; its strings may be anywhere in it.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(one) for key, one in value.items()}
    return value


def _decoded(data: bytes) -> str:
    if marked := marked_encoding(data):
        return data.decode(marked, "replace")
    if utf16 := _unmarked_utf16(data):
        return data.decode(utf16, "replace")
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    # A file that was cut off, or a log with a stray byte, is UTF-8 nevertheless.
    if not damaged or sum(character > "\x7f" for character in text) > 2 * damaged:
        return text
    return _guessed(data)


def _unmarked_utf16(data: bytes) -> str | None:
    """Which UTF-16 it is, if every other byte is mostly zero."""
    even, odd = data[:_SAMPLE:2].count(0), data[1:_SAMPLE:2].count(0)
    most = min(len(data), _SAMPLE) // 5
    if odd > most and even * 10 < odd:
        return "utf-16-le"
    return "utf-16-be" if even > most and odd * 10 < even else None


def _guessed(data: bytes) -> str:
    declared = _DECLARED.search(data, 0, _HEAD)
    try:
        if declared:
            return data.decode(declared[1].decode("ascii"))
    except (LookupError, UnicodeDecodeError):
        pass
    # Lines in ASCII alone tell nothing.
    telling = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    matches = from_bytes(telling, cp_isolation=_WRITTEN)
    best = matches.best()
    if best is None:
        return ""
    encoding = best.encoding
    for match in matches:
        is_as_good = match.coherence >= best.coherence and match.chaos <= best.chaos + _AS_GOOD
        if is_as_good and _WESTERN in match.could_be_from_charset:
            encoding = _WESTERN
    return data.decode(encoding, "replace")
