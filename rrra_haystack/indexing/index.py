"""Bring a Qdrant index up to date with files, so that a kill at any moment costs a few seconds of work."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Document, Pipeline
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from haystack_integrations.document_stores.qdrant_edge.explaining import UnopenedError
from rrra_haystack.fitting import fit_to_servers
from rrra_haystack.indexing.finding import Found, find_files, is_missing, shown, taken_by
from rrra_haystack.indexing.manifest import Manifest
from rrra_haystack.indexing.pipeline_digest import pipeline_digest
from rrra_haystack.indexing.ray_workers import encoded_by_ray
from rrra_haystack.indexing.steps import Batch, Encoding, Reading, key_of
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.indexing.tally import IndexReport, Tally
from rrra_haystack.indexing.units import Unit, file_of, is_gone, is_part, units_of
from rrra_haystack.pipeline_files import manifest_path, opened, store_parameters

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
    path, paths = manifest_path(_store_parameters(pipeline)), list(paths)
    _check_missing(paths, path)
    fit_to_servers(pipeline)
    with opened(pipeline) as loaded:
        found = _found(paths, loaded)
        units = units_of(found)
        stored = StoredUnits(loaded.get_component("writer"))
        stored.set_up()
        digest = pipeline_digest(pipeline, loaded)
        manifest = Manifest.read(path, digest, is_empty=not stored.count_passages())
        named = {unit.key for own in units.values() for unit in own}
        gone = {key for key in manifest.known() - named if is_gone(file_of(key), units, found.folders)}
        stale = _stale(manifest, units, gone)
        tally = Tally(found, units, manifest.held)
        tally.lose(gone)
        former = stored.present(stale)
        try:
            stored.delete(list(gone))
            manifest.forget(gone)
            manifest.begin(stale)
            batches = list(_batches(stale))
            encode = partial(encoded_by_ray, ray) if ray and batches else _encoded
            with _progress(show_progress) as progress, closing(encode(pipeline, batches)) as encoded:
                task = progress.add_task("", total=sum(unit.size for unit in stale))
                for number, done in encoded:
                    batch = batches[number]
                    tally.take(batch, done, _write(batch, done, former, stored, manifest))
                    progress.advance(task, sum(unit.size for unit in batch))
        finally:
            manifest.write()
        report = tally.told(stored.count_passages(), manifest.of_another_pipeline(), manifest.incomplete())
        try:
            # Also where nothing changed: a run before may have been killed before it came to this.
            stored.optimize(show_progress=show_progress and bool(stale))
        except (OSError, RuntimeError, UnopenedError) as error:
            # All is written by now, and what became of it must be told.
            report.not_optimized = str(error)
    return report


def _check_missing(paths: Iterable[Path], manifest: Path) -> None:
    """Refuse what is neither there nor in the index; of what is in the index, the passages are deleted."""
    missing = [path for path in paths if is_missing(path)]
    known = {file_of(key) for key in Manifest.read(manifest, "", is_empty=False).known()} if missing else set()
    for path in missing:
        if not any(file.is_relative_to(path.resolve()) for file in known):
            msg = f"There is no file or folder {shown(path)}, and the index holds nothing of one. Correct the path."
            raise ValueError(msg)


def _stale(manifest: Manifest, units: Mapping[Path, list[Unit]], gone: set[str]) -> list[Unit]:
    """The units to be written: new ones, changed ones, and those that lack passages once others are deleted."""
    every = [unit for own in units.values() for unit in own]
    begun = {unit.key for unit in every if not manifest.holds(unit)}
    # What could not be read is tried again, and most often gives the same passages.
    changed = gone | (begun - {unit.key for unit in every if manifest.failed_as_it_is(unit)})
    begun |= manifest.losing(changed)
    return [unit for unit in every if unit.key in begun]


def _write(batch: list[Unit], done: Batch, former: set[str], stored: StoredUnits, manifest: Manifest) -> set[str]:
    """Write what came of some units; the identifiers that other passages had, too."""
    reasons = {failure.key: failure.reason for failure in done.failures if not failure.is_empty}
    given = {key_of(document) for document in done.documents}
    whole = [unit for unit in batch if unit.key not in reasons]
    written = {unit.key for unit in whole} | (reasons.keys() & given)
    same_ids = _note_overwritten(done.documents, stored, manifest)
    kept = _keeping(batch, done.documents, written, stored, manifest)
    # Of several with the same identifier, the last one.
    documents = list({document.id: document for document in done.documents}.values())
    stored.replace([unit.key for unit in batch if unit.key in former & written], documents)
    for unit in batch:
        if unit.key in reasons:
            manifest.fail(unit, reasons[unit.key], written=unit.key in written)
    manifest.keep(kept)
    manifest.complete(whole)
    # What holds nothing is no part of the index: it is read, and named, at the next run too.
    manifest.forget({failure.key for failure in done.failures if failure.is_empty})
    return same_ids


def _note_overwritten(documents: Iterable[Document], stored: StoredUnits, manifest: Manifest) -> set[str]:
    """Note in the manifest whose passages are overwritten, which others have named alike; how they are named."""
    # Files are named in the identifiers of their passages, and lines of files of passages are not.
    passages = [document for document in documents if is_part(key_of(document))]
    # What waits to be written gives its passages again.
    owners = {name: key for name, key in stored.owners(passages).items() if key not in manifest.pending}
    same_ids, overwritten = set(), dict[str, set[str]]()
    for document in passages:
        key, owner = key_of(document), owners.get(document.id)
        if owner is not None:
            same_ids.add(document.id)
            if owner != key:
                overwritten.setdefault(owner, set()).add(key)
        owners[document.id] = key
    manifest.overwrite(overwritten)
    return same_ids


def _keeping(
    batch: list[Unit], documents: Iterable[Document], written: set[str], stored: StoredUnits, manifest: Manifest
) -> set[str]:
    """Units whose passages others lost to them, and that give all that they gave before, or leave it as it is."""
    given: dict[str, set[str]] = {}
    for document in documents:
        given.setdefault(key_of(document), set()).add(document.id)
    asked = manifest.releasing().intersection(unit.key for unit in batch)
    return {key for key in asked if key not in written or stored.holds_only(key, given.get(key, set()))}


def _found(paths: Iterable[Path], loaded: Pipeline) -> Found:
    found = find_files(paths, taken_by(loaded))
    if not found.files and not found.failed and not found.folders:
        why = "; ".join(sorted(set(found.skipped.values())))
        msg = f"None of these files can be indexed: {why or 'they are compressed'}."
        raise ValueError(msg)
    return found


def _store_parameters(pipeline: dict[str, Any]) -> dict[str, Any]:
    stores = list(store_parameters(pipeline))
    if len(stores) != 1 or not {"router", "splitter", "writer"} <= pipeline["components"].keys():
        msg = (
            "The indexing pipeline must have the components 'router' and 'splitter', and one component 'writer' that "
            "writes to a QdrantDocumentStore."
        )
        raise ValueError(msg)
    return stores[0]


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


def _encoded(pipeline: dict[str, Any], batches: Sequence[Sequence[Unit]]) -> Generator[tuple[int, Batch]]:
    """Read and encode batches in this process."""
    read, encode = Reading(pipeline), Encoding(pipeline)
    with closing(read), closing(encode):
        for number, batch in enumerate(batches):
            yield number, encode(read(batch))


def _progress(is_shown: bool) -> Progress:
    columns = (TextColumn("Indexing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not is_shown)
