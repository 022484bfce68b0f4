"""What of a file lies in a Qdrant, and how it gets in and out."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import convert_id
from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.indexing.units import Unit, is_part, key_in
from rrra_haystack.qdrant.clients import has_payload_indexes, is_embedded, open_client, place_of
from rrra_haystack.qdrant.optimizing import optimize
from rrra_haystack.qdrant.patience import patiently
from rrra_haystack.qdrant.requests import bounded, document_bytes, json_bytes

Result = TypeVar("Result")
_SOURCE, _PART = "meta.source", "meta.part"


class StoredUnits:
    """
    The units of which a Qdrant holds passages; a server that is away or busy is asked again.

    :param writer: The component that writes passages to a QdrantDocumentStore.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._store: QdrantDocumentStore = writer.document_store
        self._place = place_of(self._store)

    def set_up(self) -> None:
        """Open the store; what fails half-way is closed, for the store would take its collection as set up."""

        def set_up() -> None:
            try:
                self._store.count_documents()
                self._index_fields()
            except Exception:
                self._store.close()
                raise

        self._try(set_up)

    def count_passages(self) -> int:
        """The number of passages in the store."""
        return self._try(self._store.count_documents)

    def present(self, units: Iterable[Unit]) -> set[str]:
        """Names of the units that may have passages in the store, whoever wrote them."""
        # An embedded Qdrant reads all payloads to delete some: it is asked once what there is to delete.
        return self._all() if is_embedded(self._store) else {unit.key for unit in units}

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the passages of units."""
        for some in bounded(keys, json_bytes):
            self._try(partial(self._delete, some))

    def owners(self, documents: Iterable[Document]) -> dict[str, str]:
        """The units of which passages would be overwritten, by the documents' identifiers."""
        ids = {convert_id(document.id): document.id for document in documents}
        if not ids:
            return {}
        client = open_client(self._store)
        found = self._try(partial(client.retrieve, self._store.index, list(ids), with_payload=[_SOURCE, _PART]))
        return {ids[UUID(str(one.id)).hex]: _key_of(one) for one in found}

    def holds_only(self, part: str, ids: Iterable[str]) -> bool:
        """Whether the store has no other passages of some lines of a file than those of these identifiers."""
        chosen = models.Filter(
            must=[models.FieldCondition(key=_PART, match=models.MatchValue(value=part))],
            must_not=[models.HasIdCondition(has_id=[convert_id(one) for one in ids])],
        )
        client = open_client(self._store)
        return not self._try(partial(client.scroll, self._store.index, chosen, limit=1, with_payload=False))[0]

    def replace(self, keys: Sequence[str], documents: list[Document]) -> None:
        """Write passages, in the place of what some units gave before."""

        def replace() -> None:
            self._delete(keys)
            for some in bounded(documents, document_bytes):
                self._writer.run(documents=some)

        self._try(replace)

    def optimize(self, *, show_progress: bool) -> None:
        """Let Qdrant Edge index what was written; a server does so by itself, and local mode has no index."""
        if isinstance(self._store, QdrantEdgeDocumentStore):
            optimize(self._store, show_progress=show_progress)

    def _try(self, call: Callable[[], Result]) -> Result:
        return patiently(call, self._place)

    def _index_fields(self) -> None:
        """Let the engine find the passages of a file without reading all payloads."""
        if not has_payload_indexes(self._store):
            return
        client = open_client(self._store)
        present = client.get_collection(self._store.index).payload_schema
        for name in (_SOURCE, _PART):
            if name not in present:
                # A full collection takes its time, and deleting works meanwhile.
                client.create_payload_index(self._store.index, name, models.PayloadSchemaType.KEYWORD, wait=False)

    def _all(self) -> set[str]:
        count = self._store.count_documents()
        if not count:
            return set()
        records, _ = open_client(self._store).scroll(self._store.index, limit=count, with_payload=[_SOURCE, _PART])
        return {_key_of(record) for record in records}

    def _delete(self, keys: Sequence[str]) -> None:
        """Delete the passages of units; the store's own method would count them first."""
        parts = [key for key in keys if is_part(key)]
        files = [key for key in keys if not is_part(key)]
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
            open_client(self._store).delete(self._store.index, chosen, wait=self._store.wait_result_from_api)


def _key_of(record: models.Record) -> str:
    return key_in((record.payload or {}).get("meta") or {})
