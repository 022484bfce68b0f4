"""What an Edge store does beyond Haystack's suite: nothing is lost, and what is wrong is told in one sentence."""

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever, QdrantHybridRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import convert_id
from haystack_integrations.document_stores.qdrant.document_store import QdrantStoreError

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient
from haystack_integrations.document_stores.qdrant_edge.disk import FullDiskError
from haystack_integrations.document_stores.qdrant_edge.explaining import HeldError
from haystack_integrations.document_stores.qdrant_edge.optimizing import _OPTIMIZE, optimize
from rrra_haystack import RRRARetriever

KINDS = ["river", "moon", "bread"]
DOCUMENTS = [
    Document(
        id=str(number),
        content=f"Number {number}",
        embedding=[1.0, number / 10, 0.5],
        sparse_embedding=SparseEmbedding(indices=[number % 5, 7], values=[1 + number / 50, 1 + number / 10]),
        meta={"number": number, "kind": KINDS[number % 3], "even": number % 2 == 0, "nested": {"none": None}},
    )
    for number in range(30)
]
OPTIONS = {"embedding_dim": 3, "use_sparse_embeddings": True, "sparse_idf": True, "progress_bar": False}
WRITE = """
import sys
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
store = QdrantEdgeDocumentStore(sys.argv[1], embedding_dim=3, progress_bar=False)
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    documents = [Document(id=str(number + one), content="x" * 2000, embedding=[1.0, 2.0, 3.0]) for one in range(20)]
    store.write_documents(documents, DuplicatePolicy.OVERWRITE)
    number += 20
    print(number, flush=True)
"""
HOLD = """
import sys, time, qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
shard.close()
"""
COUNT = """
import sys
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
try:
    print(QdrantEdgeDocumentStore(sys.argv[1], embedding_dim=3).count_documents())
except (ValueError, OSError) as error:
    print(type(error).__name__, error)
"""


def edge(path: Path, **options: object) -> QdrantEdgeDocumentStore:
    return QdrantEdgeDocumentStore(str(path), **{**OPTIONS, **options})


@pytest.fixture
def store(tmp_path: Path) -> QdrantEdgeDocumentStore:
    store = edge(tmp_path / "edge")
    store.write_documents(DOCUMENTS)
    return store


def test_every_acknowledged_document_outlives_a_killed_writer(tmp_path: Path) -> None:
    draw, written = random.Random(0), 0
    for _ in range(5):
        command = [sys.executable, "-c", WRITE, str(tmp_path / "edge"), str(written)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.05, 0.6))
        writer.send_signal(signal.SIGKILL)
        told = writer.stdout.read().split("\n")[:-1]
        writer.wait()
        written = int(told[-1]) if told else written
        store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3, progress_bar=False)
        found = store.filter_documents()
        names = {document.id for document in found}
        assert len(found) == len(names) == store.count_documents()
        assert {str(number) for number in range(written)} <= names
        assert all(len(document.content) == 2000 and len(document.embedding) == 3 for document in found)
        store.close()
    assert written > 0


def test_a_second_process_is_told_in_one_sentence(tmp_path: Path) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3)
    command = [sys.executable, "-c", COUNT, str(tmp_path / "edge")]
    assert store.count_documents() == 0
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("HeldError The Qdrant folder")
    assert "is open in another process. Close its document store first" in told
    store.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


def test_a_folder_opens_when_the_process_that_holds_it_ends_in_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "edge"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert [writer.stdout.readline() for _ in range(2)] == [b"ready\n", b"20\n"]
        Timer(0.5, writer.kill).start()
        store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3)
        assert store.count_documents() > 0
        assert writer.wait() == -signal.SIGKILL
    store.close()


def test_nothing_is_optimized_for_a_process_that_has_ended(store: QdrantEdgeDocumentStore, tmp_path: Path) -> None:
    store.close()
    command = [sys.executable, "-c", _OPTIMIZE, str(tmp_path / "edge" / store.index)]
    asked_by_another = subprocess.run([*command, "-1", "held", "0"], capture_output=True, text=True, check=False)
    assert asked_by_another.stderr == "The process that asked for it has ended.\n"
    subprocess.run([*command, str(os.getpid()), "held", "0"], check=True)


