"""Where the sentences of a document lie among the tokens that its codes were made of."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

import numpy as np

from rrra_haystack.documents.cutting import has_word, sentence_ends
from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.words import word_codes

# A sentence of a table or of a text without full stops may be the whole passage; in characters.
_LONGEST = 400
# Of a text that was truncated, the rest need not be looked at.
_CHARACTERS_PER_TOKEN = 32
# Characters of a content that tell whether it begins where it should.
_BEGINNING = 150


class EmbeddedText(NamedTuple):
    """
    A document as it is embedded.

    :param before: What stands before the content: metadata fields and a separator.
    :param content: The content.
    :param after: What stands behind it.
    """

    before: str
    content: str
    after: str


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
    encoder: Encoder, batch: CodeBatch, texts: Mapping[int, EmbeddedText], prompt: str | None = None
) -> list[list[Place]]:
    """
    Find the sentences of documents among their token codes.

    :param encoder: The encoder that made the codes.
    :param batch: Codes of documents.
    :param texts: Some of them as they would be embedded now, by their numbers in the batch. What was embedded beside
        the content may have been another text, which is noticed.
    :param prompt: Put before each text instead of the model's own prompt.
    :returns: Those of each document that have a word and a token; none if the codes were made of a text that cannot be
        told from this, by a late-interaction model, or of a tokenizer that does not tell places.
    """
    if not (encoder.embeds and encoder.tokenizer.is_fast):
        # Which tokens a late-interaction model keeps, its mask alone knows.
        return [[] for _ in texts]
    coded = batch.lengths[list(texts)].tolist()
    prompt = encoder.transformer.prompts.get("document") if prompt is None else prompt
    # Of a text whose beginning is cut off, no place is known.
    room = encoder.room(prompt) if encoder.tokenizer.truncation_side == "right" else None
    divided = [_divided(text, count, room) for text, count in zip(texts.values(), coded, strict=True)]
    counts = iter(encoder.token_counts.of([part for one in divided for part in one.parts]))
    places = []
    for (number, text), one, total in zip(texts.items(), divided, coded, strict=True):
        own = list(islice(counts, len(one.parts)))
        # Of a text that is longer than the encoder reads, the sum does not tell whether they are right.
        if sum(own) != total and (encoder.token_counts.miss_space or not _is_truncated(sum(own), total, room)):
            own = _own_counts(encoder, one, prompt or "")
        first = _first(text, own, total, room, partial(batch.words_of, number))
        places.append([] if first is None else _places(one, own, first, total))
    return places


class _Divided(NamedTuple):
    """
    A document in parts.

    :param whole: The text.
    :param bounds: The characters behind the parts but the last. Space belongs to what follows it, as tokenizers that
        keep it have it.
    :param parts: What stands before the content, its sentences, and what stands behind it.
    :param begin: The first character of the content.
    """

    whole: str
    bounds: list[int]
    parts: list[str]
    begin: int


def _divided(text: EmbeddedText, count: int, room: int | None) -> _Divided:
    """Part a document of so many coded tokens, which may be truncated if they are as many as the encoder reads."""
    content = text.content[: count * _CHARACTERS_PER_TOKEN] if room is not None and count >= room else text.content
    whole, begin = text.before + content + text.after, len(text.before)
    bounds = [len(text.before.rstrip())]
    before = 0
    for stop in sentence_ends(content, _LONGEST):
        sentence = content[before:stop].rstrip()
        bounds.append(begin + before + len(sentence) if sentence else bounds[-1])
        before = stop
    return _Divided(whole, bounds, [whole[a:b] for a, b in pairwise([0, *bounds, len(whole)])], begin)


def _own_counts(encoder: Encoder, divided: _Divided, prompt: str) -> list[int]:
    """The tokens of each part in the text as the encoder reads it."""
    starts = encoder.token_offsets(divided.whole, prompt)[:, 0]
    return np.diff(np.searchsorted(starts, [0, *divided.bounds, len(divided.whole) + 1])).tolist()


def _is_truncated(total: int, coded: int, room: int | None) -> bool:
    """Whether a text may have more tokens than it has codes for want of room."""
    return room is not None and total > coded >= room


def _places(divided: _Divided, counts: list[int], first: int, coded: int) -> list[Place]:
    """The sentences of a document whose content begins with a token and whose parts have so many tokens."""
    tokens = [min(max(token, 0), coded) for token in accumulate(counts[1:-1], initial=first)]
    places = []
    for part, behind, (token, stop) in zip(divided.parts[1:-1], divided.bounds[1:], pairwise(tokens), strict=True):
        # What the encoder truncated has no codes.
        if stop > token and has_word(part):
            end = behind - divided.begin
            places.append(Place(end - len(part.lstrip()), end, token, stop - token))
    return places


def _first(
    text: EmbeddedText, counts: list[int], coded: int, room: int | None, coded_words: Callable[[], np.ndarray]
) -> int | None:
    """The first token of the content; `None` if the codes were made of a text that cannot be told from this one."""
    before, total = counts[0], sum(counts)
    if total == coded:
        return before
    whole, kept = text.before + text.content + text.after, coded_words()
    if _is_truncated(total, coded, room):
        # Its first words tell whether it is this text. The last of them may be cut.
        words = word_codes(whole[: len(text.before) + _BEGINNING])[:-1]
        return before if np.array_equal(words, kept[: len(words)]) else None
    words = word_codes(whole)
    if total > coded:
        # Special tokens that stand in a truncated text took room, and have no codes.
        return before if room is not None and np.array_equal(words, kept) else None
    # Something else was embedded before the content, unless it pushed the end of it out of what the encoder reads.
    is_end = len(words) <= len(kept) and np.array_equal(words, kept[len(kept) - len(words) :])
    return coded - total + before if is_end and (room is None or coded < room) else None
