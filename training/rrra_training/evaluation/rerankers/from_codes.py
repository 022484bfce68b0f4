"""Reranks by the token codes of an RRRA model."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from rrra_haystack.model.encodings import QueryEncoding
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Form, Ranked


class CodeReranker:
    """
    RRRA from token codes.

    :param form: Model and kind of codes.
    :param words: Words of each passage, as :func:`~rrra_haystack.model.words.word_codes` gives them.
    """

    def __init__(self, form: Form, words: Sequence[np.ndarray]) -> None:
        self.form = form
        self.name = form.name
        self.codes = [""] * len(words)
        self._words = words
        self._codec = form.model.codec(form.kind)  # type: ignore[arg-type]  # float32 has a class of its own

    def add(self, indices: np.ndarray, pooled: Tensor, states: Tensor, lengths: Tensor) -> None:
        """Keep the codes of a batch of passages."""
        words = [self._words[index] for index in indices]
        records = self._codec.pack(pooled, self.form.model.project(states), lengths, words)
        for index, record in zip(indices, records, strict=True):
            self.codes[index] = record

    def close(self) -> None:
        """Nothing more will be added."""

    @property
    def bytes_per_document(self) -> float:
        """As stored, base64 included."""
        return float(np.mean([len(code) for code in self.codes]))

    def prepare(self, query: EncodedQuery) -> QueryEncoding:
        """The query with its projected token states."""
        return query.read_by(self.form.model)

    def rank(self, prepared: QueryEncoding, rows: np.ndarray, base: np.ndarray) -> Ranked:  # noqa: ARG002  (the interface's signature)
        """Decode the candidates' codes and judge them."""
        batch = self.form.model.read_codes([self.codes[row] for row in rows])
        scores = self.form.model.score(prepared, batch)
        return Ranked(scores.fused, scores.relevance, lambda: batch.match(prepared.states).mean(dim=1).numpy())
