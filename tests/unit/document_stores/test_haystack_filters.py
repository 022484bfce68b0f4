"""Filters select with every method, in every engine, what they select in Haystack's own store."""

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filters import ids, leaf
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.errors import FilterError
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from hypothesis import given, settings
from hypothesis import strategies as st

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.haystack_filters import qdrant_filter
from rrra_haystack import RRRARetriever
from rrra_haystack.qdrant.searching import check_filters

QUERY = [1.0, 0.0, 0.0]
METAS: list[dict[str, Any]] = [
    {"owner": "ada", "pages": 1, "share": 0.5, "draft": True},
    {"owner": "ben", "pages": 2, "share": 2.5, "draft": False},
    {"owner": "ada", "pages": None, "share": 1e300},
    {"pages": 2**53},
    {"pages": 2.0, "share": 2},
]
FIELDS = ("owner", "pages", "share", "draft")
VALUES = st.sampled_from(["ada", "ben", "eve", True, 0, 1, 2, 2**63, -(2**70), 0.5, 2.5, 1.5, float("nan"), None])


def documents() -> list[Document]:
    return [Document(id=str(i), content=f"d{i}", embedding=[1.0, i / 10, 0.0], meta=m) for i, m in enumerate(METAS)]


EMPTY = leaf("owner", "in", [])
NUMBERS = st.sampled_from([0, 1, 1.5, 2, 2.5, None])
LEAVES = st.one_of(
    st.builds(leaf, st.sampled_from(FIELDS), st.sampled_from(["==", "!="]), VALUES),
    st.builds(leaf, st.sampled_from(FIELDS), st.sampled_from(["in", "not in"]), st.lists(VALUES, max_size=3)),
    st.builds(leaf, st.sampled_from(["pages", "share"]), st.sampled_from([">", ">=", "<", "<="]), NUMBERS),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantEdgeDocumentStore]:
    store = QdrantEdgeDocumentStore(str(tmp_path_factory.mktemp("edge")), embedding_dim=3, progress_bar=False)
    store.write_documents(documents())
    yield store
    store.close()


@pytest.fixture(scope="module")
def local() -> QdrantDocumentStore:
    store = QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False)
    store.write_documents(documents())
    return store


@pytest.fixture(scope="module")
def haystacks() -> InMemoryDocumentStore:
    store = InMemoryDocumentStore()
    store.write_documents(documents())
    return store


# Python takes True for 1, which Qdrant does not.
def mixes_booleans(filters: dict[str, Any]) -> bool:
    if "conditions" in filters:
        return any(mixes_booleans(one) for one in filters["conditions"])
    values = filters["value"] if isinstance(filters["value"], list) else [filters["value"]]
    is_flag = filters["field"] == "meta.draft"
    return any(
        value is not None and not isinstance(value, str) and isinstance(value, bool) != is_flag for value in values
    )


@given(filters=FILTERS.filter(lambda filters: not mixes_booleans(filters)))
@settings(max_examples=150, deadline=None)
def test_they_select_what_they_select_in_haystacks_own_store(
    filters: dict[str, Any],
    edge: QdrantEdgeDocumentStore,
    local: QdrantDocumentStore,
    haystacks: InMemoryDocumentStore,
) -> None:
    expected = ids(haystacks.filter_documents(filters))
    assert ids(edge.filter_documents(filters)) == expected
    assert edge.count_documents_by_filter(filters) == len(expected)
    for store in (edge, local):
        assert ids(RRRARetriever(store).run(query_embedding=QUERY, filters=filters)["documents"]) == expected


def test_an_empty_list_of_values_matches_nothing_at_any_depth(edge: QdrantEdgeDocumentStore) -> None:
    everyone = leaf("pages", "not in", [])
    for filters, expected in (
        (EMPTY, []),
        ({"operator": "AND", "conditions": [everyone, {"operator": "OR", "conditions": [EMPTY]}]}, []),
        ({"operator": "NOT", "conditions": [EMPTY]}, ["0", "1", "2", "3", "4"]),
    ):
        assert ids(edge.filter_documents(filters)) == expected
        assert ids(asyncio.run(edge.filter_documents_async(filters))) == expected
        retrievers = (QdrantEmbeddingRetriever(edge), RRRARetriever(edge))
        assert all(ids(one.run(query_embedding=QUERY, filters=filters)["documents"]) == expected for one in retrievers)


def test_nothing_else_is_deleted_or_changed(tmp_path: Path) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    store.write_documents(documents())
    assert store.delete_by_filter(EMPTY) == asyncio.run(store.delete_by_filter_async(EMPTY)) == 0
    assert store.update_by_filter(EMPTY, {"owner": "eve"}) == 0
    assert store.count_documents() == len(METAS)
    # Of those that are not both: "none of these" would leave all but the last alone.
    not_both = {"operator": "NOT", "conditions": [leaf("owner", "==", "ada"), leaf("pages", "==", 1)]}
    assert store.delete_by_filter(not_both) == len(METAS) - 1
    assert ids(store.filter_documents()) == ["0"]
    store.close()


