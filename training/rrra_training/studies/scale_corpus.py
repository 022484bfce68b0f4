"""A corpus of any size out of a smaller one: its passages again and again, each time a little other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pybase64
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.model.codes.kinds import KINDS, QUANTISERS
from rrra_haystack.model.codes.record import HEAD
from rrra_haystack.qdrant.clients import open_client

# Length of the noise beside an embedding of length 1: a passage and what is made of it have a cosine of 0.9.
_NOISE = 0.5
# Share of a passage's words that give way to words of another one.
_OTHER_WORDS = 0.2
_PAGE = 1024


class PerturbedCorpus:
    """
    Passages made of those of a store.

    Noise is added to an embedding, a fifth of the words is taken from another passage, and the token codes are put into
    another order, in which the check sum of their record holds. Text and metadata stay.

    :param store: The store of an index, with sparse embeddings and codes. It is read once.
    """

    def __init__(self, store: QdrantDocumentStore) -> None:
        self._embeddings: list[np.ndarray] = []
        self._words: list[tuple[np.ndarray, np.ndarray]] = []
        self._payloads: list[dict[str, Any]] = []
        self._records: list[bytes] = []
        for point in _points_of(store):
            vectors: Any = point.vector
            for name, vector in vectors.items():
                if isinstance(vector, models.SparseVector):
                    self._sparse = name
                    self._words.append((np.asarray(vector.indices), np.asarray(vector.values)))
                else:
                    self._dense = name
                    self._embeddings.append(np.asarray(vector, dtype=np.float32))
            payload = point.payload or {}
            self._payloads.append(payload)
            self._records.append(pybase64.b64decode(payload["meta"][CODES_KEY]))

    def __len__(self) -> int:
        return len(self._payloads)

    def points(self, begin: int, end: int) -> list[models.PointStruct]:
        """
        The passages of some numbers, the same each time.

        :param begin: The first number.
        :param end: The number after the last one.
        """
        return [self._point(number) for number in range(begin, end)]

    def _point(self, number: int) -> models.PointStruct:
        draw = np.random.default_rng(number)
        origin = number % len(self)
        embedding = self._embeddings[origin]
        noise = draw.standard_normal(len(embedding), dtype=np.float32)
        noisy = embedding / np.linalg.norm(embedding) + _NOISE * noise / np.linalg.norm(noise)
        codes = pybase64.b64encode_as_string(shuffled(self._records[origin], draw))
        payload = self._payloads[origin]
        return models.PointStruct(
            id=number,
            vector={self._dense: noisy.tolist(), self._sparse: self._other_words(origin, draw)},
            payload={**payload, "id": str(number), "meta": {**payload["meta"], CODES_KEY: codes}},
        )

    def _other_words(self, origin: int, draw: np.random.Generator) -> models.SparseVector:
        indices, values = self._words[origin]
        kept = draw.random(len(indices)) >= _OTHER_WORDS
        others, of_others = self._words[draw.integers(len(self))]
        added = (draw.random(len(others)) < _OTHER_WORDS) & ~np.isin(others, indices)
        return models.SparseVector(
            indices=np.concatenate([indices[kept], others[added]]).tolist(),
            values=np.concatenate([values[kept], of_others[added]]).tolist(),
        )


def shuffled(record: bytes, draw: np.random.Generator) -> bytes:
    """
    A record with its tokens in another order. Its check sum is a sum of its words, and stays what it is.

    :param record: Token codes of one document, of which each token fills whole words of eight bytes.
    :param draw: Where chance comes from.
    """
    head = np.frombuffer(record, dtype=HEAD, count=1)[0]
    width = QUANTISERS[KINDS[head["kind"]]].row_bytes(int(head["token_dim"]))
    rows = np.frombuffer(record, dtype=np.uint8).reshape(-1, width).copy()
    tokens = int(head["tokens"])
    rows[len(rows) - tokens :] = draw.permutation(rows[len(rows) - tokens :])
    return rows.tobytes()


def _points_of(store: QdrantDocumentStore) -> Iterator[models.Record]:
    client, offset = open_client(store), None
    while True:
        page, offset = client.scroll(store.index, limit=_PAGE, offset=offset, with_payload=True, with_vectors=True)
        yield from page
        if offset is None:
            return
