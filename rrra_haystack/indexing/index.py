"""Bring a Qdrant index up to date with files, so that a kill at any moment costs a few seconds of work."""

import hashlib
import json
import math
import re
import time
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rrra_haystack.files import atomic_write
from rrra_haystack.indexing.ray_workers import encoded_by_ray
from rrra_haystack.indexing.steps import PASSAGES_SUFFIX, Encoding, Reading, Unit, units_of
from rrra_haystack.model.codes.codec import VERSION
from rrra_haystack.pipeline_files import opened, store_parameters
from rrra_haystack.pretrained import bundled
from rrra_haystack.qdrant.patience import is_embedded, open_client, patiently, place_of

_SUFFIXES = frozenset({".txt", ".md", ".pdf", ".html", ".htm"})
KINDS = (*sorted(_SUFFIXES), PASSAGES_SUFFIX)
_BATCH_BYTES = 256 * 1024
_MANIFEST = "rrra-index.json"
_MANIFEST_SECONDS = 5.0
_SOURCE, _PART = "meta.source", "meta.part"
_MODEL_SUFFIXES = frozenset({".safetensors", ".bin", ".json"})
_PART_NAME = re.compile(rf"({re.escape(PASSAGES_SUFFIX)})#\d+$", flags=re.IGNORECASE)


