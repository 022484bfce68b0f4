"""Questions made of passages: parts that are taken out and ask for the rest, and words that ask for what has them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrra_haystack.documents.cutting import sentences
from rrra_training.data import Passage

# A sentence of fewer words says too little to be found by, a rest of fewer too little to find.
_LEAST_WORDS = 5
_LEAST_REST = 20
_LEAST_TITLE = 2
_LEAST_SENTENCES = 2
_LONGEST_SENTENCE = 400
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True)
class Question:
    """
    A question that asks for a passage.

    :param row: The passage's row.
    :param text: The question.
    :param rest: The passage without it; `None` if the passage keeps it.
    """

    row: int
    text: str
    rest: str | None


# Of a passage, the question and the rest; `None` if the passage is none for such a question.
Maker = Callable[[Passage, np.random.Generator], tuple[str, str | None] | None]


def ask(
    passages: Sequence[Passage], generator: np.random.Generator, most: int, *, queries: Sequence[str] = ()
) -> dict[str, list[Question]]:
    """
    Make questions of every kind; a passage is asked for once.

    Real questions lie between the kinds: the passage has some of their words. Of `sentences` and `openings`, which are
    taken out of the passage, it has few; of `words`, half the words of a sentence in their order, it has all.

    :param passages: The corpus.
    :param generator: Draws passages and sentences.
    :param most: How many questions of a kind.
    :param queries: Queries of people, if there are some: `words` have as many words as they do.
    :returns: Kind -> questions.
    """
    titles = Counter(passage.title for passage in passages)
    counts = [len(_WORD.findall(query)) for query in queries]
    makers: Mapping[str, Maker] = {
        "sentences": _sentence_of,
        "words": lambda passage, draw: _words_of(passage, draw, counts),
        "openings": lambda passage, _: _opening_of(passage, is_shared=titles[passage.title] > 1),
    }
    found: dict[str, list[Question]] = {kind: [] for kind in makers}
    for number in generator.permutation(len(passages)).tolist():
        # The kind with the fewest questions is asked first.
        for kind in sorted(found, key=lambda one: len(found[one])):
            if len(found[kind]) == most:
                continue
            made = makers[kind](passages[number], generator)
            if made is not None and (made[1] is None or len(made[1].split()) >= _LEAST_REST):
                found[kind].append(Question(number, *made))
                break
        if all(len(own) == most for own in found.values()):
            break
    return found


def _sentence_of(passage: Passage, generator: np.random.Generator) -> tuple[str, str] | None:
    """A sentence behind the first, and the passage without it."""
    later = [
        span for span in sentences(passage.text, _LONGEST_SENTENCE)[1:] if _count(passage.text, span) >= _LEAST_WORDS
    ]
    if not later:
        return None
    begin, end = later[int(generator.integers(len(later)))]
    rest = f"{passage.title} {passage.text[:begin]}{passage.text[end:]}"
    return passage.text[begin:end].strip(), rest.strip()


def _words_of(passage: Passage, generator: np.random.Generator, counts: Sequence[int]) -> tuple[str, None] | None:
    """As many words of a sentence as a query has, or half of them, without the shortest; the passage keeps them."""
    found = [_WORD.findall(passage.text[slice(*span)]) for span in sentences(passage.text, _LONGEST_SENTENCE)]
    found = [words for words in found if len(words) >= _LEAST_WORDS]
    if not found:
        return None
    words = found[int(generator.integers(len(found)))]
    wanted = counts[int(generator.integers(len(counts)))] if counts else len(words) // 2
    drawn = generator.choice(len(words), min(max(wanted, 1), len(words)), replace=False)
    return " ".join(words[place] for place in np.sort(drawn).tolist()), None


def _opening_of(passage: Passage, *, is_shared: bool) -> tuple[str, str] | None:
    """The title, or the first sentence where there is none of the passage's own; and the passage without it."""
    if not is_shared and len(passage.title.split()) >= _LEAST_TITLE:
        return passage.title, passage.text
    spans = sentences(passage.text, _LONGEST_SENTENCE)
    if len(spans) < _LEAST_SENTENCES or _count(passage.text, spans[0]) < _LEAST_WORDS:
        return None
    begin, end = spans[0]
    return passage.text[begin:end].strip(), passage.text[end:].strip()


def _count(text: str, span: tuple[int, int]) -> int:
    return len(text[slice(*span)].split())
