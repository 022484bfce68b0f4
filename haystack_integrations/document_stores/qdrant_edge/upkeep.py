"""What a store does for its collection as a whole."""

import asyncio
from typing import Any

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient
from haystack_integrations.document_stores.qdrant_edge.shards import Shards


class KeepsItsCollection(QdrantDocumentStore):
    """A store over an EdgeClient whose collection has the indexes it should have, and is emptied with its settings."""

    _shards: Shards

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """
        Deletes all documents.

        :param recreate_index:
            Whether to make the collection anew, which gives its place on the disk back. Its settings, vectors and
            indexes stay.
        """
        with self._shards.writing:
            if not recreate_index:
                super().delete_all_documents()
                return
            self._initialize_client()
            fields = {name: one.data_type for name, one in self._indexed().items()}
            self._edge().empty_collection(self.index, fields | self._wanted())

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """
        As `delete_all_documents`, in a thread.
        """
        await asyncio.to_thread(self.delete_all_documents, recreate_index)

    def _make_missing_indexes(self) -> None:
        # A process may have been killed before it had made them.
        wanted = self._wanted()
        for name in wanted.keys() - self._indexed().keys() if wanted else ():
            self._edge().create_payload_index(self.index, name, wanted[name])

    def _edge(self) -> EdgeClient:
        client: Any = self._client
        assert isinstance(client, EdgeClient)
        return client

    def _indexed(self) -> dict[str, Any]:
        return self._edge().get_collection(self.index).payload_schema

    def _wanted(self) -> dict[str, Any]:
        return {one["field_name"]: one["field_schema"] for one in self.payload_fields_to_index or ()}
