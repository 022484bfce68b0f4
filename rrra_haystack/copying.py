"""Copies a collection from one Qdrant into another: local mode, Edge and servers, each into each."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient, models
from tqdm.auto import tqdm

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.configs import named_vectors
from rrra_haystack.documents.decoding import without_surrogates
from rrra_haystack.documents.same_values import are_same_values
from rrra_haystack.files import atomic_file
from rrra_haystack.named_store import named_place, open_store, store_of_folder
from rrra_haystack.pipeline_files import manifest_path
from rrra_haystack.qdrant.clients import checked_client, has_payload_indexes, place_of
from rrra_haystack.qdrant.collections import missing
from rrra_haystack.qdrant.engines import Engine, engine_of
from rrra_haystack.qdrant.optimizing import optimize
from rrra_haystack.qdrant.patience import patiently
from rrra_haystack.qdrant.requests import NUMBER_BYTES, POINT_BYTES, bounded, json_bytes
from rrra_haystack.qdrant.same_vectors import are_same_vectors, tolerances_of

Result = TypeVar("Result")
# A multivector takes half a megabyte in Python.
_PAGE = 128


@dataclass(frozen=True)
class Copied:
    """
    What was done.

    :param documents: Documents of the source.
    :param written: Those that were written.
    :param kept: Those that the target had already, with the same content, metadata and vectors.
    :param further: Documents of the target that the source does not have, as those that were deleted there since.
    """

    documents: int
    written: int
    kept: int
    further: int


def open_target(store: str, index: str, engine: Engine | None = None) -> Any:
    """
    The document store that is copied into; a folder may be new.

    :param store: As :func:`open_store` takes it.
    :param index: Collection of the Qdrant.
    :param engine: Engine of a new folder, Edge if `None`.
    :raises ValueError: If there is another engine's collection, or something else, in the folder, or `store` is empty.
    """
    store = named_place(store)
    path = Path(store)
    if "://" in store or path.is_file():
        if engine is not None:
            msg = f"An engine is chosen for a folder, and {store} is none. Leave it out."
            raise ValueError(msg)
        return open_store(store, index)
    there = engine_of(path)
    # A kill may have left a hidden folder where a collection was to be made.
    if there is None and path.is_dir() and any(not one.name.startswith(".") for one in path.iterdir()):
        msg = f"The folder {store} holds something else than a Qdrant. Name a new folder."
        raise ValueError(msg)
    if engine is not None and there not in (None, engine):
        msg = f"The folder {store} is of the engine '{there}', not '{engine}'. Name a new folder."
        raise ValueError(msg)
    return store_of_folder(store, index, there or engine or "edge")


def copy(source: QdrantDocumentStore, target: QdrantDocumentStore, *, show_progress: bool = False) -> Copied:
    """
    Copy all documents of a collection, with their embeddings, sparse embeddings, multivectors and codes.

    A missing target is made with the vectors and the payload indexes of the source. Documents that the target has with
    the same content, metadata and vectors are left alone, so that a copy goes on after an interruption; others of the
    same identifiers are replaced. What ``rrra index`` knows of the source it knows of a new copy. A target of the
    engine Edge is optimized at the end.

    :param source: The document store that is read.
    :param target: The document store that is written to.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If there is no source, the target does not fit it, or one of them was written to meanwhile.
    """
    _check_stores(source, target)
    with checked_client(source) as reader:
        read = partial(_ask, source, reader)
        if not read("collection_exists"):
            raise missing(source, patiently(reader.get_collections, place_of(source)))
        described = read("get_collection")
        total = read("count", exact=True).count
    with checked_client(target) as writer:
        write = partial(_ask, target, writer)
        if not write("collection_exists"):
            _create(target, writer, described)
        found = write("get_collection")
        _check_fit(source, target, described, found)
        _make_indexes(target, write, described, found)
        tolerances = tolerances_of(found.config.params)
    written = 0
    with tqdm(total=total, desc="Copying", unit="document", disable=not show_progress) as progress:
        for page in _pages(read):
            ids = [one.id for one in page]
            there = {one.id: one for one in write("retrieve", ids, with_payload=True, with_vectors=True)}
            points = [_point(one) for one in page if not _is_there(one, there.get(one.id), tolerances)]
            for some in bounded(points, _bytes):
                write("upsert", some, wait=True)
            written += len(points)
            progress.update(len(page))
    copied = write("count", exact=True).count
    if copied < total or read("count", exact=True).count != total:
        msg = f"{copied} of {total} documents are in the copy. Was one of the two written to meanwhile? Copy again."
        raise ValueError(msg)
    _copy_manifest(source, target)
    if isinstance(target, QdrantEdgeDocumentStore):
        optimize(target, show_progress=show_progress)
    return Copied(total, written, kept=total - written, further=copied - total)


def _copy_manifest(source: QdrantDocumentStore, target: QdrantDocumentStore) -> None:
    """Let ``rrra index`` know what the copy holds."""
    known, new = (manifest_path({"index": one.index, "path": one.path, "url": one.url}) for one in (source, target))
    if known.exists() and not new.exists():
        with atomic_file(new) as work:
            shutil.copyfile(known, work)


def _ask(store: QdrantDocumentStore, client: QdrantClient, method: str, *given: Any, **options: Any) -> Any:
    call: Callable[..., Any] = getattr(client, method)
    return patiently(partial(call, store.index, *given, **options), place_of(store))


def _pages(read: Callable[..., Any]) -> Iterator[list[models.Record]]:
    offset = None
    while True:
        page, offset = read("scroll", limit=_PAGE, offset=offset, with_payload=True, with_vectors=True)
        for one in page:
            # Local mode alone keeps halves of surrogate pairs.
            one.payload = without_surrogates(one.payload)
        yield page
        if offset is None:
            return


def _check_stores(source: QdrantDocumentStore, target: QdrantDocumentStore) -> None:
    for store in (source, target):
        if not isinstance(store, QdrantDocumentStore):
            msg = f"A {type(store).__name__} is no Qdrant, and only collections of Qdrant can be copied."
            raise ValueError(msg)
    if _is_same(source, target):
        msg = f"The collection '{source.index}' at {place_of(source)} cannot be copied into itself."
        raise ValueError(msg)


def _is_same(source: QdrantDocumentStore, target: QdrantDocumentStore) -> bool:
    if source.index != target.index:
        return False
    if source.path is not None and target.path is not None:
        return Path(source.path).resolve() == Path(target.path).resolve()
    return source is target or (source.location != ":memory:" and place_of(source) == place_of(target))


def _create(target: QdrantDocumentStore, client: QdrantClient, described: models.CollectionInfo) -> None:
    params = described.config.params

    def create() -> None:
        # An attempt whose answer was lost may have made it.
        if not client.collection_exists(target.index):
            client.create_collection(
                target.index, vectors_config=params.vectors, sparse_vectors_config=params.sparse_vectors
            )

    patiently(create, place_of(target))


def _make_indexes(
    target: QdrantDocumentStore,
    write: Callable[..., Any],
    described: models.CollectionInfo,
    found: models.CollectionInfo,
) -> None:
    """Make the payload indexes of the source that the target lacks; a copy may have been killed before it had."""
    if has_payload_indexes(target):
        for name, one in (described.payload_schema or {}).items():
            if name not in (found.payload_schema or {}):
                write("create_payload_index", name, one.params or one.data_type)


def _check_fit(
    source: QdrantDocumentStore,
    target: QdrantDocumentStore,
    described: models.CollectionInfo,
    found: models.CollectionInfo,
) -> None:
    wanted, there = _vectors(described.config.params), _vectors(found.config.params)
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            called = f"vector '{name}'" if name else "vector"
            msg = (
                f"The collection '{target.index}' at {place_of(target)} does not fit: its {called} is "
                f"{there.get(name, 'missing')}, and that of {place_of(source)} is {wanted.get(name, 'missing')}. Copy "
                "into a new folder or collection."
            )
            raise ValueError(msg)


def _vectors(params: models.CollectionParams) -> dict[str, str]:
    """The vectors of a collection, each as what a copy must keep."""
    told = {
        name: f"{'a multivector' if one.multivector_config else 'one'} of {one.size} dimensions ({one.distance.value})"
        for name, one in named_vectors(params.vectors).items()
        if one is not None
    }
    for name, sparse in (params.sparse_vectors or {}).items():
        told[name] = "sparse with IDF" if sparse.modifier == models.Modifier.IDF else "sparse without IDF"
    return told


def _is_there(record: models.Record, found: models.Record | None, tolerances: dict[str, float]) -> bool:
    return (
        found is not None
        and are_same_values(found.payload, record.payload)
        and are_same_vectors(record.vector, found.vector, tolerances)
    )


def _point(record: models.Record) -> models.PointStruct:
    # A document without an embedding has no vectors.
    vector: Any = record.vector or {}
    return models.PointStruct(id=record.id, payload=record.payload or {}, vector=vector)


def _bytes(point: models.PointStruct) -> int:
    return json_bytes(point.payload) + NUMBER_BYTES * _numbers(point.vector) + POINT_BYTES


def _numbers(vector: Any) -> int:
    if isinstance(vector, dict):
        return sum(_numbers(one) for one in vector.values())
    if isinstance(vector, models.SparseVector):
        return 2 * len(vector.indices)
    return sum(len(one) if isinstance(one, list) else 1 for one in vector)
