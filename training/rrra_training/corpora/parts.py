"""Words and sentences of texts in any script, of which questions are made."""

import re
from collections import Counter
from collections.abc import Iterable

from rrra_haystack.documents.cutting import sentences
from rrra_haystack.model.words import MARKS, UNSPACED

# A sentence of fewer words says too little to be found by.
LEAST_WORDS = 5
LEAST_SENTENCES = 2
_LONGEST_SENTENCE = 400
# Two letters of a script without spaces say about as much as a word.
_LETTER = f"[{UNSPACED}][{MARKS}]*"
_ANY_WORD = re.compile(rf"(?:{_LETTER}){{1,2}}|[^\W{UNSPACED}][^\s{UNSPACED}]*")
_LONG_WORD = re.compile(rf"(?:{_LETTER}){{2}}|[^\W{UNSPACED}](?:[^\W{UNSPACED}]|[{MARKS}]){{2,}}")


def count_words(text: str) -> int:
    """How many words a text has."""
    return len(_ANY_WORD.findall(text))


def long_words(text: str) -> list[str]:
    """The words of a text in their order, without those of one or two letters of an alphabet."""
    return _LONG_WORD.findall(text)


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Begin and end of each sentence of a text; a very long one is cut."""
    return sentences(text, _LONGEST_SENTENCE)


class OwnSentences:
    """
    Tells which sentences stand once in a corpus, and so ask for one passage.

    :param texts: The corpus.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts = Counter(text[begin:end].strip() for text in texts for begin, end in sentences_of(text))

    def ask(self, sentence: str) -> bool:
        """
        Whether a sentence says enough to be found by, and says it of one passage.

        :param sentence: A sentence of the corpus.
        """
        return self._counts[sentence.strip()] == 1 and count_words(sentence) >= LEAST_WORDS
