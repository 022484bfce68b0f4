"""Texts as tokenizers take them: without halves of characters, which JSON may hold escaped and no encoding can."""

import re

_HALF = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """
    A text of the same length with a replacement character for each lone surrogate.

    :param text: The text.
    """
    return text if text.isascii() else _HALF.sub("\ufffd", text)
