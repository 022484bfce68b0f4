"""Where the sentences of a document lie among the tokens that its codes were made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

import numpy as np

from rrra_haystack.documents.cutting import has_word, sentence_ends
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.words import word_codes

# A sentence of a table or of a text without full stops may be the whole passage; in characters.
_LONGEST = 400
# No text that was read whole is longer; of one that was truncated, the rest need not be looked at.
_CHARACTERS_PER_TOKEN = 32
# Characters that tell one text from another.
_BEGINNING = 400


@dataclass(frozen=True)
class EmbeddedText:
    """
    A document as it is embedded.

    :param before: What stands before the content: metadata fields and a separator.
    :param content: The content.
    :param after: What stands behind it.
    """

    before: str
    content: str
    after: str


@dataclass(frozen=True)
class CodedTokens:
    """
    What a document's codes say of the text that they were made of.

    :param count: How many tokens it has; fewer than the text if the encoder truncated it.
    :param words: Its words, as :func:`~rrra_haystack.model.words.word_codes` gives them.
    """

    count: int
    words: np.ndarray


class Place(NamedTuple):
    """
    A sentence of a content.

    :param start: Its first character.
    :param end: The character behind its last one.
    :param token: Its first token.
    :param tokens: How many tokens it has.
    """

    start: int
    end: int
    token: int
    tokens: int


def places_of(
    encoder: Encoder, texts: Sequence[tuple[EmbeddedText, CodedTokens]], prompt: str | None = None
) -> list[list[Place]]:
    """
    Find the sentences of documents among their token codes.

    :param encoder: The encoder that made the codes.
    :param texts: Each document as it would be embedded now, and what its codes say. What was embedded beside the
        content may have been another text, which is noticed.
    :param prompt: Put before each text instead of the model's own prompt.
    :returns: Those of each document that have a word and a token; none if the codes were made of a text that cannot be
        told from this, or by a late-interaction model.
    """
    if not encoder.embeds:
        # Which tokens a late-interaction model keeps, its mask alone knows.
        return [[] for _ in texts]
    divided = [_divided(text, coded.count) for text, coded in texts]
    counts = iter(encoder.token_counts.of([part for one in divided for part in one.parts]))
    room = encoder.room(prompt)
    return [
        _places(encoder, text, coded, one, list(islice(counts, len(one.parts))), room)
        for (text, coded), one in zip(texts, divided, strict=True)
    ]


@dataclass(frozen=True)
class _Divided:
    """
    A document in parts: what stands before the content, its sentences, and what stands behind it.

    :param whole: The text.
    :param bounds: The characters behind the parts but the last. Space belongs to what follows it, as tokenizers that
        keep it have it.
    :param begin: The first character of the content.
    """

    whole: str
    bounds: list[int]
    begin: int

    @cached_property
    def parts(self) -> list[str]:
        return [self.whole[a:b] for a, b in pairwise([0, *self.bounds, len(self.whole)])]


def _divided(text: EmbeddedText, count: int) -> _Divided:
    """Part a document of so many coded tokens."""
    content = text.content[: count * _CHARACTERS_PER_TOKEN]
    begin = len(text.before)
    bounds = [len(text.before.rstrip())]
    before = 0
    for stop in sentence_ends(content, _LONGEST):
        sentence = content[before:stop].rstrip()
        bounds.append(begin + before + len(sentence) if sentence else bounds[-1])
        before = stop
    return _Divided(text.before + content + text.after, bounds, begin)


def _places(
    encoder: Encoder, text: EmbeddedText, coded: CodedTokens, divided: _Divided, counts: list[int], room: int | None
) -> list[Place]:
    """The sentences of one document, whose parts have so many tokens if each word is read for itself."""
    whole, bounds, begin = divided.whole, divided.bounds, divided.begin
    # Of a text that is longer than the encoder reads, nothing tells whether the words' tokens are all right.
    if sum(counts) != coded.count and not sum(counts) > coded.count == room:
        starts = encoder.token_offsets(whole)[:, 0]
        counts = np.diff(np.searchsorted(starts, [0, *bounds, len(whole) + 1])).tolist()
    first = _first(text, coded, counts, room)
    if first is None:
        return []
    tokens = [min(max(token, 0), coded.count) for token in accumulate(counts[1:-1], initial=first)]
    places = []
    for part, behind, (token, stop) in zip(divided.parts[1:-1], bounds[1:], pairwise(tokens), strict=True):
        # What the encoder truncated has no codes.
        if stop > token and has_word(part):
            places.append(Place(behind - len(part.lstrip()) - begin, behind - begin, token, stop - token))
    return places


def _first(text: EmbeddedText, coded: CodedTokens, counts: list[int], room: int | None) -> int | None:
    """The first token of the content; `None` if the codes were made of a text that cannot be told from this one."""
    before, total = counts[0], sum(counts)
    if total == coded.count:
        return before
    whole = text.before + text.content + text.after
    if total > coded.count == room:
        # Truncated: its first words tell whether it is this text. The last of them may be cut.
        words = word_codes(whole[:_BEGINNING])[:-1]
        return before if np.array_equal(words, coded.words[: len(words)]) else None
    words = word_codes(whole)
    if total > coded.count:
        # The prompt took the first token.
        return before if np.array_equal(words, coded.words) else None
    # Something else was embedded before the content, unless it pushed the end of it out of what the encoder reads.
    is_end = len(words) <= len(coded.words) and np.array_equal(words, coded.words[len(coded.words) - len(words) :])
    return coded.count - total + before if is_end and (room is None or coded.count < room) else None