def hold_while_optimized(monkeypatch: pytest.MonkeyPatch, path: Path, seconds: float) -> list[subprocess.Popen]:
    """Let a process of another store get in once a store has closed the collection for the one that optimizes it."""
    holders = []

    def get_in(folder: Path) -> None:
        holders.append(subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE))
        assert holders[0].stdout.readline() == b"held\n"
        optimize(folder)

    monkeypatch.setattr("haystack_integrations.document_stores.qdrant_edge.shards.optimize", get_in)
    return holders


def test_a_question_that_gets_in_before_the_index_is_built_is_waited_for(
    store: QdrantEdgeDocumentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = hold_while_optimized(monkeypatch, tmp_path / "edge" / store.index, 3)
    store.optimize()
    assert store.count_documents() == 30
    assert holders[0].wait() == 0


def test_who_holds_the_folder_while_the_index_is_to_be_built_is_told(
    store: QdrantEdgeDocumentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haystack_integrations.document_stores.qdrant_edge.optimizing._ASKING", 0)
    holders = hold_while_optimized(monkeypatch, tmp_path / "edge" / store.index, 60)
    with pytest.raises(HeldError, match=r"^The Qdrant folder .* is open in another process. Close"):
        store.optimize()
    holders[0].kill()
    holders[0].wait()
    assert store.count_documents() == 30


def test_stores_of_one_process_share_a_folder(tmp_path: Path) -> None:
    writing, searching = (QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3) for _ in range(2))
    writing.write_documents([Document(id="1", content="one", embedding=[1.0, 0.0, 0.0])])
    assert [document.id for document in searching.filter_documents()] == ["1"]
    searching.optimize()
    writing.write_documents([Document(id="2", content="two", embedding=[0.0, 1.0, 0.0])])
    writing.close()
    assert searching.count_documents() == 2
    searching.close()
    command = [sys.executable, "-c", COUNT, str(tmp_path / "edge")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"


def test_stores_of_one_process_write_and_read_at_once(tmp_path: Path) -> None:
    stores = [QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3, progress_bar=False) for _ in range(4)]

    def write(number: int) -> int:
        store = stores[number % len(stores)]
        store.write_documents([Document(id=str(number), content="text", embedding=[1.0, 0.0, 0.0])])
        found = [document.id for document in stores[(number + 1) % len(stores)].filter_documents()]
        if number % 5 == 0:
            closing = QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3)
            assert closing.count_documents() > 0
            closing.close()
        return found.count(str(number))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(40))) == [1] * 40
    assert stores[0].count_documents() == 40


def test_a_search_does_not_wait_for_a_write_and_another_write_does(store: QdrantEdgeDocumentStore) -> None:
    others: list[Callable[[], object]] = [
        lambda: store.delete_documents(["1"]),
        lambda: store.delete_by_filter({"field": "meta.number", "operator": "==", "value": 2}),
        store.delete_all_documents,
    ]
    with ThreadPoolExecutor() as pool:
        with store._shards.writing:
            assert pool.submit(store.count_documents).result(10) == 30
            waiting = [pool.submit(one) for one in others]
            assert wait(waiting, timeout=1).done == set()
            assert store.count_documents() == 30
        assert len(wait(waiting, timeout=10).done) == 3
    assert store.count_documents() == 0


def test_a_search_waits_until_the_collection_is_set_up(tmp_path: Path) -> None:
    for number in range(5):
        store = edge(tmp_path / str(number))
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(lambda _: store.count_documents(), range(8))) == [0] * 8  # noqa: B023
        store.close()


@pytest.mark.parametrize(
    "field", ["meta.kind", 'meta."kind"', 'meta."a.[b"', "meta.list", "meta.list[]", "meta.list[1]", "meta.deep[].k[]"]
)
def test_fields_of_groups_are_named_as_in_filters(field: str, tmp_path: Path) -> None:
    metas = [
        {"kind": "x", "a.[b": 7, "list": ["p", "q"], "deep": [{"k": [1, 2]}, {"k": 3}]},
        {"kind": "y"},
        {"list": ["q"]},
    ]
    found = []
    for store in (edge(tmp_path), QdrantDocumentStore(":memory:", **OPTIONS)):
        vectors = [[1.0, number / 10, 0.0] for number in range(len(metas))]
        store.write_documents(
            [Document(id=str(i), content="", embedding=vectors[i], meta=meta) for i, meta in enumerate(metas)]
        )
        told = RRRARetriever(store).run(query_embedding=[1.0, 0.0, 0.0], group_by=field)["documents"]
        found.append([one.id for one in told])
    assert found[0]
    assert found[0] == found[1]


