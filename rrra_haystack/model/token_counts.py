"""How many tokens texts have, without reading words that were read before or that the vocabulary has whole."""

import re
from collections.abc import Callable, Sequence
from itertools import compress
from string import ascii_letters, ascii_lowercase, digits
from typing import Any

import numpy as np

from rrra_haystack.model.known_words import KnownWords, WordsOfTexts
from rrra_haystack.model.surrogates import whole_characters

# How a tokenizer writes a word is learned from this one, which every vocabulary of Latin script has.
_SPECIMEN = "House"
# A tokenizer that cuts at all marks and ideographs makes six tokens of these, others fewer.
_MARKS_AND_IDEOGRAPHS = "(.\u4e2d\u56fd\u65e5\u672c"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"
_CUT = re.compile(
    rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+|[!-/:-@\[-`{{-~\u2010-\u2027\u3001\u3002\u3008-\u3011\uff01-\uff03\uff05-\uff0a\uff0c-\uff0f\uff1a\uff1b\uff1f]"
)
# Behind a word, each of these is a token of its own, however a tokenizer cuts.
_MARKS = frozenset(".,;:?!")


class WholeWords:
    """
    Knows tokens without reading texts: words that a vocabulary has whole.

    :param tokenizer: A tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        written = "".join(tokenizer.tokenize(f" {_SPECIMEN}"))
        close, apart = (tokenizer.tokenize(f"{_SPECIMEN}{space}{_SPECIMEN}") for space in (" ", " \n  "))
        # Whether it makes tokens of space alone, of which no word tells.
        self.miss_space = len(apart) > len(close)
        self._lowers = written.endswith(_SPECIMEN.lower())
        self._space = written.removesuffix(_SPECIMEN.lower() if self._lowers else _SPECIMEN)
        self._pieces: Callable[[str], list[Any]] = tokenizer.backend_tokenizer.model.tokenize
        self._pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
        cuts = len(tokenizer.tokenize(_MARKS_AND_IDEOGRAPHS)) == len(_MARKS_AND_IDEOGRAPHS)
        self._cuts = cuts and not self._space and self._pre_tokenizer is not None
        normalizer = tokenizer.backend_tokenizer.normalizer
        self._normalised: Callable[[str], str] = str if normalizer is None else normalizer.normalize_str
        # Most rare words are made of these: no need to normalise one after another if all stay as they are.
        characters = digits + (ascii_lowercase if self._lowers else ascii_letters)
        self._stay = self._normalised(characters) == characters
        self._vocabulary = frozenset(tokenizer.get_vocab())
        bodies = (token.removeprefix(self._space) for token in self._vocabulary if token.startswith(self._space))
        self._plain = frozenset(body for body in bodies if body.isascii() and body.isalnum())

    def plain(self, words: Sequence[str]) -> dict[str, int]:
        """
        Count the tokens of words of unaccented letters and digits, with a mark behind them or without.

        :param words: What stands between two spaces, one at least.
        :returns: The tokens of those that the vocabulary has.
        """
        plain = self._plain
        # No word has a space, so all are written at once.
        written = " ".join(words).lower().split(" ") if self._lowers else words
        is_plain = list(map(plain.__contains__, written))
        counts = dict.fromkeys(compress(words, is_plain), 1)
        others = ((word, own) for word, own, known in zip(words, written, is_plain, strict=True) if not known)
        counts.update((word, 2) for word, own in others if own[-1] in _MARKS and own[:-1] in plain)
        return counts

    def counted(self, word: str) -> int | None:
        """
        Count the tokens of any word.

        :param word: What stands between two spaces.
        :returns: How many they are; `None` if it must be read.
        """
        written = word.lower() if self._lowers else word
        if not self._cuts:
            body = written[:-1] if written[-1] in _MARKS else written
            is_whole = body.isalnum() and self._space + body in self._vocabulary
            return 1 + len(written) - len(body) if is_whole else None
        if "ς" in written:
            # Python writes it at the end of a word in capitals, tokenizers do not.
            return self._alone(word)
        parts = _CUT.findall(written)
        is_plain = written.isascii() and written.isprintable()
        if not is_plain and sum(map(len, parts)) < len("".join(written.split())):
            # Accents that stand alone, and signs that some tokenizers leave out.
            return self._alone(word)
        count = 0
        for part in parts:
            if part in self._vocabulary:
                count += 1
                continue
            normalised = part if self._stay and part.isascii() else self._normalised(part)
            # What is read of unaccented letters and digits depends on nothing around them.
            is_one = normalised.isascii() and normalised.isalnum()
            count += len(self._pieces(normalised)) if is_one else self._alone(normalised)
        return count

    def _alone(self, word: str) -> int:
        """Count the tokens of a word as a tokenizer takes its steps, which costs less than to have it read a text."""
        cut = self._pre_tokenizer.pre_tokenize_str(self._normalised(word))
        return sum(len(self._pieces(piece)) for piece, _ in cut)


class TokenCounts:
    """
    Counts tokens word by word and remembers the words, so that texts of known words cost no tokenizer.

    :param token_offsets: Where the tokens of a text begin and end, shape ``[n, 2]``.
    :param whole_words: What need not be read.
    """

    def __init__(self, token_offsets: Callable[[str], np.ndarray], whole_words: WholeWords) -> None:
        self._token_offsets = token_offsets
        self._whole_words = whole_words
        self.miss_space = whole_words.miss_space
        self.forget()

    def forget(self) -> None:
        """Let no word be known."""
        # Not emptied: another thread may be reading it.
        self._known = KnownWords()

    def of(self, texts: Sequence[str]) -> list[int]:
        """
        The sum of the tokens of each text's words.

        It is nearly always the number of the text's tokens, unless the tokenizer makes tokens of spaces alone.

        :param texts: The texts.
        """
        if not texts:
            return []
        words = WordsOfTexts(texts)
        counts, is_known = self._known.counts(words.hashes)
        unknown = np.flatnonzero(~is_known)
        if len(unknown):
            hashes, at, own = np.unique(words.hashes[unknown], return_index=True, return_inverse=True)
            new = np.array(self._counted(words.words(unknown[at])), dtype=np.int64)
            self._known.add(hashes, new)
            counts[unknown] = new[own]
        return np.add.reduceat(counts, words.firsts).tolist()

    def _counted(self, words: list[str]) -> list[int]:
        """The tokens of words that are not known, each of which stands there once."""
        words = list(map(whole_characters, words))
        plain = self._whole_words.plain(words)
        counts = [plain[word] if word in plain else self._whole_words.counted(word) for word in words]
        unread = {word for word, count in zip(words, counts, strict=True) if count is None}
        read = self._read(unread) if unread else {}
        return [read[word] if count is None else count for word, count in zip(words, counts, strict=True)]

    def _read(self, words: set[str]) -> dict[str, int]:
        """Count the tokens of words by reading them behind a space, a line each."""
        lines = [f" {word}" for word in sorted(words)]
        sizes = np.array([len(line) for line in lines], dtype=np.int64)
        begins = np.cumsum(sizes + 1) - sizes - 1
        offsets = self._token_offsets("\n".join(lines))
        last = np.maximum(offsets[:, 1] - 1, offsets[:, 0])
        owners = np.searchsorted(begins, last, side="right") - 1
        # A token of the end of a line is no word's.
        owners = owners[last - begins[owners] < sizes[owners]]
        counts = np.bincount(owners, minlength=len(lines)).tolist()
        return {line[1:]: count for line, count in zip(lines, counts, strict=True)}
