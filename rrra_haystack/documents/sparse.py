"""Sparse embeddings of the words themselves, for hybrid retrieval: BM25 over the encoder's own tokens."""

from collections import Counter
from collections.abc import Sequence

from haystack.dataclasses import SparseEmbedding

from rrra_haystack.model.encoder import Encoder

# The parameters of Anserini; the length of an average passage is set, since documents come one batch at a time.
_K1, _B = 0.9, 0.4
_AVERAGE_LENGTH = 150.0


def sparse_document(token_ids: Sequence[int]) -> SparseEmbedding:
    """
    BM25's part of a document (Robertson and Zaragoza, 2009): ``f (k1 + 1) / (f + k1 (1 - b + b l / average))``.

    The other part, the inverse document frequency, is Qdrant's: create the store with ``sparse_idf=True``. The
    dimensions are token ids, so a document and a query must be read by the same encoder.

    :param token_ids: The document's tokens, as :meth:`Encoder.token_ids` gives them; what the encoder truncates counts
        too.
    """
    counts = Counter(token_ids)
    saturation = _K1 * (1 - _B + _B * len(token_ids) / _AVERAGE_LENGTH)
    values = [count * (_K1 + 1) / (count + saturation) for count in counts.values()]
    return SparseEmbedding(indices=list(counts), values=values)


def sparse_query(encoder: Encoder, text: str) -> SparseEmbedding:
    """
    How often a query names each token.

    :param encoder: Its tokenizer reads the text.
    :param text: The query.
    """
    (ids,) = encoder.token_ids([text])
    counts = Counter(ids)
    return SparseEmbedding(indices=list(counts), values=[float(count) for count in counts.values()])