def test_groups_that_lie_deep_are_found_and_no_more_is_read_than_tells_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False, write_batch_size=1000)
    kinds = ["near" if number < 300 else f"kind {number % 4}" for number in range(8000)]
    store.write_documents(
        [Document(id=str(i), embedding=[1.0, i / 8000, 0.0], meta={"kind": kind}) for i, kind in enumerate(kinds)]
    )
    read = []
    hits_of = EdgeClient._hits

    def counted(*given: Any) -> list[Any]:
        read.append(hits_of(*given))
        return read[-1]

    monkeypatch.setattr(EdgeClient, "_hits", counted)
    retriever = RRRARetriever(store, group_by="meta.kind", group_size=1, top_k=10)
    found = retriever.run(query_embedding=[1.0, 0.0, 0.0])["documents"]
    assert [one.meta["kind"] for one in found] == ["near", *(f"kind {number}" for number in range(4))]
    assert [len(hits) for hits in read] == [100, 400, 1600]
    assert RRRARetriever(store, group_by="meta.none").run(query_embedding=[1.0, 0.0, 0.0])["documents"] == []


@pytest.mark.parametrize("shape", [str, lambda name: ["book", name], lambda name: len(name) + int(name[-2:])])
def test_groups_behind_a_long_book_are_found(tmp_path: Path, shape: Callable[[str], Any]) -> None:
    store = QdrantEdgeDocumentStore(str(tmp_path), embedding_dim=3, progress_bar=False, write_batch_size=1000)
    values = ["book"] * 1500 + [shape(f"file {number % 20:02}") for number in range(200)]
    store.write_documents(
        [Document(id=str(i), embedding=[1.0, i / 1700, 0.0], meta={"of": value}) for i, value in enumerate(values)]
    )
    retriever = QdrantEmbeddingRetriever(store, group_by="meta.of", group_size=3, top_k=10)
    found = [one.meta["of"] for one in retriever.run(query_embedding=[1.0, 0.0, 0.0])["documents"]]
    assert found == ["book"] * 3 + [value for value in values[1500:1509] for _ in range(3)]
    store.close()


def test_a_folder_is_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    relative = QdrantEdgeDocumentStore("edge", embedding_dim=3)
    relative.write_documents([Document(id="1", content="one", embedding=[1.0, 0.0, 0.0])])
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3).count_documents() == 1
    assert QdrantEdgeDocumentStore("edge", embedding_dim=3).count_documents() == 0
    assert relative.count_documents() == 1


def test_a_folder_that_was_taken_away_is_forgotten(tmp_path: Path) -> None:
    former, latter = (QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3) for _ in range(2))
    former.write_documents([Document(id="1", content="one", embedding=[1.0, 0.0, 0.0])])
    shutil.rmtree(tmp_path / "edge")
    latter.write_documents([Document(id="2", content="two", embedding=[0.0, 1.0, 0.0])])
    assert [document.id for document in former.filter_documents()] == ["2"]


def test_documents_come_back_as_they_were(store: QdrantEdgeDocumentStore) -> None:
    store.close()
    found = {document.id: document for document in store.filter_documents()}
    assert len(found) == 30
    for document in DOCUMENTS:
        same = found[document.id]
        assert (same.content, same.meta) == (document.content, document.meta)
        assert same.sparse_embedding.indices == document.sparse_embedding.indices
        assert same.sparse_embedding.values == pytest.approx(document.sparse_embedding.values)
        length = sum(value**2 for value in document.embedding) ** 0.5
        assert same.embedding == pytest.approx([value / length for value in document.embedding], abs=1e-6)