MALFORMED = {
    "no conditions": {"operator": "AND", "conditions": None},
    "no dictionary": {"operator": "AND", "conditions": ["owner"]},
    "empty": {"operator": "AND", "conditions": [{}]},
    "unknown": leaf("owner", "like", "a"),
    "no value": {"field": "meta.owner", "operator": "=="},
    "no list": leaf("owner", "in", "ada"),
    "a list": leaf("owner", "==", ["ada"]),
    "no number": leaf("pages", ">", "many"),
    "operator": leaf("pages", ["=="], 1),
    "open bracket": leaf("pages[", "==", 1),
    "no name": leaf(".pages", "in", [1]),
    "a blank": leaf("of pages", ">", 1),
    "half a letter": leaf("\ud800", "!=", 1),
    "half a value": leaf("owner", "==", "\ud800"),
    "half an item": leaf("owner", "not in", ["ada", "\ud800"]),
    "an operator that is a list": {"operator": ["AND"], "conditions": [EMPTY]},
    "an operator of two lines": leaf("owner", "=\n=", "a"),
    "a field that is a number": {"field": 5, "operator": "==", "value": 1},
    "a list of lists": leaf("owner", "in", [["ada"]]),
    "conditions of no use": {**leaf("owner", "like", "a"), "conditions": None},
}


def nested(depth: int, operators: tuple[str, ...] = ("AND", "OR")) -> dict[str, Any]:
    filters = leaf("pages", "!=", 7)
    for level in range(depth):
        filters = {"operator": operators[level % len(operators)], "conditions": [filters]}
    return filters


def joined(operator: str, leaves: list[dict[str, Any]]) -> dict[str, Any]:
    return functools.reduce(lambda a, b: {"operator": operator, "conditions": [a, b]}, leaves)


@pytest.mark.parametrize("filters", [*MALFORMED.values(), nested(65), nested(600)], ids=[*MALFORMED, "65", "600"])
def test_what_is_malformed_is_told_in_one_sentence(filters: dict[str, Any], edge: QdrantEdgeDocumentStore) -> None:
    for ask in (edge.filter_documents, lambda own: RRRARetriever(edge).run(query_embedding=QUERY, filters=own)):
        with pytest.raises(FilterError) as raised:
            ask(filters)
        assert "\n" not in str(raised.value)
        assert "\ud800" not in str(raised.value)
    with pytest.raises(ValueError, match=r"."):
        check_filters(filters)


def test_every_path_that_qdrant_knows_is_asked(tmp_path: Path) -> None:
    meta = {"a b": 1, "k.v": 1, "größe": 1, "list": [1, 2], "nested": {"c-d": [{"e_f": 1}]}}
    edge = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    local = QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False)
    for store in (edge, local):
        store.write_documents([Document(id="0", content="d", embedding=QUERY, meta=meta)])
        for field in ('"a b"', '"k.v"', "größe", "list[]", "list[0]", "nested.c-d[].e_f", 'nested."c-d"[0].e_f'):
            filters = check_filters(leaf(field, "==", 1))
            assert ids(RRRARetriever(store).run(query_embedding=QUERY, filters=filters)["documents"]) == ["0"], field
    edge.close()


@pytest.mark.parametrize("operators", [("AND", "OR"), ("NOT",), ("NOT", "OR"), ("NOT", "AND")])
def test_a_deep_filter_is_asked(
    operators: tuple[str, ...], edge: QdrantEdgeDocumentStore, local: QdrantDocumentStore
) -> None:
    filters = nested(64, operators)
    assert len(edge.filter_documents(filters)) == len(METAS)
    for store in (edge, local):
        assert len(RRRARetriever(store).run(query_embedding=QUERY, filters=filters)["documents"]) == len(METAS)
    assert check_filters(filters)


