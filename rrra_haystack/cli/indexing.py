"""Bring a Qdrant index up to date with files, so that a kill at any moment costs at most one batch."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Pipeline
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rrra_haystack.cli.pipelines import opened, store_parameters
from rrra_haystack.files import atomic_write
from rrra_haystack.remote import patiently, place_of

_SUFFIXES = frozenset({".txt", ".md", ".pdf", ".html", ".htm"})
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


def index(paths: Iterable[Path], pipeline: dict[str, Any], *, show_progress: bool = False) -> IndexReport:
    """
    Index files.

    A manifest beside the index holds the digest of each file that is wholly written. It is updated after each batch;
    what a killed run left half-written is not in it, and is deleted and written again.

    :param paths: Files and folders.
    :param pipeline: An indexing pipeline with a component ``writer`` over a QdrantDocumentStore.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the pipeline does not write to a QdrantDocumentStore, or no file can be indexed.
    """
    paths = list(paths)
    stores = list(store_parameters(pipeline))
    if len(stores) != 1 or "writer" not in pipeline["components"]:
        msg = "The indexing pipeline must have one component 'writer' that writes to a QdrantDocumentStore."
        raise ValueError(msg)
    manifest_path = _manifest_path(stores[0])
    files, report = _collect(paths)
    if not files and not any(path.is_dir() for path in paths):
        msg = f"None of these files can be indexed; the kinds are {', '.join(sorted(_SUFFIXES))}."
        raise ValueError(msg)
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    recipe = hashlib.sha256(json.dumps(pipeline, sort_keys=True).encode()).hexdigest()
    with opened(pipeline) as loaded:
        store: QdrantDocumentStore = loaded.get_component("writer").document_store  # type: ignore[attr-defined]
        patiently(partial(_set_up, store), place_of(store))
        manifest = patiently(lambda: _read_manifest(manifest_path, recipe, store), place_of(store))
        gone = [known for known in manifest if _is_gone(Path(known), paths)]
        stale = [path for path in files if manifest.get(str(path)) != digests[path]]
        report.removed = len(gone)
        report.changed = sum(str(path) in manifest for path in stale)
        report.added = len(stale) - report.changed
        report.unchanged = len(files) - len(stale)
        patiently(lambda: _forget(store, gone), place_of(store))
        for known in gone:
            del manifest[known]
        columns = (
            TextColumn("Indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, disable=not show_progress) as progress:
            task = progress.add_task("", total=len(stale))
            for batch in _batches(stale):
                report.skipped += patiently(partial(_write, loaded, store, batch), place_of(store))
                manifest |= {str(path): digests[path] for path in batch}
                _write_manifest(manifest_path, recipe, manifest)
                progress.advance(task, len(batch))
        _write_manifest(manifest_path, recipe, manifest)
        report.passages = patiently(store.count_documents, place_of(store))
    return report


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
        elif path.suffix.lower() in _SUFFIXES:
            files[path.resolve()] = None
        else:
            report.skipped.append((str(path), f"not one of {', '.join(sorted(_SUFFIXES))}"))
    return list(files), report


def _is_gone(known: Path, paths: Iterable[Path]) -> bool:
    """Whether an indexed file is missing from a folder that is being indexed."""
    return not known.exists() and any(path.is_dir() and known.is_relative_to(path.resolve()) for path in paths)


def _batches(files: list[Path]) -> Iterable[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in files:
        batch.append(path)
        size += path.stat().st_size
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(pipeline: Pipeline, store: QdrantDocumentStore, batch: list[Path]) -> list[tuple[str, str]]:
    """Replace the passages of some files; returns those that gave none."""
    _forget(store, [str(path) for path in batch])
    meta = [{"source": str(path)} for path in batch]
    output = pipeline.run(
        {"router": {"sources": list(map(str, batch)), "meta": meta}},
        include_outputs_from={"splitter"} & set(pipeline.graph.nodes),
    )
    if "splitter" not in pipeline.graph.nodes:
        return []
    written = {document.meta.get("source") for document in output.get("splitter", {}).get("documents", [])}
    return [(str(path), "no text was found in it") for path in batch if str(path) not in written]


def _forget(store: QdrantDocumentStore, sources: list[str]) -> None:
    if sources and store.count_documents():
        store.delete_by_filter({"field": "meta.source", "operator": "in", "value": sources})


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
