"""What of a file lies in the store, and how it gets in and out."""

from collections.abc import Sequence

from haystack import Document
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

from rrra_haystack.indexing.units import PART_NAME
from rrra_haystack.qdrant.clients import is_embedded, open_client

_SOURCE, _PART = "meta.source", "meta.part"


def set_up_collection(store: QdrantDocumentStore) -> None:
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


def write_units(
    writer: DocumentWriter, store: QdrantDocumentStore, former: Sequence[str], documents: list[Document]
) -> None:
    """Write documents, in the place of what some units gave before."""
    forget_units(store, former)
    if documents:
        writer.run(documents=documents)


def held_units(store: QdrantDocumentStore) -> set[str]:
    """The units of which an embedded Qdrant holds passages, whoever wrote them."""
    count = store.count_documents()
    if not count:
        return set()
    records, _ = open_client(store).scroll(store.index, limit=count, with_payload=[_SOURCE, _PART])
    metas = [(record.payload or {}).get("meta") or {} for record in records]
    return {str(meta.get("part") or meta.get("source")) for meta in metas}


def forget_units(store: QdrantDocumentStore, keys: Sequence[str]) -> None:
    """Delete the passages of units; the store's own method would count them first."""
    parts = [key for key in keys if PART_NAME.search(key)]
    files = [key for key in keys if not PART_NAME.search(key)]
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
