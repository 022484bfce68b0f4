"""Which sentences of documents a query matched, read from their token codes without a pass of the encoder."""

from collections.abc import Iterator
from itertools import islice
from typing import TypedDict

import numpy as np

from rrra_haystack.documents.token_places import EmbeddedText, Place, places_of
from rrra_haystack.model.adapter.observation import Matching
from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.rrra_model import RRRAModel

_MOST = 3
# A sentence that matches less than this part of the best one is no highlight. Chosen on dev; docs/highlights.md has the
# figures.
_LEAST = 0.8


class Highlight(TypedDict):
    """
    A sentence of a document, as plain JSON.

    `start` and `end` are characters of the content, `text` is what stands there, and `score` is its token match: the
    mean over the query's tokens of their best cosine, weighted as the adapter weights them.
    """

    start: int
    end: int
    text: str
    score: float


def find_highlights(
    model: RRRAModel,
    query: QueryEncoding,
    batch: CodeBatch,
    texts: dict[int, EmbeddedText],
    prompt: str | None = None,
    matching: Matching | None = None,
) -> dict[int, list[Highlight]]:
    """
    The sentences of documents that a query matched best.

    :param model: The model that made the codes.
    :param query: The query.
    :param batch: Codes of documents.
    :param texts: Those that highlights are wanted of, by their numbers in the batch.
    :param prompt: Put before each text instead of the model's own document prompt.
    :param matching: How the query's tokens match those of the batch, if it is known.
    :returns: At most three of each, best first; none of a document whose codes were made of another text.
    """
    places = places_of(model.encoder, batch, texts, prompt)
    scores: Iterator[float] = iter(())
    stretches = [(number, one.token, one.tokens) for number, own in zip(texts, places, strict=True) for one in own]
    if stretches and len(query.states):
        owners, begins, counts = np.array(stretches).T
        if matching is None:
            match, weights = batch.match_stretches(query.states, owners, begins, counts), model.token_weights(query)
        else:
            match = batch.segments.maximum_of_parts(matching.similarity, owners, begins, counts)
            weights = matching.weights
        # A single product, which numpy begins sooner than torch.
        scores = iter((match.numpy() @ weights.numpy()).tolist())
    # Of a query without a token, no place has a score.
    return {
        number: _best(text.content, list(zip(islice(scores, len(own)), own, strict=False)))
        for (number, text), own in zip(texts.items(), places, strict=True)
    }


def _best(content: str, scored: list[tuple[float, Place]]) -> list[Highlight]:
    """The best sentences of a document, from all with their scores."""
    order = sorted(scored, key=lambda one: -one[0])[:_MOST]
    return [
        Highlight(start=place.start, end=place.end, text=content[place.start : place.end], score=score)
        for score, place in order
        if score >= min(_LEAST * order[0][0], order[0][0])
    ]
