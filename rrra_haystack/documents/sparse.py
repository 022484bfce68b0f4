"""Sparse embeddings of the words themselves, for hybrid retrieval: BM25 over the encoder's tokens or over words."""

from collections import Counter
from collections.abc import Sequence

from haystack.dataclasses import SparseEmbedding

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.words import word_hashes

# The parameters of Anserini; the length of an average passage is set, since documents come one batch at a time.
_K1, _B = 0.9, 0.4
_AVERAGE_LENGTH = 150.0
# One word in ways that a search for it should not tell apart.
_ONE_WORD = ["the", "The", "(the"]


def dimensions(encoder: Encoder, texts: Sequence[str], read: Sequence[list[int]] | None = None) -> Sequence[list[int]]:
    """
    The words of texts in their order, as dimensions of sparse embeddings.

    They are the encoder's tokens, or :func:`~rrra_haystack.model.words.word_hashes` where it :func:`counts_words`. So a
    document and a query must be read by the same encoder.

    :param encoder: Its tokenizer decides.
    :param texts: The texts; what the encoder truncates counts too.
    :param read: The tokens of the texts, as :meth:`Encoder.token_ids` gives them, where they are known.
    """
    if counts_words(encoder):
        return [word_hashes(text) for text in texts]
    return encoder.token_ids(texts) if read is None else read


def counts_words(encoder: Encoder) -> bool:
    """
    Whether the dimensions of sparse embeddings are words, and not the encoder's tokens.

    They are tokens, if its tokenizer reads a word alike wherever it stands, in capitals and not. Others make two tokens
    of *Danube* and *danube*, or of one behind a space and one behind a bracket.

    :param encoder: Its tokenizer decides.
    """
    plain, *others = encoder.token_ids(_ONE_WORD)
    return any(ids[-len(plain) :] != plain for ids in others)


def sparse_document(words: Sequence[int]) -> SparseEmbedding:
    """
    BM25's part of a document (Robertson and Zaragoza, 2009): ``f (k1 + 1) / (f + k1 (1 - b + b l / average))``.

    The other part, the inverse document frequency, is Qdrant's: create the store with ``sparse_idf=True``.

    :param words: The document's words, as :func:`dimensions` gives them.
    """
    counts = Counter(words)
    saturation = _K1 * (1 - _B + _B * len(words) / _AVERAGE_LENGTH)
    values = [count * (_K1 + 1) / (count + saturation) for count in counts.values()]
    return SparseEmbedding(indices=list(counts), values=values)


def sparse_query(encoder: Encoder, text: str) -> SparseEmbedding:
    """
    How often a query names each word.

    :param encoder: Its tokenizer reads the text.
    :param text: The query.
    """
    (words,) = dimensions(encoder, [text])
    counts = Counter(words)
    return SparseEmbedding(indices=list(counts), values=[float(count) for count in counts.values()])