def test_the_points_are_those_of_local_mode(store: QdrantEdgeDocumentStore) -> None:
    local = QdrantDocumentStore(":memory:", **OPTIONS)
    local.write_documents(DOCUMENTS)
    points = [
        {str(one.id).replace("-", ""): one.payload for one in of._client.scroll("Document", limit=100)[0]}
        for of in (local, store)
    ]
    assert points[0] == points[1]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"top_k": 7, "scale_score": True},
        {"score_threshold": 0.9},
        {"filters": {"field": "meta.kind", "operator": "==", "value": "moon"}},
        {"filters": {"field": "meta.even", "operator": "==", "value": True}},
        {"filters": {"field": "meta.number", "operator": ">=", "value": 20}, "search_params": {"exact": True}},
        {"group_by": "meta.kind", "group_size": 2},
        {"return_embedding": True},
        {"query_sparse_embedding": SparseEmbedding(indices=[2, 7], values=[1.0, 1.0])},
    ],
)
async def test_the_retriever_finds_what_it_finds_in_local_mode(store: QdrantEdgeDocumentStore, arguments: dict) -> None:
    local = QdrantDocumentStore(":memory:", **OPTIONS)
    local.write_documents(DOCUMENTS)
    told = []
    for one in (local, store):
        retriever = RRRARetriever(one)
        documents = retriever.run(query_embedding=[0.2, 1.0, 0.4], **arguments)["documents"]
        later = (await retriever.run_async(query_embedding=[0.2, 1.0, 0.4], **arguments))["documents"]
        assert [one.id for one in later] == [one.id for one in documents]
        told.append(documents)
    assert told[0]
    scores = [[document.score for document in documents] for documents in told]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert {one.id: one.meta for one in told[0]} == {one.id: one.meta for one in told[1]}
    assert [one.embedding is None for one in told[0]] == [one.embedding is None for one in told[1]]


def test_the_retrievers_of_qdrant_haystack_work(store: QdrantEdgeDocumentStore) -> None:
    words = SparseEmbedding(indices=[2, 7], values=[1.0, 1.0])
    found = QdrantHybridRetriever(store, top_k=4).run(query_embedding=[0.2, 1.0, 0.4], query_sparse_embedding=words)
    assert len(found["documents"]) == 4


def test_the_retriever_comes_back_with_its_store(store: QdrantEdgeDocumentStore) -> None:
    loaded = RRRARetriever.from_dict(RRRARetriever(store, top_k=3).to_dict())
    assert type(loaded.document_store) is QdrantEdgeDocumentStore
    assert loaded.to_dict() == RRRARetriever(store, top_k=3).to_dict()
    store.close()
    assert len(loaded.run(query_embedding=[0.2, 1.0, 0.4])["documents"]) == 3
    loaded.close()


def test_the_retriever_makes_nothing_and_says_what_is_missing(tmp_path: Path, store: QdrantEdgeDocumentStore) -> None:
    with pytest.raises(ValueError, match=r"no collection 'wrong'\. It has: Document"):
        RRRARetriever(edge(tmp_path / "edge", index="wrong")).run(query_embedding=[0.2, 1.0, 0.4])
    with pytest.raises(ValueError, match="has 2 dimensions, but the collection 'Document' holds embeddings of 3"):
        RRRARetriever(store).run(query_embedding=[0.2, 1.0])
    with pytest.raises(ValueError, match="has no collection"):
        RRRARetriever(edge(tmp_path / "nowhere")).run(query_embedding=[0.2, 1.0, 0.4])
    assert not (tmp_path / "nowhere").exists()
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


def test_a_batch_with_one_wrong_embedding_leaves_nothing_behind(store: QdrantEdgeDocumentStore) -> None:
    batch = [Document(id="good", content="", embedding=[1.0, 0, 0]), Document(id="bad", content="", embedding=[1.0])]
    with pytest.raises(ValueError, match=r"embedding of document bad has 1 dimensions, but the collection holds .* 3"):
        store.write_documents(batch)
    # The engine itself would store the good one when the folder is opened again.
    store.close()
    assert store.count_documents() == 30


@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), 1e39])
def test_embeddings_that_no_search_would_find(store: QdrantEdgeDocumentStore, odd: float) -> None:
    dense = Document(id="odd", content="", embedding=[odd, 0.0, 1.0])
    sparse = Document(id="odd", content="", sparse_embedding=SparseEmbedding(indices=[1, 2], values=[1.0, odd]))
    for document, name in ((dense, "text-dense"), (sparse, "text-sparse")):
        with pytest.raises(ValueError, match=rf"vector '{name}' of document odd holds numbers that are not finite"):
            store.write_documents([document])
    assert store.count_documents() == 30
    with pytest.raises(ValueError, match="embedding of the query holds numbers that are not finite"):
        RRRARetriever(store).run(query_embedding=[1.0, odd, 0.0])


@pytest.mark.parametrize("embedding", [[1e39, -1e39, 1.0], [1e20, 0.0, 0.0], [2e19, -2e19, 2e19]])
def test_embeddings_that_the_engine_would_take_for_none(store: QdrantEdgeDocumentStore, embedding: list[float]) -> None:
    with pytest.raises(ValueError, match="too large for 32 bits"):
        store.write_documents([Document(id="odd", content="", embedding=embedding)])
    with pytest.raises(ValueError, match="too large for 32 bits"):
        RRRARetriever(store).run(query_embedding=embedding)
    store.write_documents([Document(id="large", content="", embedding=[1e19, 0.0, 0.0])])
    assert RRRARetriever(store).run(query_embedding=[1e19, 0.0, 0.0], top_k=1)["documents"][0].score == pytest.approx(1)


