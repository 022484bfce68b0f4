"""How many tokens texts have, without reading words again that were read before."""

import re
from collections.abc import Callable, Collection, Sequence

# A word with the space before it: tokenizers that do not split there are few, and whoever counts checks the sum.
_WORD = re.compile(r"\s*\S+")
_MOST = 1 << 17


class TokenCounts:
    """
    Counts tokens word by word and remembers the words, so that texts of known words cost no tokenizer.

    :param token_ids: The tokens of whole texts.
    :param dropped: Tokens that do not count.
    """

    def __init__(self, token_ids: Callable[[Sequence[str]], list[list[int]]], dropped: Collection[int]) -> None:
        self._token_ids = token_ids
        self._dropped = frozenset(dropped)
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
        for word, ids in zip(new, self._token_ids(new), strict=True):
            known[word] = sum(token not in self._dropped for token in ids)
        return known
