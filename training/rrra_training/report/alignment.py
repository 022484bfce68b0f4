"""Which words of a passage the words of a query matched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import StateTokens
from rrra_haystack.model.adapter.relations import places
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.segments import Segments


@dataclass(frozen=True)
class MatchedWord:
    """
    A word that was matched.

    :param start: Place of its first character.
    :param end: Place behind its last character.
    :param weight: Its part in the token match: the sum of weight times similarity over the query tokens that match it
        best.
    """

    start: int
    end: int
    weight: float


@torch.inference_mode()
def align(model: RRRAModel, query: str, passages: Sequence[str]) -> list[list[MatchedWord]]:
    """
    Find for every query token its best-matching token of each passage, the observed context.

    :param model: The model, whose token states are compared before quantisation.
    :param query: The query.
    :param passages: The passages. The weights of the query tokens come from these together, as in a list of candidates.
    :returns: The matched words of each passage in the order of the text. What the encoder truncates is never matched.
    """
    if not passages:
        return []
    encoded = model.encode_query(query)
    query_tokens = nn.functional.normalize(encoded.states, dim=-1)
    states: list[Tensor] = [torch.empty(0)] * len(passages)
    for batch in model.encoder.encode(passages, task="document"):
        parts = model.project(batch.states).cpu().split(batch.lengths.tolist())
        for index, own in zip(batch.indices.tolist(), parts, strict=True):
            states[index] = own
    segments = Segments(np.asarray([len(own) for own in states]))
    tokens = StateTokens(nn.functional.normalize(torch.cat(states), dim=-1), segments)
    if not len(query_tokens) or not segments.lengths.any():
        return [[] for _ in passages]
    similarity = tokens.similarity(query_tokens)
    best = segments.maximum(similarity).T
    reading = nn.functional.normalize(model.adapter.reading(encoded.states, encoded.hidden), dim=-1)
    weights = model.adapter.query_token_weights(model.adapter.learned_weights(reading), best)
    part = weights * best.clamp_min(0)
    where = places(similarity, best, segments)
    return [
        _matched_words(
            model.encoder, text, where[number] - int(segments.starts[number]), part[number], len(states[number])
        )
        for number, text in enumerate(passages)
    ]


def _matched_words(encoder: Encoder, text: str, where: Tensor, part: Tensor, count: int) -> list[MatchedWord]:
    """Words at the places of a passage's own tokens, of shape ``[m]``; empty if the tokenizer cannot tell the words."""
    words = _words_of_tokens(encoder, text)
    if not words or len(words) != count:
        return []
    weights: dict[tuple[int, int], float] = {}
    for place, weight in zip(where.tolist(), part.tolist(), strict=True):
        weights[words[place]] = weights.get(words[place], 0.0) + weight
    return [MatchedWord(start, end, weight) for (start, end), weight in sorted(weights.items()) if weight > 0]


def _words_of_tokens(encoder: Encoder, text: str) -> list[tuple[int, int]] | None:
    """The word, as a span of the text, of each token that the encoder keeps."""
    tokenizer = encoder.transformer.tokenizer
    if not tokenizer.is_fast:
        return None
    prompt = encoder.transformer.prompts.get("document") or ""
    limit = encoder.transformer.max_seq_length
    read = tokenizer(prompt + text, truncation=limit is not None, max_length=limit)
    found = []
    for place, word in enumerate(read.word_ids()):
        if word is None:
            continue
        span = read.word_to_chars(word)
        if read.token_to_chars(place).start >= len(prompt):
            found.append((span.start - len(prompt), span.end - len(prompt)))
    return found
