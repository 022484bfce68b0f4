"""Which share of a query's words and pairs of words candidates have."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rrra_haystack.model.rarity import RARITY_UNIT, rarity_in
from rrra_haystack.model.words import NUMBERS

# Of BM25, as in Anserini.
_K1 = 0.9
# In a list of so few candidates any word may be missing.
_FEW = 10
# Of the share that each word would have if all counted alike: what the bound leaves a word of a short query.
_EVEN_SHARE = 0.5

Language = Literal["english", "corpus"]


class LexicalForm(BaseModel):
    """
    How the words in common are counted.

    :param pair_weight: How much a pair of adjacent words counts, beside a word as rare.
    :param length: How far the words of a long candidate count less, the b of BM25: 0 for not at all, 1 for in
        proportion to its length over the mean of the list.
    :param language: A language whose common words count less, also where few candidates have them, such as the *what*
        of a question; ``corpus`` for the texts that the model was adapted to, whose table lies with its weights; `None`
        if nothing is known of the language.
    :param largest_share: Where a word of the query is in no candidate, and where the query has no capital, no word
        counts for more than this share of the whole; 1 for no bound. A list of n candidates, fewer than a hundred, has
        the bound ``10 / n``, and a query of w words in the candidates, fewer than five, ``1 / 2w``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pair_weight: float = Field(0.3, ge=0)
    length: float = Field(0.4, ge=0, le=1)
    language: Language | None = "english"
    largest_share: float = Field(1.0, gt=0, le=1)


# Of new models.
CHOSEN_FORM = LexicalForm(largest_share=0.1)
# Of models that keep none.
EARLIER_FORM = LexicalForm(pair_weight=1.0, length=0.0, language=None)
# That the regression of detection was fitted with, whatever model judges.
DETECTION_FORM = EARLIER_FORM


def lexical_scores(
    query: np.ndarray, words: np.ndarray, counts: np.ndarray, form: LexicalForm, table: np.ndarray | None = None
) -> np.ndarray:
    """
    Which share of a query's terms each of n candidates has: of its words, and of its pairs of adjacent words.

    A word that stands f times in a candidate counts ``f / (f + 0.9)``, as in BM25 (Robertson and Zaragoza, 2009), where
    the 0.9 grows and shrinks with the candidate's length as far as the form says; a pair counts 1, however often it
    stands there. Rare terms weigh more: one that d candidates have weighs ``log((n + 1) / (d + 1/2))``, its inverse
    document frequency (Robertson and Spärck Jones, 1976), taken over the candidates, since a ranker does not know the
    corpus; a word's weight is multiplied by its rarity in the language. A term that no candidate has says nothing of
    their order and weighs nothing. But it is a sign that query and candidates use other words for the same, and that
    what they share by chance looks rare. A query without a capital does not tell names from words that such queries are
    full of. In both cases a bound holds for every word.

    :param query: The query's words as :func:`~rrra_haystack.model.words.query_word_codes` gives them, shape ``[m]``.
    :param words: The candidates' words, one candidate after the other, shape ``[W]``.
    :param counts: Words of each candidate, shape ``[n]``.
    :param form: How words, pairs and lengths count.
    :param table: Rarities of words as :func:`~rrra_haystack.model.rarity.rarity_bytes` gives them; those of the
        form's language if `None`.
    :returns: Between 0 and 1, shape ``[n]``, float32.
    """
    known, asked = np.unique(query, return_inverse=True)
    if not ((candidates := len(counts)) and len(known)):
        return np.zeros(candidates, dtype=np.float32)
    places = np.full(NUMBERS, len(known), dtype=np.int32)
    places[known] = np.arange(len(known))
    place = places[words]
    at = np.flatnonzero(place < len(known))
    place, owner = place[at].astype(np.int64), np.repeat(np.arange(candidates), counts)[at]
    first = np.flatnonzero((np.diff(at) == 1) & (np.diff(owner) == 0))
    # A pair is the places of its two words among the query's, as one number; the last is none.
    pairs = place[first] * len(known) + place[first + 1]
    known_pairs = np.unique(asked[:-1] * len(known) + asked[1:])
    pair_place = np.searchsorted(known_pairs, pairs)
    is_known = np.append(known_pairs, -1)[pair_place] == pairs
    pair_place = len(known) + pair_place[is_known]
    terms = len(known) + len(known_pairs)
    found = np.concatenate([owner * terms + place, owner[first[is_known]] * terms + pair_place])
    frequency = np.bincount(found, minlength=candidates * terms).reshape(candidates, terms).astype(np.float32)
    having = np.count_nonzero(frequency, axis=0)
    weight = np.log((candidates + 1) / (having + 0.5)) * (having > 0)
    if table is None and form.language == "english":
        table = rarity_in(form.language)
    if table is not None:
        weight[: len(known)] *= table[known] / RARITY_UNIT
    weight[len(known) :] *= form.pair_weight
    of_words, of_pairs = np.split(frequency, [len(known)], axis=1)
    # A candidate without a word counts as one of one word: with b = 1 there would be nothing to divide by.
    lengths = np.maximum(counts, 1) / max(counts.mean(), 1)
    total = weight.sum()
    # No candidate has the number that parts two readings: the bound holds for every query without a capital.
    if (found_words := int(np.count_nonzero(having[: len(known)]))) < len(known):
        bound = total * max(form.largest_share, _FEW / candidates, _EVEN_SHARE / max(found_words, 1))
        np.minimum(weight[: len(known)], bound, out=weight[: len(known)])
    of_words /= of_words + (_K1 * (1 - form.length + form.length * lengths)).astype(np.float32)[:, None]
    np.minimum(of_pairs, 1, out=of_pairs)
    return frequency @ (weight / max(total, 1e-12)).astype(np.float32)