@dataclass
class IndexReport:
    """
    How many files were added, changed, removed, left; passages in the index; files skipped and why.

    Files `of_another_pipeline` are in the index as that pipeline made them, for they were not named.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    of_another_pipeline: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


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
    manifest_path = _manifest_path(stores[0])
    files, report = _collect(paths)
    if not files and not any(path.is_dir() for path in paths):
        msg = f"None of these files can be indexed; the kinds are {', '.join(KINDS)}."
        raise ValueError(msg)
    units = _units(files, report)
    named = {unit.key for own in units.values() for unit in own}
    folders = [path.resolve() for path in paths if path.is_dir()]
    with opened(pipeline) as loaded:
        writer: Any = loaded.get_component("writer")
        store: QdrantDocumentStore = writer.document_store
        place = place_of(store)
        patiently(partial(_set_up, store), place)
        is_empty = not patiently(store.count_documents, place)
        manifest = _Manifest.read(manifest_path, _recipe(pipeline, loaded), is_empty=is_empty)
        gone = [key for key in manifest.known() - named if _is_gone(_file_of(key), units, folders)]
        stale = [unit for own in units.values() for unit in own if not manifest.holds(unit)]
        # An embedded Qdrant reads all payloads to delete some: it is asked once what there is to delete.
        held = _held(store) if is_embedded(store) else {unit.key for unit in stale}
        _count(report, units, stale, gone, manifest)
        try:
            patiently(lambda: _forget(store, gone), place)
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
                    patiently(partial(_write, writer, store, former, documents), place)
                    report.skipped += [(key, "no text was found in it") for key in _without_text(batch, documents)]
                    manifest.complete(batch)
                    progress.advance(task, sum(unit.size for unit in batch))
        finally:
            manifest.write()
        report.passages = patiently(store.count_documents, place)
    return report


def _units(files: Iterable[Path], report: IndexReport) -> dict[Path, list[Unit]]:
    """The units of the files that can be read; the report tells of the others."""
    units: dict[Path, list[Unit]] = {}
    for file in files:
        try:
            units[file] = list(units_of(file))
        except OSError as error:
            report.skipped.append((str(file), f"it cannot be read ({error.strerror})"))
        else:
            if not units[file]:
                report.skipped.append((str(file), "it is empty"))
    return units


def _encoded(pipeline: dict[str, Any], batches: Sequence[Sequence[Unit]]) -> Generator[tuple[int, list[Document]]]:
    """Read and encode batches in this process."""
    read, encode = Reading(pipeline), Encoding(pipeline)
    with closing(encode):
        for number, batch in enumerate(batches):
            yield number, encode(read(batch))


def _count(
    report: IndexReport, units: dict[Path, list[Unit]], stale: list[Unit], gone: list[str], manifest: "_Manifest"
) -> None:
    lost = {_file_of(key) for key in gone}
    # A file of passages may have become shorter, and nothing else.
    touched = {unit.path for unit in stale} | (lost & units.keys())
    known = {_file_of(key) for key in manifest.held}
    report.changed = len(touched & known)
    report.added = len(touched - known)
    report.unchanged = len({file for file, own in units.items() if own} - touched)
    report.removed = len(lost - units.keys())
    report.of_another_pipeline = len({_file_of(key) for key in manifest.of_another_pipeline()} - units.keys() - lost)


def _set_up(store: QdrantDocumentStore) -> None:
    """Open the store; what fails half-way is closed, for the store would take its collection as set up."""
    try:
        store.count_documents()
        _index_fields(store)
    except Exception:
        store.close()
        raise


def _index_fields(store: QdrantDocumentStore) -> None:
    """Let a server find the passages of a file without reading all payloads."""
    if is_embedded(store):
        # An embedded Qdrant has no such indexes, and would warn.
        return
    client = open_client(store)
    present = client.get_collection(store.index).payload_schema
    for name in (_SOURCE, _PART):
        if name not in present:
            # A full collection takes its time, and deleting works meanwhile.
            client.create_payload_index(store.index, name, models.PayloadSchemaType.KEYWORD, wait=False)


def _collect(paths: Iterable[Path]) -> tuple[list[Path], IndexReport]:
    report = IndexReport()
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
            visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
            files |= dict.fromkeys(p.resolve() for p in visible)
        elif path.suffix.lower() in KINDS:
            files[path.resolve()] = None
        else:
            report.skipped.append((str(path), f"not one of {', '.join(KINDS)}"))
    return list(files), report


def _file_of(key: str) -> Path:
    """The file of a unit."""
    return Path(_PART_NAME.sub(r"\1", key))


def _is_gone(file: Path, files: Container[Path], folders: Iterable[Path]) -> bool:
    """Whether an indexed file was deleted from a folder that is being indexed, or a file of passages became shorter."""
    if file in files:
        return True
    if not any(file.is_relative_to(folder) for folder in folders):
        return False
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # It is there, in a folder that cannot be read.
    return False


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
    writer: DocumentWriter, store: QdrantDocumentStore, former: Sequence[str], documents: list[Document]
) -> None:
    """Write documents, in the place of what some units gave before."""
    _forget(store, former)
    if documents:
        writer.run(documents=documents)


def _without_text(batch: Sequence[Unit], documents: Iterable[Document]) -> list[str]:
    # A passage of a .jsonl file has a source of its own, of any type.
    written = {document.meta.get("part") or document.meta.get("source") for document in documents}
    return [unit.key for unit in batch if unit.key not in written]


def _held(store: QdrantDocumentStore) -> set[str]:
    """The units of which an embedded Qdrant holds passages, whoever wrote them."""
    count = store.count_documents()
    if not count:
        return set()
    records, _ = open_client(store).scroll(store.index, limit=count, with_payload=[_SOURCE, _PART])
    metas = [(record.payload or {}).get("meta") or {} for record in records]
    return {str(meta.get("part") or meta.get("source")) for meta in metas}


def _forget(store: QdrantDocumentStore, keys: Sequence[str]) -> None:
    """Delete the passages of units; the store's own method would count them first."""
    parts = [key for key in keys if _PART_NAME.search(key)]
    files = [key for key in keys if not _PART_NAME.search(key)]
    conditions: list[models.Condition] = []
    if parts:
        conditions.append(models.FieldCondition(key=_PART, match=models.MatchAny(any=parts)))
    if files:
        of_files = models.FieldCondition(key=_SOURCE, match=models.MatchAny(any=files))
        # A passage of a .jsonl file may name as its source a file that is indexed, too.
        no_part = models.IsEmptyCondition(is_empty=models.PayloadField(key=_PART))
        conditions.append(models.Filter(must=[of_files, no_part]))
    if conditions:
        chosen = models.FilterSelector(filter=models.Filter(should=conditions))
        open_client(store).delete(store.index, chosen, wait=store.wait_result_from_api)


