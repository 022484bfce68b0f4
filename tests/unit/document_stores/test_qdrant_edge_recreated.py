"""An Edge collection that is made, emptied or deleted is whole at every moment, whatever interrupts it."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path

import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy
from qdrant_client import models
from vectors import TOKENS

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.disk import FullDiskError
from rrra_haystack.qdrant.engines import engine_of, vectors_in

FIELDS = [
    {"field_name": "meta.kind", "field_schema": "keyword"},
    {"field_name": "meta.text", "field_schema": {"type": "text", "tokenizer": "word"}},
]
QUANTISED = TOKENS.model_copy(
    update={"quantization_config": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))}
)
SETTINGS = {
    "hnsw_config": {"m": 8}, "optimizers_config": {"indexing_threshold": 1}, "on_disk_payload": False,
    "quantization_config": {"scalar": {"type": "int8", "quantile": 0.5}},
}  # fmt: skip


def edge(tmp_path: Path, **options: object) -> QdrantEdgeDocumentStore:
    return QdrantEdgeDocumentStore(str(tmp_path / "edge"), embedding_dim=3, progress_bar=False, **options)


def documents(number: int) -> list[Document]:
    words = SparseEmbedding(indices=[1], values=[1.0])
    return [
        Document(id=str(one), content="text", embedding=[3.0, 4.0, one], sparse_embedding=words)
        for one in range(number)
    ]


def config(tmp_path: Path) -> dict:
    told = json.loads((tmp_path / "edge" / "Document" / "edge_config.json").read_text(encoding="utf-8"))
    # The engine adds it where payload is on disk since nobody said otherwise.
    return {name: value for name, value in told.items() if name != "payload_memory"}


def schema(store: QdrantEdgeDocumentStore) -> dict:
    return store._client.get_collection(store.index).payload_schema


RECREATE = """
import sys
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
try:
    QdrantEdgeDocumentStore(sys.argv[1], embedding_dim=3, recreate_index=True).count_documents()
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"similarity": "dot_product"},
        {"similarity": "l2", "on_disk": True},
        {"payload_fields_to_index": FIELDS},
        {"use_sparse_embeddings": True},
        {"use_sparse_embeddings": True, "sparse_idf": True, "payload_fields_to_index": FIELDS, **SETTINGS},
    ],
)
async def test_a_collection_is_emptied_with_its_settings(tmp_path: Path, options: dict) -> None:
    store, other = edge(tmp_path, **options), edge(tmp_path, **options)
    store.write_documents(documents(3))
    assert other.count_documents() == 3
    before, fields = config(tmp_path), schema(store)
    store.delete_all_documents(recreate_index=True)
    assert (store.count_documents(), other.count_documents()) == (0, 0)
    assert config(tmp_path) == before
    assert schema(store).keys() == fields.keys()
    store.write_documents(documents(2))
    await other.delete_all_documents_async(recreate_index=True)
    assert (await store.count_documents_async(), config(tmp_path)) == (0, before)
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


def test_a_multivector_is_kept(tmp_path: Path) -> None:
    store = edge(tmp_path, use_sparse_embeddings=True)
    dense = models.VectorParams(size=3, distance=models.Distance.COSINE)
    sparse = {"text-sparse": models.SparseVectorParams()}
    store.new_client().create_collection("Document", {"text-dense": dense, "rrra_tokens": QUANTISED}, sparse)
    store.write_documents(documents(3))
    before = config(tmp_path)
    store.delete_all_documents(recreate_index=True)
    assert (store.count_documents(), config(tmp_path)) == (0, before)
    assert vectors_in(tmp_path / "edge", "Document").multivector_dimension == 2


def test_nothing_is_deleted_that_cannot_be_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    with pytest.raises(FullDiskError):
        store.delete_all_documents(recreate_index=True)
    assert store.count_documents() == 3


def test_a_nearly_full_disk_can_be_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = edge(tmp_path, use_sparse_embeddings=True, payload_fields_to_index=FIELDS)
    store.write_documents(documents(3))
    left = tmp_path / "edge" / f".Document-{'0' * 32}.deleted"
    left.mkdir()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=(10 if left.exists() else 40) * 2**20))
    with pytest.raises(FullDiskError):
        store.write_documents(documents(4), DuplicatePolicy.OVERWRITE)
    store.delete_all_documents(recreate_index=True)
    assert store.count_documents() == 0


@pytest.mark.parametrize("moment", ["before the first", "after the first", "the second fails"])
def test_a_collection_is_there_whatever_interrupts_emptying_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    rename = Path.rename

    def interrupted(folder: Path, target: Path) -> Path:
        if moment == "before the first" and folder.name == "Document":
            raise KeyboardInterrupt
        if moment == "the second fails" and Path(target).name == "Document" and not folder.name.endswith(".deleted"):
            raise OSError(5, "Input/output error")
        moved = rename(folder, target)
        if moment == "after the first" and folder.name == "Document":
            raise KeyboardInterrupt
        return moved

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", interrupted)
        with pytest.raises((KeyboardInterrupt, PermissionError)):
            store.delete_all_documents(recreate_index=True)
        if moment != "the second fails":
            with pytest.raises(KeyboardInterrupt):
                store._client.delete_collection("Document")
    assert store.count_documents() == 3
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


