"""Filters compare dates as moments, in every engine, unless an index knows them as texts."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filters import ids, leaf
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.errors import FilterError
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRARetriever

QUERY = [1.0, 0.0, 0.0]
NOON = datetime(2024, 2, 3, 12, tzinfo=UTC)
SPELLINGS: list[Any] = [
    NOON, NOON.isoformat(), "2024-02-03T12:00:00Z", "2024-02-03 14:00:00.000+02:00", "2024-02-03T12:00:01Z",
    "2024-02-03", "20240203", "noon", 20240203, None,
]  # fmt: skip


@pytest.mark.parametrize("operator", ["==", "!=", "in", "not in", ">=", "<"])
@pytest.mark.parametrize(
    "value",
    [NOON, NOON.isoformat(), "2024-02-03T13:00:00+01:00", "2024-02-03T00:00Z", "20240203", "2024-02-33"],
    ids=str,
)
def test_dates_are_compared_as_moments(operator: str, value: Any, tmp_path: Path) -> None:
    orders = operator in (">=", "<")
    # Haystack raises for what cannot be ordered, and orders dates that Qdrant takes for none.
    metas = [one for one in SPELLINGS if not (orders and one in ("noon", "20240203", 20240203))]
    stores = (
        InMemoryDocumentStore(),
        QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False),
        QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False),
    )
    for store in stores:
        store.write_documents(
            [Document(id=str(i), content="d", embedding=QUERY, meta={"day": one}) for i, one in enumerate(metas)]
        )
    filters = leaf("day", operator, ["another", value] if operator in ("in", "not in") else value)
    haystacks, edge, local = stores
    if orders and value == "2024-02-33":
        with pytest.raises(FilterError, match="Qdrant compares with a text, a number, a date"):
            edge.filter_documents(filters)
        return
    expected = ids(haystacks.filter_documents(filters))
    assert ids(edge.filter_documents(filters)) == expected
    for store in (edge, local):
        assert ids(RRRARetriever(store).run(query_embedding=QUERY, filters=filters)["documents"]) == expected
    edge.close()


def test_values_may_be_days(tmp_path: Path) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    days = [NOON + timedelta(days=number) for number in range(300)]
    store.write_documents([Document(id=str(i), meta={"day": one.date()}) for i, one in enumerate(days)])
    assert ids(store.filter_documents(leaf("day", "==", days[7].date()))) == ["7"]
    begin = time.process_time()
    many = [one.date() for one in days[:200]] + [NOON + timedelta(hours=number) for number in range(1800)]
    assert len(store.filter_documents(leaf("day", "in", many))) == 200
    # One condition a value takes many times as long.
    assert time.process_time() - begin < 3
    store.close()


@pytest.mark.parametrize(
    "schema",
    ["keyword", models.PayloadSchemaType.KEYWORD, models.KeywordIndexParams(type="keyword"), {"type": "keyword"}],
)
def test_an_index_of_texts_finds_dates_as_they_are_spelt(schema: Any, tmp_path: Path) -> None:
    fields = [{"field_name": "meta.day", "field_schema": schema}]
    edge, local = (
        kind(where, embedding_dim=3, progress_bar=False, payload_fields_to_index=fields)
        for kind, where in ((QdrantEdgeDocumentStore, str(tmp_path)), (QdrantDocumentStore, ":memory:"))
    )
    for store in (edge, local):
        store.write_documents(
            [
                Document(id=str(i), content="d", embedding=QUERY, meta={"day": one})
                for i, one in enumerate(SPELLINGS[1:])
            ]
        )
    day = NOON.isoformat()
    for operator, value, expected in (
        ("==", day, ["0"]), ("in", [day, "noon"], ["0", "6"]), ("==", NOON, ["0", "1", "2"]),
        ("!=", day, list("12345678")), ("not in", [day], list("12345678")),
    ):  # fmt: skip
        filters = leaf("day", operator, value)
        assert ids(edge.filter_documents(filters)) == expected
        for store in (edge, local):
            assert ids(RRRARetriever(store).run(query_embedding=QUERY, filters=filters)["documents"]) == expected
    edge.close()


def test_a_date_is_found_by_an_index_of_texts_without_reading_payloads(tmp_path: Path) -> None:
    fields = [{"field_name": "meta.day", "field_schema": "keyword"}]
    indexed, other = (
        QdrantEdgeDocumentStore(
            str(tmp_path / name),
            embedding_dim=3,
            progress_bar=False,
            write_batch_size=1000,
            payload_fields_to_index=own,
        )
        for name, own in (("indexed", fields), ("other", None))
    )
    days = [f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}" for i in range(3000)]
    took = []
    for store in (indexed, other):
        store.write_documents(
            [Document(id=str(i), meta={"day": one, "much": "A" * 2000}) for i, one in enumerate(days)]
        )
        begin = time.process_time()
        assert [store.count_documents_by_filter(leaf("day", "==", days[5])) for _ in range(20)] == [36] * 20
        took.append(time.process_time() - begin)
        store.close()
    assert took[0] < took[1] / 4
