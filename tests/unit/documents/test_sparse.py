import pytest

from rrra_haystack import RRRAModel
from rrra_haystack.documents.sparse import sparse_document, sparse_query


def test_bm25_on_hand_computed_numbers() -> None:
    encoder = RRRAModel.load().encoder
    (tea,) = encoder.token_ids(["tea"])[0]
    twice, once, empty = map(sparse_document, encoder.token_ids(["tea and tea", "tea", ""]))
    # f (k1 + 1) / (f + k1 (1 - b + b l / 150)) with k1 0.9 and b 0.4.
    assert dict(zip(twice.indices, twice.values, strict=True))[tea] == pytest.approx(
        3.8 / (2 + 0.9 * (0.6 + 1.2 / 150))
    )
    assert once.values == [pytest.approx(1.9 / (1 + 0.9 * (0.6 + 0.4 / 150)))]
    assert empty.indices == []


def test_all_of_a_long_text_counts() -> None:
    encoder = RRRAModel.load().encoder
    (long,) = map(sparse_document, encoder.token_ids(["nothing " * 600 + "zebra"]))
    query = sparse_query(encoder, "Zebra, zebra!")
    shared = set(long.indices) & set(query.indices)
    assert len(shared) == 1
    assert dict(zip(query.indices, query.values, strict=True))[shared.pop()] == 2.0
