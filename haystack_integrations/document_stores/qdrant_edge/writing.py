"""What a store changes, one change at a time: searches go on meanwhile."""

import asyncio
from typing import Any

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge.haystack_filters import TakesHaystackFilters
from haystack_integrations.document_stores.qdrant_edge.shards import Shards

Filters = dict[str, Any] | models.Filter


class WritesInTurn(TakesHaystackFilters):
    """A store whose threads, and those of others over its folder, take turns to write."""

    _shards: Shards

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.FAIL) -> int:
        """
        Writes documents. Each batch of `write_batch_size` is there once it is written, whatever happens then.

        :param documents:
            The documents.
        :param policy:
            What to do with those that are there already: FAIL raises an error, SKIP leaves and OVERWRITE replaces them.
        :returns:
            Number of documents that were written.

        :raises DuplicateDocumentError:
            If one is there already, and the policy is to fail.
        :raises ValueError:
            If an embedding does not fit the collection, or metadata cannot be stored.
        """
        with self._shards.writing:
            return super().write_documents(documents, policy)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.FAIL
    ) -> int:
        """
        As `write_documents`, in a thread.
        """
        return await asyncio.to_thread(self.write_documents, documents, policy)

    def update_by_filter(self, filters: Filters, meta: dict[str, Any]) -> int:
        """
        Adds to the metadata of the documents that match filters.

        :param filters:
            The filters.
        :param meta:
            What is added, in place of what has its names.
        :returns:
            Number of documents that were changed.
        """
        with self._shards.writing:
            return super().update_by_filter(filters, meta)  # type: ignore[arg-type]

    async def update_by_filter_async(self, filters: Filters, meta: dict[str, Any]) -> int:
        """
        As `update_by_filter`, in a thread.
        """
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    def delete_documents(self, document_ids: list[str]) -> None:
        """
        Deletes documents.

        :param document_ids:
            Their identifiers; they need not be there.
        """
        with self._shards.writing:
            super().delete_documents(document_ids)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """
        As `delete_documents`, in a thread.
        """
        await asyncio.to_thread(self.delete_documents, document_ids)

    def delete_by_filter(self, filters: Filters) -> int:
        """
        Deletes the documents that match filters.

        :param filters:
            The filters.
        :returns:
            Number of documents that were deleted.
        """
        with self._shards.writing:
            return super().delete_by_filter(filters)  # type: ignore[arg-type]

    async def delete_by_filter_async(self, filters: Filters) -> int:
        """
        As `delete_by_filter`, in a thread.
        """
        return await asyncio.to_thread(self.delete_by_filter, filters)