def wrapped(depth: int, *, in_lists: bool = False) -> object:
    return functools.reduce(lambda held, _: [held] if in_lists else {"a": held}, range(depth), 1)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not JSON compliant"),
        (float("inf"), "not JSON compliant"),
        (10**400, "too large for a float"),
        (wrapped(100), "nested more than 100 deep"),
        (wrapped(130, in_lists=True), "nested more than 100 deep"),
    ],
    ids=["nan", "inf", "integer", "dictionaries", "lists"],
)
def test_metadata_that_cannot_be_stored(store: QdrantEdgeDocumentStore, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^Document odd cannot be stored by Qdrant Edge: .*{reason}"):
        store.write_documents([Document(id="odd", content="", meta={"value": value})])
    with pytest.raises(QdrantStoreError, match=rf"Document 3 cannot be stored by Qdrant Edge: .*{reason}"):
        store.update_by_filter({"field": "meta.number", "operator": "==", "value": 3}, {"value": value})
    for key, payload in (("meta", {"value": value}), (".".join(["a"] * 101), {}), (".".join(["a[0]"] * 51), {})):
        with pytest.raises(ValueError, match="cannot be stored by Qdrant Edge"):
            store.new_client().set_payload(store.index, payload, [convert_id("3")], key)
    store.close()
    assert store.count_documents() == 30


def test_what_is_nested_deep_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    store = edge(tmp_path)
    meta = {"dictionaries": wrapped(99), "lists": wrapped(99, in_lists=True)}
    store.write_documents([Document(id="deep", content="", meta=meta), Document(id="other", content="")])
    store.new_client().set_payload(store.index, {"a": 1}, [convert_id("other")], ".".join(["a"] * 99))
    filters = {"field": "meta.number", "operator": "==", "value": 1}
    for _ in range(60):
        filters = {"operator": "NOT", "conditions": [filters]}
    assert store.delete_by_filter(filters) == 0
    for _ in range(2):
        store.close()
        assert store.filter_documents({"field": "id", "operator": "==", "value": "deep"})[0].meta == meta
        store.optimize()


def test_halves_of_surrogate_pairs_are_joined_or_replaced(store: QdrantEdgeDocumentStore) -> None:
    store.write_documents([Document(id="half", content="a\ud800b", meta={"\ud83d\ude00": ["\udfff"]})])
    (found,) = store.filter_documents({"field": "id", "operator": "==", "value": "half"})
    assert (found.content, found.meta) == ("a\ufffdb", {"\U0001f600": ["\ufffd"]})


@pytest.mark.parametrize(
    ("indices", "reason"), [([1, 1], "twice"), ([-1, 2], "between 0 and 4294967295"), ([2**32], "between 0 and")]
)
def test_sparse_embeddings_that_are_none(store: QdrantEdgeDocumentStore, indices: list[int], reason: str) -> None:
    odd = SparseEmbedding(indices=indices, values=[1.0] * len(indices))
    with pytest.raises(ValueError, match=rf"^The sparse embedding of document odd .*{reason}"):
        store.write_documents([Document(id="odd", content="", sparse_embedding=odd)])
    with pytest.raises(ValueError, match=rf"The sparse embedding of the query .*{reason}"):
        RRRARetriever(store).run(query_embedding=[1.0, 0.0, 0.0], query_sparse_embedding=odd)
    assert store.count_documents() == 30


def test_an_embedding_may_be_an_array(store: QdrantEdgeDocumentStore) -> None:
    query = [1.0, 0.3, 0.5]
    found, expected = (RRRARetriever(store).run(query_embedding=one)["documents"] for one in (np.array(query), query))
    assert [one.id for one in found] == [one.id for one in expected]


def test_the_payload_of_points_that_are_gone_is_left_alone(store: QdrantEdgeDocumentStore) -> None:
    points = [convert_id("1"), convert_id("gone"), convert_id("2")]
    store.new_client().set_payload(store.index, {"seen": True}, points, "meta")
    seen = store.filter_documents({"field": "meta.seen", "operator": "==", "value": True})
    assert sorted(one.id for one in seen) == ["1", "2"]


def test_a_batch_that_is_larger_than_the_free_space_is_told(
    tmp_path: Path, store: QdrantEdgeDocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=150 * 2**20))
    store.write_documents([Document(id="small", content="x" * 2**20)])
    large = Document(id="large", content="x" * 2**24)
    with pytest.raises(FullDiskError, match=r"150 MB are free, and Qdrant Edge wants 176 MB to write"):
        store.write_documents([large])
    with pytest.raises(FullDiskError, match="150 MB are free"):
        store.new_client().set_payload(store.index, {"large": large.content}, [convert_id("1")])
    assert store.count_documents() == 31


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, store: QdrantEdgeDocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 * 2**20))
    for write in (
        lambda: store.write_documents([Document(id="late", content="")]),
        lambda: store.delete_documents(["1"]),
        store.optimize,
        edge(tmp_path / "other").count_documents,
    ):
        with pytest.raises(FullDiskError, match=r"^The disk of .* is nearly full: 100 MB are free, and Qdrant"):
            write()
    assert store.count_documents() == 30
    assert not (tmp_path / "other").exists()