def _manifest_path(parameters: dict[str, Any]) -> Path:
    name = parameters.get("index", "Document")
    if parameters.get("path"):
        return Path(parameters["path"]) / f"{name}-{_MANIFEST}"
    address = json.dumps([parameters.get(key) for key in ("url", "host", "port", "location")])
    return Path(".rrra") / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}-{_MANIFEST}"


def _recipe(pipeline: dict[str, Any], loaded: Pipeline) -> str:
    """A digest of what passages depend on: the pipeline without its store, which may be named in many ways."""
    components = {
        name: {
            **component,
            "init_parameters": {
                key: value for key, value in component.get("init_parameters", {}).items() if key != "document_store"
            },
        }
        for name, component in pipeline["components"].items()
    }
    # As loaded, for a pipeline may leave the model to the default.
    told = {name: component["init_parameters"] for name, component in loaded.to_dict()["components"].items()}
    weights = {name: _weights(str(parameters["model"])) for name, parameters in told.items() if "model" in parameters}
    made_by = {"weights": weights, "codes": VERSION}
    recipe = json.dumps({**pipeline, "components": components, **made_by}, sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def _weights(model: str) -> dict[str, str]:
    """Digests of a bundled model or a directory, where a model may give way to another; a hub's is its name."""
    folder = bundled(model) or Path(model)
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _MODEL_SUFFIXES:
            with path.open("rb") as file:
                digests[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


@dataclass
class _Manifest:
    """
    What the index holds.

    :param path: Where the manifest lies.
    :param recipe: Digest of the pipeline that is at work.
    :param held: Units that are wholly written, with the digests of the pipeline and of their bytes.
    :param pending: Units that were begun; the index may hold any part of them, old or new.
    """

    path: Path
    recipe: str
    held: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    _written: float = -math.inf

    @classmethod
    def read(cls, path: Path, recipe: str, *, is_empty: bool) -> "_Manifest":
        """The manifest of an index; a new one if there is none, or if the index was emptied."""
        if is_empty or not path.exists():
            return cls(path, recipe)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, recipe, dict(data["files"]), set(data.get("pending", ())))
        except (KeyError, TypeError, ValueError):
            return cls(path, recipe)

    def _state(self, unit: Unit) -> str:
        return f"{self.recipe}:{unit.digest}"

    def known(self) -> set[str]:
        """Units of which the index may hold passages."""
        return self.held.keys() | self.pending

    def holds(self, unit: Unit) -> bool:
        """Whether a unit is wholly written, as it is now and by this pipeline."""
        return unit.key not in self.pending and self.held.get(unit.key) == self._state(unit)

    def of_another_pipeline(self) -> list[str]:
        """Units that another pipeline wrote."""
        return [key for key, state in self.held.items() if not state.startswith(f"{self.recipe}:")]

    def begin(self, units: Iterable[Unit]) -> None:
        """Note what is about to be written, so that what a kill leaves of it is found."""
        self.pending |= {unit.key for unit in units}
        self.write()

    def complete(self, units: Iterable[Unit]) -> None:
        """Note what is wholly written; on disk only now and then, since what is noted late is written again."""
        self.held |= {unit.key: self._state(unit) for unit in units}
        self.pending -= {unit.key for unit in units}
        if time.monotonic() - self._written >= _MANIFEST_SECONDS:
            self.write()
            self._written = time.monotonic()

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what was deleted."""
        for key in keys:
            self.held.pop(key, None)
            self.pending.discard(key)

    def write(self) -> None:
        """Write the manifest to its place."""
        told = {"files": self.held, "pending": sorted(self.pending)}
        atomic_write(self.path, json.dumps(told, indent=1) + "\n")
