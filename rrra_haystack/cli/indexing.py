"""Bring a Qdrant index up to date with files, so that a kill at any moment costs at most one batch."""

import hashlib
import json
import re
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Document
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rrra_haystack.cli.pipelines import opened, store_parameters
from rrra_haystack.cli.ray_indexing import encoded_by_ray
from rrra_haystack.cli.stages import PASSAGES_SUFFIX, Encoding, Reading, Unit, units_of
from rrra_haystack.files import atomic_write
from rrra_haystack.remote import patiently, place_of

_SUFFIXES = frozenset({".txt", ".md", ".pdf", ".html", ".htm"})
_KINDS = (*sorted(_SUFFIXES), PASSAGES_SUFFIX)
_BATCH_BYTES = 256 * 1024
_MANIFEST = "rrra-index.json"


@dataclass
class IndexReport:
    """How many files were added, changed, removed, left; passages in the index; files skipped and why."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def index(
    paths: Iterable[Path], pipeline: dict[str, Any], *, ray: str | None = None, show_progress: bool = False
) -> IndexReport:
    """
    Index files.

    A manifest beside the index holds the digest of each file, and of each part of a file of passages, that is wholly
    written. It is updated after each batch; what a killed run left half-written is not in it, and is deleted and
    written again.

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
    manifest_path = _manifest_path(stores[0])
    files, report = _collect(paths)
    if not files and not any(path.is_dir() for path in paths):
        msg = f"None of these files can be indexed; the kinds are {', '.join(_KINDS)}."
        raise ValueError(msg)
    units = {file: list(units_of(file)) for file in files}
    digests = {unit.key: unit.digest for own in units.values() for unit in own}
    recipe = hashlib.sha256(json.dumps(pipeline, sort_keys=True).encode()).hexdigest()
    with opened(pipeline) as loaded:
        writer: Any = loaded.get_component("writer")
        store: QdrantDocumentStore = writer.document_store
        patiently(partial(_set_up, store), place_of(store))
        manifest = patiently(lambda: _read_manifest(manifest_path, recipe, store), place_of(store))
        gone = [known for known in manifest if known not in digests and _is_gone(known, units, paths)]
        stale = [unit for own in units.values() for unit in own if manifest.get(unit.key) != unit.digest]
        _count(report, units, stale, manifest)
        report.removed = len({_file_of(known) for known in gone} - set(units))
        patiently(lambda: _forget(store, gone), place_of(store))
        for known in gone:
            del manifest[known]
        columns = (TextColumn("Indexing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        batches = list(_batches(stale))
        encode = partial(encoded_by_ray, ray) if ray and batches else _encoded
        with (
            Progress(*columns, disable=not show_progress) as progress,
            closing(encode(pipeline, batches)) as encoded,
        ):
            task = progress.add_task("", total=sum(unit.size for unit in stale))
            for number, documents in encoded:
                batch = batches[number]
                report.skipped += patiently(partial(_write, writer, store, batch, documents), place_of(store))
                manifest |= {unit.key: unit.digest for unit in batch}
                _write_manifest(manifest_path, recipe, manifest)
                progress.advance(task, sum(unit.size for unit in batch))
        _write_manifest(manifest_path, recipe, manifest)
        report.passages = patiently(store.count_documents, place_of(store))
    return report


def _encoded(pipeline: dict[str, Any], batches: Sequence[Sequence[Unit]]) -> Generator[tuple[int, list[Document]]]:
    """Read and encode batches in this process."""
    read, encode = Reading(pipeline), Encoding(pipeline)
    with closing(encode):
        for number, batch in enumerate(batches):
            yield number, encode(read(batch))


def _count(report: IndexReport, units: dict[Path, list[Unit]], stale: list[Unit], manifest: dict[str, str]) -> None:
    touched = {unit.path for unit in stale}
    known = {_file_of(key) for key in manifest}
    report.changed = len(touched & known)
    report.added = len(touched - known)
    report.unchanged = len(units) - len(touched)


def _set_up(store: QdrantDocumentStore) -> None:
    """Open the store; what fails half-way is closed, for the store would take its collection as set up."""
    try:
        store.count_documents()
    except Exception:
        store.close()
        raise


def _collect(paths: Iterable[Path]) -> tuple[list[Path], IndexReport]:
    report = IndexReport()
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
            visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
            files |= dict.fromkeys(p.resolve() for p in visible)
        elif path.suffix.lower() in _KINDS:
            files[path.resolve()] = None
        else:
            report.skipped.append((str(path), f"not one of {', '.join(_KINDS)}"))
    return list(files), report


def _file_of(key: str) -> Path:
    """The file of a unit."""
    return Path(re.sub(rf"({re.escape(PASSAGES_SUFFIX)})#\d+$", r"\1", key, flags=re.IGNORECASE))


def _is_gone(known: str, files: Container[Path], paths: Iterable[Path]) -> bool:
    """Whether an indexed file is missing from a folder that is being indexed, or a file of passages became shorter."""
    file = _file_of(known)
    missing = not file.exists() and any(path.is_dir() and file.is_relative_to(path.resolve()) for path in paths)
    return missing or file in files


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


def _write(
    writer: DocumentWriter, store: QdrantDocumentStore, batch: list[Unit], documents: list[Document]
) -> list[tuple[str, str]]:
    """Replace the passages of some files; returns those that gave none."""
    _forget(store, [unit.key for unit in batch])
    if documents:
        writer.run(documents=documents)
    written = {document.meta.get("source") for document in documents}
    return [(unit.key, "no text was found in it") for unit in batch if str(unit.path) not in written]


def _forget(store: QdrantDocumentStore, keys: list[str]) -> None:
    if keys and store.count_documents():
        fields = ("meta.source", "meta.part")
        conditions = [{"field": field, "operator": "in", "value": keys} for field in fields]
        store.delete_by_filter({"operator": "OR", "conditions": conditions})


def _manifest_path(parameters: dict[str, Any]) -> Path:
    name = parameters.get("index", "Document")
    if parameters.get("path"):
        return Path(parameters["path"]) / f"{name}-{_MANIFEST}"
    address = json.dumps([parameters.get(key) for key in ("url", "host", "port", "location")])
    return Path(".rrra") / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}-{_MANIFEST}"


def _read_manifest(path: Path, recipe: str, store: QdrantDocumentStore) -> dict[str, str]:
    """Digests of the files that the index holds; none if the index was emptied or another pipeline filled it."""
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = dict(data["files"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        return {}
    if data.get("pipeline") != recipe or not store.count_documents():
        _forget(store, list(files))
        return {}
    return files


def _write_manifest(path: Path, recipe: str, files: dict[str, str]) -> None:
    atomic_write(path, json.dumps({"pipeline": recipe, "files": files}, indent=1) + "\n")
