"""Queries whose first passages the adapter changed, with the words that matched."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from rrra_haystack.documents.highlights import find_highlights
from rrra_haystack.documents.token_places import EmbeddedText
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.data import Query
from rrra_training.evaluation.evaluate import Evaluation
from rrra_training.evaluation.systems import baseline_of
from rrra_training.report.alignment import MatchedWord, align

_GAINS, _LOSSES, _TOP = 5, 3, 3
# Where words are not parted by spaces, a piece of one counts as a word; all together are about as long as 80 words are.
_WORDS, _LETTERS, _LONGEST_WORD = 80, 600, 20
# Below this share of the strongest word a match says nothing to a reader.
_LEAST_STRENGTH = 0.15


class Piece(NamedTuple):
    """
    A piece of a text.

    :param text: What stands there.
    :param strength: How strongly it matched, from 0 (not at all) to 3.
    :param in_sentence: Whether it belongs to the sentence that matched best.
    """

    text: str
    strength: int = 0
    in_sentence: bool = False


@dataclass(frozen=True)
class RankedPassage:
    """
    A ranked passage.

    :param rank: Its rank.
    :param other: Its rank in the other order; `None` if it is not in it.
    :param relevant: Whether it is labelled relevant.
    :param pieces: Pieces of its text.
    """

    rank: int
    other: int | None
    relevant: bool
    pieces: list[Piece]


@dataclass(frozen=True)
class Change:
    """A query whose ranking changed, with its first passages before and after."""

    question: str
    before_value: float
    after_value: float
    before: list[RankedPassage]
    after: list[RankedPassage]


def changes(one: Evaluation, main: str, *, gains: bool) -> list[Change]:
    """The queries that a system gains or loses most over what retrieves."""
    before, after = (one.per_query[name] for name in (baseline_of(one.runs), main))
    by_ndcg = after["nDCG@10"] - before["nDCG@10"]
    by_rank = after["MRR@10"] - before["MRR@10"]
    sign = -1 if gains else 1
    order = np.lexsort((sign * by_rank, sign * by_ndcg))[: _GAINS if gains else _LOSSES]
    chosen = [int(i) for i in order if (by_ndcg[i] > 0 if gains else by_ndcg[i] < 0)]
    return [_change(one, main, i) for i in chosen]


def _change(one: Evaluation, main: str, number: int) -> Change:
    query = one.queries[number]
    systems = (baseline_of(one.runs), main)
    before, after = (_order(one.runs[name].get(query.id, {})) for name in systems)
    shown = list(dict.fromkeys([*before[:_TOP], *after[:_TOP]]))
    texts = [one.passages[passage].title_and_text for passage in shown]
    pieces = dict(zip(shown, _pieces(one, query, texts), strict=True))
    judged = one.qrels[query.id]

    def listed(own: list[str], other: list[str]) -> list[RankedPassage]:
        ranks = {passage: rank for rank, passage in enumerate(other, start=1)}
        return [
            RankedPassage(rank, ranks.get(passage), judged.get(passage, 0) > 0, pieces[passage])
            for rank, passage in enumerate(own[:_TOP], start=1)
        ]

    values = [float(one.per_query[name]["nDCG@10"][number]) for name in systems]
    return Change(query.text, values[0], values[1], listed(before, after), listed(after, before))


def _order(run: Mapping[str, float]) -> list[str]:
    return sorted(run, key=lambda passage: -run[passage])


def _pieces(one: Evaluation, query: Query, texts: Sequence[str]) -> list[list[Piece]]:
    found = align(one.model, query.text, texts)
    strongest = max((span.weight for spans in found for span in spans), default=1.0)
    sentences = _sentences(one.model, query, texts)
    return [cut(text, spans, strongest, own) for text, spans, own in zip(texts, found, sentences, strict=True)]


def _sentences(model: RRRAModel, query: Query, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Where the best sentence of each text begins and ends; nowhere if there is none."""
    _, codes = model.encode_documents(texts)
    whole = {number: EmbeddedText("", text, "") for number, text in enumerate(texts)}
    found = find_highlights(model, model.encode_query(query.text), model.read_codes(codes), whole)
    return [(own[0]["start"], own[0]["end"]) if own else (0, 0) for own in found.values()]


def cut(text: str, spans: Sequence[MatchedWord], strongest: float, sentence: tuple[int, int] = (0, 0)) -> list[Piece]:
    """
    The 80 words of a text, or 600 letters, that hold the most of what matched, in pieces.

    :param text: The text.
    :param spans: Its words that matched, in order.
    :param strongest: Weight of the strongest match of all texts.
    :param sentence: Where the sentence that matched best begins and ends.
    """
    words = [(one.start(), one.end()) for one in re.finditer(rf"\S{{1,{_LONGEST_WORD}}}", text)]
    if not words:
        return [Piece(text)]
    starts, ends = np.asarray(words).T
    held = np.zeros(len(words))
    for span in spans:
        held[np.searchsorted(starts, span.start, side="right") - 1] += span.weight
    sums = np.asarray([0.0, *accumulate(held)])
    behind = np.minimum(np.arange(len(words)) + _WORDS, np.searchsorted(ends, starts + _LETTERS, side="right"))
    first = int((sums[behind] - sums[:-1]).argmax())
    begin, end = words[first][0], words[behind[first] - 1][1]
    # The last of what begins at a place counts: a word within the sentence, and the text behind it.
    strengths = {begin: 0}
    for span in spans:
        strength = span.weight / strongest
        if span.start >= max(strengths) and span.end <= end and strength >= _LEAST_STRENGTH:
            strengths[span.start] = 1 + (strength > 1 / 3) + (strength > 2 / 3)
            strengths[span.end] = 0
    bounds = sorted({*strengths, *(place for place in sentence if begin < place < end), end})
    pieces = [Piece("… ")] if first else []
    at = 0
    for place, following in pairwise(bounds):
        at = strengths.get(place, at)
        pieces.append(Piece(text[place:following], at, sentence[0] <= place < sentence[1]))
    return [*pieces, Piece(" …")] if end < len(text.rstrip()) else pieces