def test_a_folder_of_a_newer_version_is_told(tmp_path: Path, store: QdrantEdgeDocumentStore) -> None:
    store.close()
    for version in (tmp_path / "edge").rglob("version.info"):
        version.write_text("99.0.0")
    with pytest.raises(ValueError, match=r"was filled by a newer version of Qdrant Edge\. Upgrade it"):
        store.count_documents()


def test_a_folder_of_local_mode_is_told(tmp_path: Path) -> None:
    local = QdrantDocumentStore(path=str(tmp_path / "local"), **OPTIONS)
    local.write_documents(DOCUMENTS[:1])
    local.close()
    with pytest.raises(ValueError, match="was filled by the local mode of Qdrant's client"):
        edge(tmp_path / "local").count_documents()


def test_an_optimized_store_finds_the_same(tmp_path: Path) -> None:
    store = edge(tmp_path / "edge", optimizers_config={"indexing_threshold": 1})
    more = [Document(content=str(number), embedding=[1.0, number / 100, 0.3]) for number in range(300)]
    store.write_documents(more)
    assert store._client.get_collection("Document").indexed_vectors_count == 0
    before = RRRARetriever(store, top_k=5).run(query_embedding=[0.2, 1.0, 0.4])["documents"]
    store.optimize()
    assert store._client.get_collection("Document").indexed_vectors_count >= 300
    after = RRRARetriever(store, top_k=5).run(query_embedding=[0.2, 1.0, 0.4])["documents"]
    assert [one.id for one in after] == [one.id for one in before]


def test_named_fields_are_indexed(tmp_path: Path) -> None:
    fields = [
        {"field_name": "meta.kind", "field_schema": "keyword"},
        {"field_name": "meta.number", "field_schema": {"type": "integer", "range": True, "lookup": True}},
    ]
    store = edge(tmp_path / "edge", payload_fields_to_index=fields)
    store.write_documents(DOCUMENTS)
    assert store.get_metadata_fields_info()["kind"]["type"].endswith("keyword")
    schema = store._client.get_collection("Document").payload_schema
    assert {name: one.points for name, one in schema.items()} == {"meta.kind": 30, "meta.number": 30}
    assert store.count_documents_by_filter({"field": "meta.number", "operator": "<", "value": 3}) == 3


def test_writing_again_replaces_or_leaves(store: QdrantEdgeDocumentStore) -> None:
    changed = Document(id="3", content="changed", embedding=[0.0, 1.0, 0.0])
    assert store.write_documents([changed], DuplicatePolicy.SKIP) == 0
    assert store.write_documents([changed], DuplicatePolicy.OVERWRITE) == 1
    (found,) = store.get_documents_by_id(["3"])
    assert (found.content, found.meta, found.sparse_embedding) == ("changed", {}, None)
    assert store.count_documents() == 30


def test_round_trip(tmp_path: Path) -> None:
    store = edge(tmp_path / "edge", hnsw_config={"m": 8}, similarity="l2")
    assert QdrantEdgeDocumentStore.from_dict(store.to_dict()).to_dict() == store.to_dict()
    by_path = QdrantEdgeDocumentStore(tmp_path / "edge")
    assert by_path.to_dict()["init_parameters"]["path"] == str(tmp_path / "edge")
    assert not (tmp_path / "edge").exists()