def test_conditions_that_are_joined_one_by_one_are_one_level(edge: QdrantEdgeDocumentStore) -> None:
    leaves = [leaf("pages", "==", number) for number in range(1000)]
    for ask in (
        edge.filter_documents,
        lambda own: RRRARetriever(edge).run(query_embedding=QUERY, filters=own)["documents"],
    ):
        assert ids(ask(joined("OR", leaves))) == ["0", "1", "4"]
        assert ids(ask(joined("AND", [leaf("pages", "!=", number) for number in range(1000)]))) == ["2", "3"]
    assert qdrant_filter(joined("AND", leaves[:3])) == qdrant_filter(
        {"operator": "AND", "conditions": tuple(leaves[:3])}
    )


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    numbers = [2, 2.0, 2.5, True, 2**60, 2**60 + 1, 10**30, -(2**63) - 5, 1, 2**64 - 1]
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    store.write_documents([Document(id=str(i), content="d", meta={"n": number}) for i, number in enumerate(numbers)])
    found = {
        2.0: "01", 2.5: "2", 2**60: "4", 2**60 + 1: "5", 10**30: "6", 1e30: "6", 10**400: "", -(10**400): "",
        float("inf"): "", float("nan"): "", -(2**63) - 5: "7", 2**64 - 1: "9",
    }  # fmt: skip
    for index in ([], [{"field_name": "meta.n", "field_schema": "float"}]):
        store.payload_fields_to_index = index
        store._make_missing_indexes()
        assert "".join(ids(store.filter_documents(leaf("n", "==", True)))) == "3"
        assert "".join(ids(store.filter_documents(leaf("n", "==", 1)))) == "8"
        for value, expected in [*found.items(), (2, "01")]:
            for operator, given_value in (("==", value), ("in", [value]), ("in", ["x", value])):
                assert "".join(ids(store.filter_documents(leaf("n", operator, given_value)))) == expected
            others = sorted(set("0123456789") - set(expected))
            assert ids(store.filter_documents(leaf("n", "!=", value))) == others
            assert ids(store.filter_documents(leaf("n", "not in", [value]))) == others
    for limit in (10**400, float("inf")):
        assert store.filter_documents(leaf("n", ">", limit)) == []
        assert ids(store.filter_documents(leaf("n", "<", limit))) == sorted(set("0123456789") - {"3"})
    store.close()


def test_the_conditions_of_a_long_list_are_few(tmp_path: Path) -> None:
    metas = [{"n": number} for number in (3, 3.0, 3.25, "3", True, 2**60, None, [1, 3], -7, 999.5)]
    edge = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    local = QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False)
    few, many = [3, 999.5], [*range(-6, 2000), 999.5, float("nan"), 2**54]
    texts = [f"{number}" for number in range(2000)]
    for store in (edge, local):
        store.write_documents([Document(id=str(i), content="d", meta=meta) for i, meta in enumerate(metas)])
        for values, expected in ((few, "0179"), (many, "0179"), (texts, "3"), (many + texts, "01379")):
            assert "".join(ids(store.filter_documents(qdrant_filter(leaf("n", "in", values))))) == expected
            others = ids(store.filter_documents(qdrant_filter(leaf("n", "not in", values))))
            assert others == sorted(set("0123456789") - set(expected))
    mixed = [*texts, True, 2**60, None, *[None] * 1000]
    assert "".join(ids(edge.filter_documents(leaf("n", "in", mixed)))) == "3456"
    assert len(qdrant_filter(leaf("n", "not in", [*mixed, *many])).must_not) == 6
    edge.close()


def test_a_long_list_of_numbers_is_asked_in_a_moment(tmp_path: Path) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False)
    store.write_documents([Document(id=str(i), content="d" * 1000, meta={"n": i}) for i in range(500)])
    begin = time.process_time()
    for operator, expected in (("in", 250), ("not in", 250)):
        values = [number * 2 + 0.0 for number in range(2000)]
        assert len(store.filter_documents(leaf("n", operator, values))) == expected
    # One condition a value took half a minute.
    assert time.process_time() - begin < 3
    store.close()


def test_values_may_be_numpys(edge: QdrantEdgeDocumentStore) -> None:
    for value, plain in ((np.int64(1), 1), (np.float32(2.5), 2.5), (np.bool_(True), True)):
        for operator, field in itertools.product(("==", "!=", "in"), FIELDS):
            given_values = [[value], [plain]] if operator == "in" else [value, plain]
            found, expected = (edge.filter_documents(leaf(field, operator, one)) for one in given_values)
            assert ids(found) == ids(expected)
    assert ids(edge.filter_documents(leaf("pages", ">", np.int64(1)))) == ["1", "3", "4"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OPERATORS = st.sampled_from(["AND", "OR", "NOT", "==", "!=", ">", "<=", "in", "not in"])
ODD_FILTERS = st.recursive(
    JSON,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "operator": OPERATORS | JSON,
            "conditions": st.lists(inner, max_size=3) | JSON,
            "field": st.just("meta.a") | JSON,
            "value": JSON | st.dates().map(str),
        },
    ),
    max_leaves=6,
)


def fault(check: Callable[[Any], Any], filters: object) -> str:
    try:
        check(filters)
    except (FilterError, ValueError) as error:
        return str(error)
    return ""


@given(filters=ODD_FILTERS)
@settings(max_examples=1000, deadline=None)
def test_whatever_is_sent_is_a_filter_or_told_in_one_line(filters: object, edge: QdrantEdgeDocumentStore) -> None:
    assert len(fault(edge.filter_documents, filters).splitlines()) <= 1
    if isinstance(filters, dict):
        assert len(fault(check_filters, filters).splitlines()) <= 1
