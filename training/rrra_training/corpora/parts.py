"""Words and sentences of texts in any script, of which questions are made."""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from statistics import median_low

from rrra_haystack.documents.cutting import sentences
from rrra_haystack.model.words import MARKS, UNSPACED

logger = logging.getLogger(__name__)
# A sentence of fewer words says too little to be found by.
LEAST_WORDS = 5
LEAST_SENTENCES = 2
_LONGEST_SENTENCE = 400
# What stands more often is no overlap of passages but says nothing of one.
_MOST_OVERLAPPING = 8
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

    Passages that overlap have most sentences several times: there those ask that stand no more often than most do,
    which is told in a warning.

    :param texts: The corpus.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts: Counter[str] = Counter()
        # Copies of a passage are no overlap: what they say can ask for neither.
        different: Counter[str] = Counter()
        for text, copies in Counter(texts).items():
            for begin, end in sentences_of(text):
                sentence = text[begin:end].strip()
                self._counts[sentence] += copies
                different[sentence] += 1
        usual = median_low(different.values()) if different else 1
        self._most = usual if usual <= _MOST_OVERLAPPING else 1
        if self._most > 1:
            logger.warning(
                "Most sentences stand in several passages, as where passages overlap: questions are made of those that "
                "stand up to %d times, and figures are lower than they would be over passages that do not overlap.",
                self._most,
            )

    def ask(self, sentence: str) -> bool:
        """
        Whether a sentence says enough to be found by, and says it of one passage or of few that overlap.

        :param sentence: A sentence of the corpus.
        """
        return 1 <= self._counts[sentence.strip()] <= self._most and count_words(sentence) >= LEAST_WORDS