def test_an_interrupted_deletion_of_the_old_collection_leaves_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    rmtree = shutil.rmtree

    def interrupted(folder: Path, **options: object) -> None:
        if Path(folder).name.endswith(".deleted"):
            raise KeyboardInterrupt
        rmtree(folder, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.delete_all_documents(recreate_index=True)
    assert store.new_client().collection_exists("Document")
    assert len(list((tmp_path / "edge").iterdir())) == 2
    # What was left goes when a process opens the collection.
    store.close()
    assert store.count_documents() == 0
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


def test_hidden_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    others = [".Document-backup", f".Document-2-{'0' * 32}.deleted", f".Document-{'0' * 31}", f".document-{'0' * 32}"]
    for name in others:
        (tmp_path / "edge" / name).mkdir()
        os.utime(tmp_path / "edge" / name, (0, 0))
    store.delete_all_documents(recreate_index=True)
    assert {one.name for one in (tmp_path / "edge").iterdir()} == {"Document", *others}


def test_a_kill_while_a_collection_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))

    def killed(folder: Path, **_: object) -> None:
        # What is deleted first is what tells a collection.
        (folder / "edge_config.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store._client.delete_collection("Document")
    store.close()
    assert engine_of(tmp_path / "edge") is None
    assert edge(tmp_path).write_documents(documents(2)) == 2
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


def test_what_a_kill_leaves_of_a_new_collection_is_none(tmp_path: Path) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    store.close()
    left = (tmp_path / "edge" / "Document").rename(tmp_path / "edge" / f".Document-{'0' * 32}")
    assert (engine_of(tmp_path / "edge"), vectors_in(tmp_path / "edge", left.name)) == (None, None)
    assert store.new_client().get_collections().collections == []
    # Another process may be making it just now; one that is old is nobody's.
    assert store.count_documents() == 0
    assert left.exists()
    os.utime(left, (time.time() - 7200,) * 2)
    store.delete_all_documents(recreate_index=True)
    assert [one.name for one in (tmp_path / "edge").iterdir()] == ["Document"]


@pytest.mark.parametrize("name", [".hidden", "..", "a/b", "a\\b", "C:", "a*", "a\0b", ""])
def test_a_collection_has_a_name_that_can_be_a_folders_and_a_servers(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must not be empty, begin with a dot or hold") as raised:
        edge(tmp_path, index=name).count_documents()
    assert f"The collection {name!r} cannot be made" in str(raised.value)
    assert not (tmp_path / "edge").exists()


def test_a_folder_that_is_no_collection_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "edge" / "Document").mkdir(parents=True)
    (tmp_path / "edge" / "Document" / "letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match="holds something else than a collection"):
        edge(tmp_path).count_documents()
    assert (tmp_path / "edge" / "Document" / "letter.txt").exists()


def test_fields_that_a_kill_left_without_an_index_get_one(tmp_path: Path) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    store.close()
    with_fields = edge(tmp_path, payload_fields_to_index=FIELDS)
    assert with_fields.count_documents() == 3
    assert schema(with_fields).keys() == {"meta.kind", "meta.text"}


def test_a_second_process_empties_nothing(tmp_path: Path) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    command = [sys.executable, "-c", RECREATE, str(tmp_path / "edge")]
    assert "is open in another process" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert store.count_documents() == 3


@pytest.mark.parametrize("copied", [deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
def test_a_copy_uses_the_open_folder_and_empties_nothing(tmp_path: Path, copied: Callable) -> None:
    store = edge(tmp_path, recreate_index=True)
    untouched = copied(edge(tmp_path))
    store.write_documents(documents(3))
    other = copied(store)
    assert (other.count_documents(), untouched.count_documents()) == (3, 3)
    other.write_documents([Document(id="another", content="text", embedding=[3.0, 4.0, 5.0])])
    assert store.count_documents() == 4
    store.close()


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
async def test_a_copy_of_a_store_that_was_asked_asynchronously(tmp_path: Path, copied: Callable) -> None:
    store = edge(tmp_path)
    assert await store.write_documents_async(documents(3)) == 3
    assert await store.count_documents_async() == 3
    other = copied(store)
    assert other.count_documents() == await other.count_documents_async() == 3
    store.close()


def test_a_store_empties_its_collection_once(tmp_path: Path) -> None:
    edge(tmp_path).write_documents(documents(2))
    store = edge(tmp_path, recreate_index=True)
    assert store.count_documents() == 0
    for number in (3, 2):
        store.write_documents(documents(number), DuplicatePolicy.OVERWRITE)
        store.close()
        assert store.count_documents() == 3
    store.close()
    assert store.to_dict()["init_parameters"]["recreate_index"]
    assert edge(tmp_path, recreate_index=True).count_documents() == 0


def test_a_collection_that_cannot_be_opened_can_be_deleted(tmp_path: Path) -> None:
    store = edge(tmp_path)
    store.write_documents(documents(3))
    store.close()
    for version in (tmp_path / "edge").rglob("version.info"):
        version.write_text("99.0.0")
    assert edge(tmp_path, recreate_index=True).count_documents() == 0
