"""How many tokens texts have, without reading words again that were read before."""

import re
from collections.abc import Callable, Sequence

import numpy as np

# A word or a mark, with the space before it. Few tokenizers make tokens across these, and who counts checks the sum.
_WORD = re.compile(r"\s*(?:[^\s!-/:-@\[-`{-~]+|[!-/:-@\[-`{-~])")
_MOST = 1 << 17


class TokenCounts:
    """
    Counts tokens word by word and remembers the words, so that texts of known words cost no tokenizer.

    :param token_offsets: Where the tokens of a text begin and end, shape ``[n, 2]``.
    """

    def __init__(self, token_offsets: Callable[[str], np.ndarray]) -> None:
        self._token_offsets = token_offsets
        self._known: dict[str, int] = {}

    def of(self, texts: Sequence[str]) -> list[int]:
        """
        The sum of the tokens of each text's words.

        It is the number of the text's tokens unless the tokenizer makes tokens across spaces, or of spaces alone.

        :param texts: The texts; space before the first word belongs to it.
        """
        words = [_WORD.findall(text) for text in texts]
        known = self._known
        try:
            return [sum(map(known.__getitem__, own)) for own in words]
        except KeyError:
            known = self._with({word for own in words for word in own})
            return [sum(map(known.__getitem__, own)) for own in words]

    def _with(self, words: set[str]) -> dict[str, int]:
        """What is known, with some words among it."""
        if len(self._known) > _MOST:
            # Not emptied: another thread may be reading it.
            self._known = {}
        known = self._known
        new = sorted(words - known.keys())
        sizes = np.array([len(word) for word in new])
        begins = np.cumsum(sizes + 1) - sizes - 1
        # Read together, a line each. Some tokenizers let a word begin with the space before it, none ends it there.
        last = self._token_offsets("\n".join(new))[:, 1] - 1
        owners = np.searchsorted(begins, last, side="right") - 1
        owners = owners[last - begins[owners] < sizes[owners]]
        known.update(zip(new, np.bincount(owners, minlength=len(new)).tolist(), strict=True))
        return known
