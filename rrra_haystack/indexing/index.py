"""Bring a Qdrant index up to date with files, so that a kill at any moment costs a few seconds of work."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Pipeline
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rrra_haystack.documents.metadata import GUESSED_KEY, UNREAD_KEY
from rrra_haystack.fitting import fit_to_servers
from rrra_haystack.indexing.finding import Found, find_files, taken_by
from rrra_haystack.indexing.manifest import Manifest, manifest_path, pipeline_digest
from rrra_haystack.indexing.ray_workers import encoded_by_ray
from rrra_haystack.indexing.steps import Batch, Encoding, Reading, key_of
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.indexing.units import Unit, file_of, is_gone, units_of
from rrra_haystack.pipeline_files import opened, store_parameters

_BATCH_BYTES = 256 * 1024


@dataclass
class IndexReport:
    """
    What became of the files.

    :param added: Files that are new in the index.
    :param changed: Files that took the place of what the index had of them.
    :param removed: Files that are gone, and with them their passages.
    :param unchanged: Files that were in the index as they are.
    :param passages: Passages in the index.
    :param of_another_pipeline: Files that are in the index as that pipeline made them, for they were not named.
    :param skipped: Files that were named and are not read, or hold nothing, and why.
    :param passed_over: Files that the pipeline's router does not take, by kind, the most frequent one first.
    :param failed: What could not be read, wholly or in some lines, and why; it counts as nothing else, and is tried
        again.
    :param unread: Passages that are longer than the encoder reads.
    :param guessed: Of files whose encoding was guessed from a few letters, which one, by the file's name.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    of_another_pipeline: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0
    guessed: dict[str, str] = field(default_factory=dict)


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
    path = manifest_path(_store_parameters(pipeline))
    fit_to_servers(pipeline)
    with opened(pipeline) as loaded:
        found = _found(paths, loaded)
        units = units_of(found)
        stored = StoredUnits(loaded.get_component("writer"))
        stored.set_up()
        digest = pipeline_digest(pipeline, loaded)
        manifest = Manifest.read(path, digest, is_empty=not stored.count_passages())
        named = {unit.key for own in units.values() for unit in own}
        gone = [key for key in manifest.known() - named if is_gone(file_of(key), units, found.folders)]
        stale = [unit for own in units.values() for unit in own if not manifest.holds(unit)]
        known = {file_of(key) for key in manifest.held}
        report = IndexReport(failed=list(found.failed.items()), skipped=list(found.skipped.items()))
        not_read: set[Path] = set()
        former = stored.present(stale)
        try:
            stored.delete(gone)
            manifest.forget(gone)
            manifest.begin(stale)
            batches = list(_batches(stale))
            encode = partial(encoded_by_ray, ray) if ray and batches else _encoded
            with _progress(show_progress) as progress, closing(encode(pipeline, batches)) as encoded:
                task = progress.add_task("", total=sum(unit.size for unit in stale))
                for number, done in encoded:
                    batch = batches[number]
                    reasons = {failure.key: failure.reason for failure in done.failures if not failure.is_empty}
                    given = {key_of(document) for document in done.documents}
                    whole = [unit for unit in batch if unit.key not in reasons]
                    written = {unit.key for unit in whole} | (reasons.keys() & given)
                    stored.replace([unit.key for unit in batch if unit.key in former & written], done.documents)
                    for key, reason in reasons.items():
                        manifest.fail(key, reason, written=key in written)
                    manifest.complete(whole)
                    # What holds nothing is no part of the index: it is read, and named, at the next run too.
                    manifest.forget({failure.key for failure in done.failures if failure.is_empty})
                    for one in done.failures:
                        (report.skipped if one.is_empty else report.failed).append((one.name, one.reason))
                        # Of a file that was in the index and holds nothing now, that is a change.
                        if not (one.is_empty and file_of(one.key) in known):
                            not_read.add(file_of(one.key))
                    report.guessed |= {
                        key_of(one): one.meta[GUESSED_KEY] for one in done.documents if GUESSED_KEY in one.meta
                    }
                    report.unread += sum(UNREAD_KEY in document.meta for document in done.documents)
                    progress.advance(task, sum(unit.size for unit in batch))
        finally:
            manifest.write()
        # Also where nothing changed: a run before may have been killed before it came to this.
        stored.optimize(show_progress=show_progress and bool(stale))
        others = {file_of(key) for key in manifest.of_another_pipeline()}
        _count(report, units, {unit.path for unit in stale}, {file_of(key) for key in gone}, known, not_read)
        report.of_another_pipeline = len(others - units.keys())
        report.passages = stored.count_passages()
    report.passed_over = _by_kind(found.passed_over)
    return report


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


def _by_kind(kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of files by their kind, the most frequent kind first."""
    names: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        names.setdefault(kind, []).append(name)
    return dict(sorted(names.items(), key=lambda own: -len(own[1])))


def _count(
    report: IndexReport,
    units: dict[Path, list[Unit]],
    stale: set[Path],
    lost: set[Path],
    known: set[Path],
    not_read: set[Path],
) -> None:
    """Count each file once, as what happened to it."""
    # A file of passages may have become shorter, and nothing else.
    touched = (stale | (lost & units.keys())) - not_read
    report.changed = len(touched & known)
    report.added = len(touched - known)
    report.unchanged = len({file for file, own in units.items() if own} - touched - not_read)
    report.removed = len(lost - units.keys())


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
