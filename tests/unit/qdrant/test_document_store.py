"""What is used of QdrantDocumentStore without a public name is there, and means what it is taken for."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from threading import RLock

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.document_store import DEFAULT_GROUP_SIZE
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from rrra_haystack.qdrant.document_store import (
    async_client_of,
    client_of,
    collection_params,
    documents_of_points,
    guarded,
    keep_async_client,
    new_async_client,
    new_client,
    vectors_config,
    without_duplicates,
)

DOCUMENTS = [Document(content=f"Number {number}", embedding=[number + 1.0, 1.0, 0.0]) for number in range(4)]


def memory(**options: object) -> QdrantDocumentStore:
    return QdrantDocumentStore(":memory:", embedding_dim=3, progress_bar=False, **options)


def parameters(method: Callable[..., object]) -> dict[str, object]:
    return {name: one.default for name, one in inspect.signature(method).parameters.items() if name != "self"}


def test_the_signatures_are_as_they_are_called() -> None:
    required = inspect.Parameter.empty
    assert parameters(QdrantDocumentStore._initialize_client) == {}
    assert parameters(QdrantDocumentStore._prepare_client_params) == {}
    assert parameters(QdrantDocumentStore._prepare_collection_params) == {}
    assert parameters(QdrantDocumentStore._prepare_collection_config) == {
        "embedding_dim": required, "distance": required, "on_disk": None, "use_sparse_embeddings": None,
        "sparse_idf": False,
    }  # fmt: skip
    assert parameters(QdrantDocumentStore._handle_duplicate_documents) == {"documents": required, "policy": None}
    assert parameters(QdrantDocumentStore._process_query_point_results) == {"results": required, "scale_score": False}
    assert DEFAULT_GROUP_SIZE == 3


def test_a_store_opens_its_client_at_its_first_use_and_closes_it() -> None:
    store = memory()
    assert client_of(store) is None
    assert store.count_documents() == 0
    assert isinstance(client_of(store), QdrantClient)
    assert client_of(store).collection_exists(store.index)
    store.close()
    assert client_of(store) is None


def test_a_store_works_with_the_client_that_it_is_given(tmp_path: Path) -> None:
    store = QdrantDocumentStore(path=str(tmp_path / "store"), embedding_dim=3, recreate_index=True, progress_bar=False)
    client = new_client(store)
    assert client_of(store) is client
    # A store that has a client takes its collection as set up: it makes none and empties none.
    assert not client.collection_exists(store.index)
    client.create_collection(store.index, models.VectorParams(size=3, distance=models.Distance.COSINE))
    assert store.write_documents(DOCUMENTS) == 4
    assert client.count(store.index).count == 4
    store.close()


async def test_a_store_works_with_the_asynchronous_client_that_it_is_given() -> None:
    store = memory()
    client = new_async_client(store)
    assert isinstance(client, AsyncQdrantClient)
    assert async_client_of(store) is None
    await client.create_collection(store.index, models.VectorParams(size=3, distance=models.Distance.COSINE))
    keep_async_client(store, client)
    assert async_client_of(store) is client
    assert await store.write_documents_async(DOCUMENTS) == 4
    assert (await client.count(store.index)).count == 4
    await store.close_async()
    assert async_client_of(store) is None


def test_clients_are_opened_with_the_options_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    store = QdrantDocumentStore(
        url="http://127.0.0.1:1", timeout=7, api_key=Secret.from_env_var("KEY"),
        client_kwargs={"check_compatibility": False},
    )  # fmt: skip
    for client in (new_client(store), new_async_client(store)):
        assert client.init_options["url"] == "http://127.0.0.1:1"
        assert client.init_options["timeout"] == 7
        assert client.init_options["api_key"] == "secret"
        assert client.init_options["check_compatibility"] is False


@pytest.mark.parametrize("sparse", [False, True])
def test_a_collection_of_these_parts_is_the_stores_own(sparse: bool) -> None:
    store = memory(
        use_sparse_embeddings=sparse, sparse_idf=sparse, on_disk=True, similarity="dot_product", shard_number=1
    )
    assert store.count_documents() == 0
    own = client_of(store).get_collection(store.index).config.params
    vectors, sparse_vectors = vectors_config(store)
    assert own.vectors == vectors
    assert own.sparse_vectors == sparse_vectors
    client = QdrantClient(":memory:")
    params = collection_params(store)
    assert params["shard_number"] == 1
    client.create_collection("other", vectors_config=vectors, sparse_vectors_config=sparse_vectors, **params)
    assert client.get_collection("other").config.params == own


def test_what_a_policy_leaves_to_write() -> None:
    store = memory()
    store.write_documents(DOCUMENTS[:2])
    ids = [one.id for one in DOCUMENTS]

    def left(policy: DuplicatePolicy, documents: list[Document] = DOCUMENTS) -> list[str]:
        return [one.id for one in without_duplicates(store, documents, policy)]

    assert left(DuplicatePolicy.SKIP) == ids[2:]
    assert left(DuplicatePolicy.OVERWRITE) == ids
    assert left(DuplicatePolicy.FAIL, [*DOCUMENTS[2:], DOCUMENTS[2]]) == ids[2:]
    with pytest.raises(DuplicateDocumentError, match=ids[0]):
        left(DuplicatePolicy.FAIL)


def test_points_become_documents_with_their_scores() -> None:
    store = memory()
    store.write_documents([replace(DOCUMENTS[0], meta={"a": 1})])
    found = client_of(store).query_points(store.index, [1.0, 1.0, 0.0], with_vectors=True).points
    (plain,) = documents_of_points(store, found, has_names=False)
    assert (plain.content, plain.meta) == ("Number 0", {"a": 1})
    assert plain.score == pytest.approx(1)
    assert plain.embedding == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-6)
    found[0].score = 0.0
    assert documents_of_points(store, found, has_names=False, scale_score=True)[0].score == 0.5


def test_points_without_vectors_become_the_documents_that_the_store_makes() -> None:
    store = memory()
    own = [replace(DOCUMENTS[0], meta={"a": [1], "b": None}), DOCUMENTS[1], Document(id=DOCUMENTS[2].id, content=None)]
    store.write_documents([replace(one, embedding=[1.0, 0.0, 0.0]) for one in own])
    found = client_of(store).query_points(store.index, [1.0, 1.0, 0.0]).points
    assert len(found) == 3
    expected = store._process_query_point_results(found, scale_score=False)
    assert documents_of_points(store, found, has_names=False) == expected


def test_a_guarded_store_holds_the_lock_while_it_opens_and_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Turn:
        """A lock that knows whether it is held."""

        depth = 0

        def __enter__(self) -> None:
            self.depth += 1

        def __exit__(self, *error: object) -> None:
            self.depth -= 1

    turn = Turn()
    seen = []

    def watch(name: str) -> None:
        kept = getattr(QdrantClient, name)

        def watched(*arguments: object, **options: object) -> object:
            seen.append((name, turn.depth > 0))
            return kept(*arguments, **options)

        monkeypatch.setattr(QdrantClient, name, watched)

    for name in ("__init__", "create_collection", "upsert", "count"):
        watch(name)
    store = guarded(memory(), turn)
    assert store.write_documents(DOCUMENTS) == 4
    assert store.count_documents() == 4
    assert {name for name, _ in seen} == {"__init__", "create_collection", "upsert", "count"}
    assert all(held for _, held in seen)
    assert turn.depth == 0
    store.close()
    assert client_of(store) is None


def test_a_guarded_store_takes_over_what_is_open(tmp_path: Path) -> None:
    store = QdrantDocumentStore(path=str(tmp_path / "store"), embedding_dim=3, similarity="dot_product")
    store.write_documents(DOCUMENTS)
    taking_turns = guarded(store, RLock())
    assert client_of(store) is None
    assert taking_turns.count_documents() == 4
    assert taking_turns.to_dict()["init_parameters"] == store.to_dict()["init_parameters"]
    taking_turns.close()
    assert store.count_documents() == 4
    store.close()


def test_a_guarded_store_and_its_client_are_copied() -> None:
    store = guarded(memory(), RLock())
    assert store.write_documents(DOCUMENTS) == 4
    assert copy(store).count_documents() == 4
    assert copy(client_of(store)).count(store.index).count == 4


def test_threads_wait_for_a_guarded_store(tmp_path: Path) -> None:
    lock = RLock()
    store = guarded(
        QdrantDocumentStore(path=str(tmp_path / "store"), embedding_dim=3, force_disable_check_same_thread=True), lock
    )
    with ThreadPoolExecutor(1) as pool:
        with lock:
            waiting = pool.submit(store.count_documents)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=10) == 0
    store.close()
