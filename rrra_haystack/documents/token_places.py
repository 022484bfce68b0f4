"""Where the sentences of a document lie among the tokens that its codes were made of."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from rrra_haystack.documents.cutting import has_word, sentence_ends
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.words import word_codes

# A sentence of a table or of a text without full stops may be the whole passage; in characters.
_LONGEST = 400
# No text that was read whole is longer; of one that was truncated, the rest need not be looked at.
_CHARACTERS_PER_TOKEN = 32


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


def places_of(encoder: Encoder, text: EmbeddedText, coded: CodedTokens, prompt: str | None = None) -> list[Place]:
    """
    Find the sentences of a document among its token codes.

    :param encoder: The encoder that made the codes.
    :param text: The document as it would be embedded now. What was embedded beside the content may have been another
        text, which is noticed.
    :param coded: What its codes say.
    :param prompt: Put before the text instead of the model's own prompt.
    :returns: Those that have a word and a token; none if the codes were made of a text that cannot be told from this,
        or by a late-interaction model.
    """
    if not encoder.embeds:
        # Which tokens a late-interaction model keeps, its mask alone knows.
        return []
    whole = text.before + text.content[: coded.count * _CHARACTERS_PER_TOKEN] + text.after
    begin, end = len(text.before), len(whole) - len(text.after)
    # Space belongs to what follows it, as tokenizers that keep it have it.
    bounds = [len(text.before.rstrip())]
    for stop in sentence_ends(whole[begin:end], _LONGEST):
        bounds.append(_before_space(whole, bounds[-1], begin + stop))
    parts = [whole[: bounds[0]], *(whole[a:b] for a, b in pairwise(bounds)), whole[bounds[-1] :]]
    counts = encoder.token_counts.of(parts)
    if sum(counts) != coded.count:
        starts = encoder.token_offsets(whole)[:, 0]
        counts = np.diff(np.searchsorted(starts, [0, *bounds, len(whole) + 1])).tolist()
    first = _first(encoder, text, coded, counts, prompt)
    if first is None:
        return []
    tokens = [min(max(token, 0), coded.count) for token in accumulate(counts[1:-1], initial=first)]
    places = []
    for part, behind, (token, stop) in zip(parts[1:-1], bounds[1:], pairwise(tokens), strict=True):
        # What the encoder truncated has no codes.
        if stop > token and has_word(part):
            places.append(Place(behind - len(part.lstrip()) - begin, behind - begin, token, stop - token))
    return places


def _before_space(text: str, begin: int, end: int) -> int:
    """The end of what stands before the space at the end of a piece of a text."""
    return begin + len(text[begin:end].rstrip())


def _first(
    encoder: Encoder, text: EmbeddedText, coded: CodedTokens, counts: list[int], prompt: str | None
) -> int | None:
    """The first token of the content; `None` if the codes were made of a text that cannot be told from this one."""
    before, total = counts[0], sum(counts)
    if total == coded.count:
        return before
    words = word_codes(text.before + text.content + text.after)
    if total > coded.count:
        # Truncated, or the prompt took the first token.
        return before if np.array_equal(words, coded.words) else None
    # Something else was embedded before the content, unless it pushed the end of it out of what the encoder reads.
    is_end = len(words) <= len(coded.words) and np.array_equal(words, coded.words[len(coded.words) - len(words) :])
    room = encoder.room(prompt)
    return coded.count - total + before if is_end and (room is None or coded.count < room) else None
