"""Bring a Qdrant index up to date with files, so that a kill at any moment costs a few seconds of work."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rrra_haystack.indexing.manifest import Manifest, manifest_path_of, recipe_digest
from rrra_haystack.indexing.ray_workers import encoded_by_ray
from rrra_haystack.indexing.steps import Encoding, Reading
from rrra_haystack.indexing.stored import forget_units, held_units, set_up_collection, write_units
from rrra_haystack.indexing.units import KINDS, IndexReport, Unit, collect_files, file_of, is_gone, readable_units
from rrra_haystack.pipeline_files import opened, store_parameters
from rrra_haystack.qdrant.clients import is_embedded, place_of
from rrra_haystack.qdrant.patience import patiently

_BATCH_BYTES = 256 * 1024


def index(
    paths: Iterable[Path], pipeline: dict[str, Any], *, ray: str | None = None, show_progress: bool = False
) -> IndexReport:
    """
    Index files.

    A manifest beside the index holds the digest of each file, and of each part of a file of passages, that is wholly
    written. What a killed run left half-written is named in it as such, and is deleted and written again.

    :param paths: Files and folders.
    :param pipeline: An indexing pipeline with components ``router``, ``splitter``, and ``writer`` over a
        QdrantDocumentStore.
    :param ray: Address of the Ray cluster that reads and encodes, or ``local``; this process does if `None`.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the pipeline does not write to a QdrantDocumentStore, or no file can be indexed.
    """
    paths = list(paths)
    stores = list(store_parameters(pipeline))
    if len(stores) != 1 or not {"router", "splitter", "writer"} <= pipeline["components"].keys():
        msg = (
            "The indexing pipeline must have the components 'router' and 'splitter', and one component 'writer' that "
            "writes to a QdrantDocumentStore."
        )
        raise ValueError(msg)
    manifest_path = manifest_path_of(stores[0])
    files, report = collect_files(paths)
    if not files and not any(path.is_dir() for path in paths):
        msg = f"None of these files can be indexed; the kinds are {', '.join(KINDS)}."
        raise ValueError(msg)
    units = readable_units(files, report)
    named = {unit.key for own in units.values() for unit in own}
    folders = [path.resolve() for path in paths if path.is_dir()]
    with opened(pipeline) as loaded:
        writer: Any = loaded.get_component("writer")
        store: QdrantDocumentStore = writer.document_store
        place = place_of(store)
        patiently(partial(set_up_collection, store), place)
        is_empty = not patiently(store.count_documents, place)
        manifest = Manifest.read(manifest_path, recipe_digest(pipeline, loaded), is_empty=is_empty)
        gone = [key for key in manifest.known() - named if is_gone(file_of(key), units, folders)]
        stale = [unit for own in units.values() for unit in own if not manifest.holds(unit)]
        # An embedded Qdrant reads all payloads to delete some: it is asked once what there is to delete.
        held = held_units(store) if is_embedded(store) else {unit.key for unit in stale}
        _count(report, units, stale, gone, manifest)
        try:
            patiently(lambda: forget_units(store, gone), place)
            manifest.forget(gone)
            manifest.begin(stale)
            batches = list(_batches(stale))
            encode = partial(encoded_by_ray, ray) if ray and batches else _encoded
            columns = (TextColumn("Indexing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with (
                Progress(*columns, disable=not show_progress) as progress,
                closing(encode(pipeline, batches)) as encoded,
            ):
                task = progress.add_task("", total=sum(unit.size for unit in stale))
                for number, documents in encoded:
                    batch = batches[number]
                    former = [unit.key for unit in batch if unit.key in held]
                    patiently(partial(write_units, writer, store, former, documents), place)
                    report.skipped += [(key, "no text was found in it") for key in _without_text(batch, documents)]
                    manifest.complete(batch)
                    progress.advance(task, sum(unit.size for unit in batch))
        finally:
            manifest.write()
        report.passages = patiently(store.count_documents, place)
    return report


def _encoded(pipeline: dict[str, Any], batches: Sequence[Sequence[Unit]]) -> Generator[tuple[int, list[Document]]]:
    """Read and encode batches in this process."""
    read, encode = Reading(pipeline), Encoding(pipeline)
    with closing(encode):
        for number, batch in enumerate(batches):
            yield number, encode(read(batch))


def _count(
    report: IndexReport, units: dict[Path, list[Unit]], stale: list[Unit], gone: list[str], manifest: "Manifest"
) -> None:
    lost = {file_of(key) for key in gone}
    # A file of passages may have become shorter, and nothing else.
    touched = {unit.path for unit in stale} | (lost & units.keys())
    known = {file_of(key) for key in manifest.held}
    report.changed = len(touched & known)
    report.added = len(touched - known)
    report.unchanged = len({file for file, own in units.items() if own} - touched)
    report.removed = len(lost - units.keys())
    report.of_another_pipeline = len({file_of(key) for key in manifest.of_another_pipeline()} - units.keys() - lost)


def _batches(units: list[Unit]) -> Iterator[list[Unit]]:
    batch: list[Unit] = []
    size = 0
    for unit in units:
        batch.append(unit)
        size += unit.size
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _without_text(batch: Sequence[Unit], documents: Iterable[Document]) -> list[str]:
    # A passage of a .jsonl file has a source of its own, of any type.
    written = {document.meta.get("part") or document.meta.get("source") for document in documents}
    return [unit.key for unit in batch if unit.key not in written]
