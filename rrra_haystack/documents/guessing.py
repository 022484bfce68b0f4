"""Which of the old encodings a text is in that is no UTF-8 and tells none."""

import re

from charset_normalizer import from_bytes

# Of many more a detector would take a few letters with accents for one that nobody writes.
_WRITTEN = (
    "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 iso8859_2 koi8_r cp866 cp932 euc_jp gb18030 big5 cp949".split()
)
# The Portuguese õ is left out, for it is the Hungarian ő of another encoding, and so common there.
# The Latin ones, the likeliest first, and the letters beside ASCII of languages that are written in them.
_WESTERN = "äöüß éèêëàâçîïôùûœæÿ áéíóúñü ãáéíóúâêôçàü àèéìíòóù åäöæøéà þðýáéíóúæö ëïéèóá äöüõšž"
_CENTRAL = "ąćęłńóśźż áčďéěíňóřšťúůýžľĺŕôä áéíóöőúüű ăâîşţ čćđšž äöüß"
_LATIN = {
    "cp1252": _WESTERN.split(),
    "cp1250": _CENTRAL.split(),
    "iso8859_2": _CENTRAL.split(),
    "cp1254": ["çğıöşüâîûİ"],
}
# What is no letter stands in texts of any language, but not within a word; the apostrophe does.
_SIGN = re.compile(r"\u2019|(?<![^\W\d_])(?![^\W\d_²³¹])[^\x80-\x9f]|[^\w\x80-\x9f](?![^\W\d_])|[ªº²³¹¼½¾](?!\w)")
_SAMPLE = 1 << 16
_ESCAPED = re.compile(rb"\x1b\$[@B]")
_KANA, _PAIR = re.compile(rb"[\xa4\xa5][\xa1-\xfe]"), re.compile(rb"[\xa1-\xfe]{2}")
_KANA_SHARE = 0.2
_LIKELY = 0.8
_FEW = 16
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_ONE_IN = 5


def guessed_encoding(data: bytes) -> tuple[str | None, bool]:
    """
    The likeliest encoding of a text, and whether there was enough to go by.

    :param data: The text.
    :returns: `None` if it is likely in no encoding.
    """
    # Lines in ASCII alone tell nothing.
    telling = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    count = len(_BEYOND_ASCII.findall(telling))
    is_enough = count >= _FEW
    if _is_euc_jp(telling):
        return "euc_jp", is_enough
    best = from_bytes(telling, cp_isolation=_WRITTEN).best()
    share, encoding = _latin(telling)
    is_of_few = not is_enough and share >= _LIKELY and count * _ONE_IN < len(telling)
    if best is not None and best.encoding not in _LATIN and not is_of_few:
        return best.encoding, is_enough
    return (None, False) if best is None and share < _LIKELY else (encoding, is_enough)


def is_escaped_japanese(data: bytes) -> bool:
    """
    Whether a text is ISO-2022-JP, which is ASCII but for its escapes.

    :param data: The text.
    """
    return data.isascii() and _ESCAPED.search(data) is not None


def _is_euc_jp(data: bytes) -> bool:
    """Whether it can be, and has as many kana as Japanese has: the same pairs are rare in Korean and Chinese."""
    try:
        data.decode("euc_jp")
    except UnicodeDecodeError:
        # The sample may have cut a letter.
        return False
    pairs = _PAIR.findall(data)
    return bool(pairs) and sum(_KANA.match(pair) is not None for pair in pairs) > _KANA_SHARE * len(pairs)


def _latin(data: bytes) -> tuple[float, str]:
    """The Latin encoding in which most letters are of one language, and which part of them is."""

    def share(encoding: str, letters: str) -> float:
        text = data.decode(encoding, "replace")
        told = [letter for letter in _SIGN.sub("", text).lower() if letter > "\x7f"]
        return sum(letter in letters for letter in told) / len(told) if told else 1.0

    shares = {
        encoding: max(share(encoding, letters) for letters in languages) for encoding, languages in _LATIN.items()
    }
    best = max(shares, key=shares.__getitem__)
    return shares[best], best
