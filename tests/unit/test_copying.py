"""A collection is copied whole between all engines, goes on after an interruption, and what does not fit is told."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models
from qdrant_server import qdrant_server
from vectors import TOKENS

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import copying
from rrra_haystack.copying import copy, open_target
from rrra_haystack.qdrant.clients import open_client
from rrra_haystack.qdrant.engines import engine_of

OPTIONS = {"embedding_dim": 3, "use_sparse_embeddings": True, "sparse_idf": True, "progress_bar": False}
DOCUMENTS = [
    Document(
        id=str(number),
        content=f"Number {number}",
        embedding=[1.0, number / 10, 0.5],
        sparse_embedding=SparseEmbedding(indices=[number % 5, 7], values=[1.0, 2.0]),
        meta={"number": number, "rrra_codes": "x" * number, "nested": {"none": None}},
    )
    for number in range(30)
]


def local(path: Path, **options: object) -> QdrantDocumentStore:
    return QdrantDocumentStore(path=str(path), **{**OPTIONS, **options})


def edge(path: Path, **options: object) -> QdrantEdgeDocumentStore:
    return QdrantEdgeDocumentStore(str(path), **{**OPTIONS, **options})


def points(store: QdrantDocumentStore) -> dict:
    found, _ = open_client(store).scroll(store.index, limit=100, with_payload=True, with_vectors=True)
    return {one.id: (one.payload, one.vector or {}) for one in found}


def are_equal(some: dict, others: dict) -> bool:
    for name, (payload, vectors) in some.items():
        copied, same = others[name]
        assert payload == copied
        assert vectors.keys() == same.keys()
        for kind, vector in vectors.items():
            if isinstance(vector, models.SparseVector):
                assert (vector.indices, vector.values) == (same[kind].indices, same[kind].values)
            else:
                assert same[kind] == [pytest.approx(one, abs=1e-6) for one in vector]
    return some.keys() == others.keys()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[QdrantDocumentStore]:
    """A store of local mode with a multivector, and one document without an embedding."""
    store = local(tmp_path / "filled")
    client = open_client(store)
    dense = models.VectorParams(size=3, distance=models.Distance.COSINE)
    client.create_collection(
        "Document",
        vectors_config={"text-dense": dense, "rrra_tokens": TOKENS},
        sparse_vectors_config={"text-sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    store.write_documents([*DOCUMENTS, Document(id="bare", content="bare")])
    tokens = [
        models.PointVectors(id=name, vector={"rrra_tokens": [[0.5, number], [-1.0, 0.25]]})
        for number, name in enumerate(sorted(points(store))[:30])
    ]
    client.update_vectors("Document", tokens)
    yield store
    store.close()


def test_all_comes_along_between_all_engines(
    filled: QdrantDocumentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGE", 7)
    assert any("rrra_tokens" in vectors for _, vectors in points(filled).values())
    with qdrant_server() as server:
        stores = [
            filled,
            edge(tmp_path / "edge"),
            QdrantDocumentStore(url=server.url, **OPTIONS),
            edge(tmp_path / "again"),
            local(tmp_path / "local"),
        ]
        for source, target in pairwise(stores):
            done = copy(source, target)
            assert (done.documents, done.written, done.kept) == (31, 31, 0)
            assert are_equal(points(source), points(target))
        vectors = open_client(stores[-1]).get_collection("Document").config.params.vectors
        assert vectors["rrra_tokens"].datatype == models.Datatype.FLOAT16
        assert len(stores[-1].filter_documents()) == 31
        for store in stores:
            store.close()


def test_a_copy_without_names_for_its_vectors(tmp_path: Path) -> None:
    source = local(tmp_path / "local", use_sparse_embeddings=False)
    source.write_documents([Document(id="1", content="one", embedding=[1.0, 0.0, 0.0]), Document(id="2", content="")])
    target = edge(tmp_path / "edge", use_sparse_embeddings=False)
    assert copy(source, target).written == 2
    assert sorted((one.id, one.embedding) for one in target.filter_documents()) == [("1", [1, 0, 0]), ("2", None)]


def test_it_goes_on_after_an_interruption(
    filled: QdrantDocumentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGE", 10)
    target, written = edge(tmp_path / "edge"), copying._point

    def interrupted(record: models.Record) -> models.PointStruct:
        if len(points(target)) == 20:
            raise KeyboardInterrupt
        return written(record)

    monkeypatch.setattr(copying, "_point", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy(filled, target)
    monkeypatch.setattr(copying, "_point", written)
    target.close()
    done = copy(filled, target)
    assert (done.written, done.kept) == (11, 20)
    filled.update_by_filter({"field": "meta.number", "operator": "==", "value": 3}, {"number": 300})
    assert copy(filled, target).written == 1
    assert are_equal(points(filled), points(target))


@pytest.mark.parametrize("kind", ["text-dense", "text-sparse", "rrra_tokens", "none"])
def test_other_vectors_are_copied_again(filled: QdrantDocumentStore, tmp_path: Path, kind: str) -> None:
    target = edge(tmp_path / "edge")
    assert copy(filled, target).written == 31
    assert copy(filled, target).kept == 31
    new = {
        "text-dense": [0.0, 1.0, 0.5],
        "text-sparse": models.SparseVector(indices=[7, 9], values=[1.0, 2.0]),
        "rrra_tokens": [[0.5, 100.0], [-1.0, 0.25]],
    }
    (name, *others) = [one for one, (payload, _) in points(filled).items() if payload["content"] != "bare"]
    client = open_client(filled)
    if kind == "none":
        client.delete_vectors("Document", list(new), [name])
    else:
        client.update_vectors("Document", [models.PointVectors(id=name, vector={kind: new[kind]})])
    done = copy(filled, target)
    assert (done.written, done.kept) == (1, len(others) + 1)
    assert are_equal(points(filled), points(target))


def test_what_the_source_has_no_longer_is_counted(tmp_path: Path) -> None:
    source, target = local(tmp_path / "local"), edge(tmp_path / "edge")
    source.write_documents(DOCUMENTS)
    assert copy(source, target).further == 0
    source.delete_documents(["3", "4"])
    source.write_documents([Document(id="new", content="New")])
    done = copy(source, target)
    assert (done.documents, done.written, done.kept, done.further) == (29, 1, 28, 2)
    assert target.count_documents() == 31
    source.close()


@pytest.mark.parametrize("datatype", [None, *models.Datatype])
@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.DOT])
def test_what_an_engine_rounds_is_not_copied_again(
    tmp_path: Path, datatype: models.Datatype | None, distance: models.Distance
) -> None:
    if (datatype, distance) == (models.Datatype.UINT8, models.Distance.COSINE):
        pytest.skip("Nothing is left of it: it is brought to length 1 before it is rounded to whole numbers.")
    source, target = local(tmp_path / "local"), edge(tmp_path / "edge")
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 64)) if datatype != models.Datatype.UINT8 else draw.integers(0, 255, (40, 64))
    config = models.VectorParams(size=64, distance=distance, datatype=datatype)
    for store, kind in ((source, None), (target, datatype)):
        open_client(store).create_collection("Document", config.model_copy(update={"datatype": kind}))
    written = [models.PointStruct(id=one, vector=vector.tolist()) for one, vector in enumerate(vectors)]
    open_client(source).upsert("Document", written)
    assert copy(source, target).written == 40
    assert copy(source, target).kept == 40
    source.close()


def test_numbers_of_the_metadata_that_an_engine_rounds_are_not_copied_again(tmp_path: Path) -> None:
    source, target = local(tmp_path / "local"), edge(tmp_path / "edge")
    tenths = [number / 10 if number % 2 else number * 0.1 for number in range(100)]
    source.write_documents([
        Document(id=str(number), content="x", meta={"tenth": tenth, "all": [{"large": 7**23, "tenth": tenth}]})
        for number, tenth in enumerate(tenths)
    ])  # fmt: skip
    assert copy(source, target).written == 100
    assert any(one.meta["tenth"] != tenths[int(one.id)] for one in target.filter_documents())
    assert copy(source, target).kept == 100
    source.update_by_filter({"field": "meta.tenth", "operator": ">", "value": 9.85}, {"tenth": 9.90001})
    assert copy(source, target).written == 1
    source.close()


def test_halves_of_surrogate_pairs_are_copied_once(tmp_path: Path) -> None:
    source = local(tmp_path / "source")
    source.write_documents([*DOCUMENTS, Document(id="half", content="a\ud800", meta={"\udfff": ["\ud83d\ude00"]})])
    for target in (edge(tmp_path / "edge"), local(tmp_path / "local")):
        assert [copy(source, target).written for _ in range(2)] == [31, 0]
        (found,) = target.filter_documents({"field": "id", "operator": "==", "value": "half"})
        assert (found.content, found.meta) == ("a\ufffd", {"\ufffd": ["\U0001f600"]})
        target.close()
    source.close()


def test_payload_indexes_that_a_kill_left_out_are_made(tmp_path: Path) -> None:
    source = edge(tmp_path / "edge", payload_fields_to_index=[{"field_name": "meta.k", "field_schema": "keyword"}])
    source.write_documents(DOCUMENTS)
    target = edge(tmp_path / "copy")
    assert target.count_documents() == 0
    copy(source, target)
    assert open_client(target).get_collection("Document").payload_schema.keys() == {"meta.k"}


def test_payload_indexes_come_along(tmp_path: Path) -> None:
    source = edge(tmp_path / "edge", payload_fields_to_index=[{"field_name": "meta.k", "field_schema": "keyword"}])
    source.write_documents(DOCUMENTS)
    target = edge(tmp_path / "copy")
    copy(source, target)
    assert open_client(target).get_collection("Document").payload_schema.keys() == {"meta.k"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"embedding_dim": 4}, "vector 'text-dense' is one of 4 dimensions .* is one of 3 dimensions"),
        ({"similarity": "l2"}, "vector 'text-dense' is one of 3 dimensions .Euclid"),
        ({"sparse_idf": False}, "vector 'text-sparse' is sparse without IDF.* is sparse with IDF"),
        ({"use_sparse_embeddings": False}, r"its vector is one of 3 dimensions \(Cosine\), .* is missing"),
    ],
)
def test_a_target_that_does_not_fit_is_left_as_it_is(tmp_path: Path, options: dict, told: str) -> None:
    source, target = local(tmp_path / "local"), edge(tmp_path / "edge", **options)
    source.write_documents(DOCUMENTS)
    assert target.count_documents() == 0
    with pytest.raises(ValueError, match=f"'Document' at .*edge does not fit: .*{told}"):
        copy(source, target)
    assert target.count_documents() == 0


def test_what_cannot_be_copied_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no collection 'Document'"):
        copy(local(tmp_path / "nothing"), edge(tmp_path / "edge"))
    assert not (tmp_path / "edge").exists()
    with pytest.raises(ValueError, match="cannot be copied into itself"):
        copy(edge(tmp_path / "edge"), edge(tmp_path / "edge"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match="holds something else than a Qdrant"):
        open_target(str(tmp_path / "other"), "rrra")
    store = open_target(str(tmp_path / "new"), "rrra", "local")
    assert store.count_documents() == 0
    store.close()
    assert engine_of(tmp_path / "new") == "local"
    with pytest.raises(ValueError, match="is of the engine 'local', not 'edge'"):
        open_target(str(tmp_path / "new"), "rrra", "edge")
    with pytest.raises(ValueError, match="An engine is chosen for a folder"):
        open_target("http://localhost:6333", "rrra", "edge")


def test_what_is_indexed_is_known_of_a_new_copy(tmp_path: Path) -> None:
    source, target = edge(tmp_path / "source"), local(tmp_path / "target")
    source.write_documents(DOCUMENTS)
    known, copied = (tmp_path / name / "Document-rrra-index.json" for name in ("source", "target"))
    for told, expected in (("first", "first"), ("second", "first")):
        known.write_text(told)
        copy(source, target)
        assert copied.read_text() == expected
    source.close()
    target.close()
