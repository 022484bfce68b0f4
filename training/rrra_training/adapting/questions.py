"""Questions made of passages: parts that are taken out and ask for the rest, and words that ask for what has them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrra_training.corpora.parts import (
    LEAST_SENTENCES,
    LEAST_WORDS,
    OwnSentences,
    count_words,
    long_words,
    sentences_of,
)
from rrra_training.data import Passage

# A rest of fewer words is too little to find, a title of fewer to be found by.
_LEAST_REST = 20
_LEAST_TITLE = 2


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
    Make questions of every kind; a passage is asked for once, and no question asks for two.

    Real questions lie between the kinds: the passage has some of their words. Of `sentences` and `openings`, which are
    taken out of the passage, it has few; of `words`, half the words of a sentence in their order, it has all.

    :param passages: The corpus.
    :param generator: Draws passages and sentences.
    :param most: How many questions of a kind.
    :param queries: Queries of people, if there are some: `words` have as many words as they do.
    :returns: Kind -> questions.
    """
    titles = Counter(passage.title for passage in passages)
    counts = [len(long_words(query)) for query in queries]
    own = OwnSentences(passage.text for passage in passages)
    makers: Mapping[str, Maker] = {
        "sentences": lambda passage, draw: _sentence_of(passage, draw, own),
        "words": lambda passage, draw: _words_of(passage, draw, own, counts),
        "openings": lambda passage, _: _opening_of(passage, own, is_shared=titles[passage.title] > 1),
    }
    found: dict[str, list[Question]] = {kind: [] for kind in makers}
    seen: set[str] = set()
    for number in generator.permutation(len(passages)).tolist():
        # The kind with the fewest questions is asked first.
        for kind in sorted(found, key=lambda one: len(found[one])):
            if len(found[kind]) == most:
                continue
            made = makers[kind](passages[number], generator)
            if made is None or made[0] in seen:
                continue
            if made[1] is None or count_words(made[1]) >= _LEAST_REST:
                seen.add(made[0])
                found[kind].append(Question(number, *made))
                break
        if all(len(asked) == most for asked in found.values()):
            break
    return found


def _sentence_of(passage: Passage, generator: np.random.Generator, own: OwnSentences) -> tuple[str, str] | None:
    """A sentence behind the first, and the passage without it."""
    later = [span for span in sentences_of(passage.text)[1:] if own.ask(passage.text[slice(*span)])]
    if not later:
        return None
    begin, end = later[int(generator.integers(len(later)))]
    rest = f"{passage.title} {passage.text[:begin]}{passage.text[end:]}"
    return passage.text[begin:end].strip(), rest.strip()


def _words_of(
    passage: Passage, generator: np.random.Generator, own: OwnSentences, counts: Sequence[int]
) -> tuple[str, None] | None:
    """As many words of a sentence as a query has, or half of them, without the shortest; the passage keeps them."""
    told = [passage.text[slice(*span)] for span in sentences_of(passage.text)]
    found = [words for one in told if own.ask(one) and len(words := long_words(one)) >= LEAST_WORDS]
    if not found:
        return None
    words = found[int(generator.integers(len(found)))]
    wanted = counts[int(generator.integers(len(counts)))] if counts else len(words) // 2
    drawn = generator.choice(len(words), min(max(wanted, 1), len(words)), replace=False)
    return " ".join(words[place] for place in np.sort(drawn).tolist()), None


def _opening_of(passage: Passage, own: OwnSentences, *, is_shared: bool) -> tuple[str, str] | None:
    """The title, or the first sentence where there is none of the passage's own; and the passage without it."""
    if not is_shared and count_words(passage.title) >= _LEAST_TITLE:
        return passage.title, passage.text
    spans = sentences_of(passage.text)
    if len(spans) < LEAST_SENTENCES or not own.ask(passage.text[slice(*spans[0])]):
        return None
    begin, end = spans[0]
    return passage.text[begin:end].strip(), passage.text[end:].strip()
