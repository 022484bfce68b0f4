"""Add token codes to the documents of a store that is full already, in place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from haystack import Document
from haystack.core.errors import DeserializationError
from haystack.core.serialization import import_class_by_name
from haystack.document_stores.types import DocumentStore, DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import CODES_KEY, text_to_embed
from rrra_haystack.files import read_yaml
from rrra_haystack.model.codes.codec import CodeKind
from rrra_haystack.model.rrra_model import DEFAULT_MODEL, RRRAModel
from rrra_haystack.qdrant.patience import API_KEY, checked_client, patiently, place_of

Result = TypeVar("Result")


@dataclass(frozen=True)
class Enriched:
    """
    What was done.

    :param documents: Documents of the store.
    :param written: Documents that were given codes.
    :param kept: Documents that had sound codes of this model.
    :param without_content: Documents without text, which have no codes.
    """

    documents: int
    written: int
    kept: int
    without_content: int


def enrich(
    store: DocumentStore,
    *,
    model: str | RRRAModel = DEFAULT_MODEL,
    code: CodeKind | None = None,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    batch_size: int = 256,
    without_embeddings: bool = False,
    show_progress: bool = False,
) -> Enriched:
    """
    Add token codes to all documents of a store that have none of this model, and verify them.

    Ids, contents, other metadata and embeddings stay as they are. What is written is written in batches: run it again
    after an interruption, and it goes on. In Qdrant the codes alone are written, page by page. Other stores give all
    documents at once and take them back whole, so these must fit into memory.

    :param store: Any Haystack document store.
    :param model: The ranker's model, or what :meth:`RRRAModel.load` takes.
    :param code: Kind of the codes; the model's own if `None`.
    :param meta_fields_to_embed: Metadata fields that are read with the content; the same as when it was embedded.
    :param embedding_separator: Put between these parts.
    :param batch_size: Documents that are written at a time.
    :param without_embeddings: Go on if the store gives no embeddings, because its documents have none.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the store gives documents without embeddings, which writing back would lose, or what was
        written cannot be read again.
    """
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    codec = loaded.codec(code)
    access: _Access = _Qdrant(store) if isinstance(store, QdrantDocumentStore) else _AnyStore(store, without_embeddings)

    def text_of(document: Document) -> str:
        return text_to_embed(document, meta_fields_to_embed, embedding_separator)

    def is_sound(document: Document) -> bool:
        return not text_of(document) or codec.flaw(document.meta.get(CODES_KEY, "")) is None

    written = kept = without_content = 0
    total = access.count()
    with tqdm(total=total, desc="Adding codes", unit="document", disable=not show_progress) as progress:
        for page in access.pages(batch_size):
            wanting = [one for one in page if not is_sound(one)]
            if wanting:
                _, codes = loaded.encode_documents([text_of(one) for one in wanting], code=code)
                access.write(wanting, codes)
            empty = sum(not text_of(one) for one in page)
            without_content += empty
            written += len(wanting)
            kept += len(page) - len(wanting) - empty
            progress.update(len(page))
    for page in access.pages(batch_size):
        _all_sound(page, is_sound)
    if access.count() != total:
        msg = f"The store held {total} documents and holds {access.count()} now. Was it written to meanwhile?"
        raise ValueError(msg)
    return Enriched(total, written, kept, without_content)


class _Access(Protocol):
    """How documents are read and codes are written."""

    def count(self) -> int:
        """Documents of the store."""

    def pages(self, size: int) -> Iterator[list[Document]]:
        """All documents, so many at a time; what is written to a page does not disturb the next."""

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        """Write codes."""


class _Qdrant:
    """Qdrant: pages of payloads, and the codes alone are written, so that no vector is moved."""

    def __init__(self, store: QdrantDocumentStore) -> None:
        self._index = store.index
        self._place = place_of(store)
        with checked_client(store) as self._client:
            if not self._try(lambda: self._client.collection_exists(self._index)):
                found = sorted(one.name for one in self._try(self._client.get_collections).collections)
                msg = f"There is no collection '{self._index}' in this Qdrant; there are: {', '.join(found) or 'none'}."
                raise ValueError(msg)

    def _try(self, call: Callable[[], Result]) -> Result:
        return patiently(call, self._place)

    def count(self) -> int:
        return self._try(lambda: self._client.count(self._index, exact=True).count)

    def pages(self, size: int) -> Iterator[list[Document]]:
        offset = None
        while True:
            records, offset = self._try(partial(self._client.scroll, self._index, limit=size, offset=offset))
            # A document is named by its point here, which is what is written to.
            yield [_document(record) for record in records]
            if offset is None:
                return

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        operations: list[Any] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload={CODES_KEY: code}, points=[_point(one.id)], key="meta")
            )
            for one, code in zip(documents, codes, strict=True)
        ]
        self._try(lambda: self._client.batch_update_points(self._index, operations, wait=True))


def _document(record: models.Record) -> Document:
    payload = record.payload or {}
    return Document(id=str(record.id), content=payload.get("content"), meta=dict(payload.get("meta") or {}))


def _point(identifier: str) -> models.ExtendedPointId:
    return int(identifier) if identifier.isdigit() else identifier


class _AnyStore:
    """Any other store: all documents at once, written back whole. What is read again must be as it was before."""

    def __init__(self, store: DocumentStore, without_embeddings: bool) -> None:
        self._store = store
        self._without_embeddings = without_embeddings
        self._before: dict[str, Document] = {}

    def count(self) -> int:
        return self._store.count_documents()

    def pages(self, size: int) -> Iterator[list[Document]]:
        documents = self._store.filter_documents()
        if len(documents) != (total := self.count()):
            msg = (
                f"{type(self._store).__name__} gave {len(documents)} of its {total} documents, so the others would "
                "have no codes. Index them again with RRRADocumentEmbedder."
            )
            raise ValueError(msg)
        if documents and not self._without_embeddings and all(one.embedding is None for one in documents):
            msg = (
                f"{type(self._store).__name__} gave all documents without embeddings, and writing them back would "
                "lose those. If the store has a setting to return embeddings, switch it on; if its documents have "
                "none, say so with without_embeddings=True (--without-embeddings)."
            )
            raise ValueError(msg)
        changed = [one.id for one in documents if self._before and not _is_same(one, self._before.get(one.id))]
        if changed:
            msg = f"Document {changed[0]} is not as it was before, its codes aside. Was the store written to meanwhile?"
            raise ValueError(msg)
        self._before = {one.id: one for one in documents}
        for begin in range(0, len(documents), size):
            yield documents[begin : begin + size]

    def write(self, documents: Sequence[Document], codes: Sequence[str]) -> None:
        coded = [replace(one, meta={**one.meta, CODES_KEY: code}) for one, code in zip(documents, codes, strict=True)]
        self._store.write_documents(coded, policy=DuplicatePolicy.OVERWRITE)


def _is_same(one: Document, other: Document | None) -> bool:
    """Whether documents differ in nothing but codes, and in embeddings by no more than stores round them."""
    if other is None or one.content != other.content or (one.embedding is None) != (other.embedding is None):
        return False
    meta, before = ({key: value for key, value in own.meta.items() if key != CODES_KEY} for own in (one, other))
    return meta == before and np.allclose(one.embedding or (), other.embedding or (), atol=1e-4)


def _all_sound(documents: Sequence[Document], is_sound: Callable[[Document], bool]) -> None:
    for one in documents:
        if not is_sound(one):
            msg = f"The codes of document {one.id} cannot be read again. Does the store limit the size of metadata?"
            raise ValueError(msg)


def open_store(store: str, index: str) -> DocumentStore:
    """
    A document store, as a user names it on the command line.

    :param store: Folder or URL of a Qdrant, or a YAML file: a document store with its ``type`` and
        ``init_parameters``, or a pipeline that has one.
    :param index: Collection of the Qdrant; a YAML file names its own.
    :raises FileNotFoundError: If there is no such file or folder.
    :raises ValueError: If the file does not hold one document store.
    """
    if "://" in store:
        return QdrantDocumentStore(url=store, index=index, api_key=Secret.from_env_var(API_KEY, strict=False))
    path = Path(store)
    if not path.exists():
        msg = f"There is no file or folder {store}. Name a Qdrant folder or URL, or a YAML file with a document store."
        raise FileNotFoundError(msg)
    if path.is_dir():
        if not (path / "meta.json").exists():
            msg = f"{store} is no folder of an embedded Qdrant: it has no meta.json."
            raise FileNotFoundError(msg)
        return QdrantDocumentStore(path=store, index=index, force_disable_check_same_thread=True)
    return _store_from_yaml(path)


def _store_from_yaml(path: Path) -> DocumentStore:
    held = read_yaml(path)
    found: list[dict[str, Any]] = []
    if isinstance(held, dict) and isinstance(held.get("type"), str):
        found = [held]
    elif isinstance(held, dict) and isinstance(held.get("components"), dict):
        parameters = [one.get("init_parameters") or {} for one in held["components"].values()]
        stores = [own["document_store"] for own in parameters if isinstance(own.get("document_store"), dict)]
        found = [one for number, one in enumerate(stores) if one not in stores[:number]]
    if len(found) != 1:
        msg = (
            f"{path} holds {len(found)} document stores where one is expected: the keys 'type' and 'init_parameters' "
            "of a document store, or a pipeline that has one."
        )
        raise ValueError(msg)
    (described,) = found
    complete = {"type": described["type"], "init_parameters": described.get("init_parameters") or {}}
    try:
        cls: Any = import_class_by_name(described["type"])
        return cls.from_dict(complete)
    except (ImportError, TypeError, DeserializationError) as error:
        msg = f"{path}: the document store {described['type']} cannot be made: {' '.join(str(error).split())}"
        raise ValueError(msg) from None
