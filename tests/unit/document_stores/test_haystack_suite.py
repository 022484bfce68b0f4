"""Haystack's own tests of document stores, entire."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as suite_async

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore


class StoreMixin:
    @pytest.fixture
    def document_store(self, tmp_path: Path) -> Iterator[QdrantEdgeDocumentStore]:
        store = QdrantEdgeDocumentStore(str(tmp_path / "edge"), progress_bar=False)
        yield store
        store.close()

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """Qdrant gives documents in the order of their points, and the embeddings of a cosine with length 1."""

        def told(documents: list[Document]) -> list[dict]:
            data = [{**one.to_dict(flatten=False), "embedding": one.embedding is not None} for one in documents]
            return sorted(data, key=lambda one: one["id"])

        assert told(received) == told(expected)


class TestSuite(
    StoreMixin,
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    def test_write_documents(self, document_store: QdrantEdgeDocumentStore) -> None:
        documents = [Document(content="one"), Document(content="two")]
        assert document_store.write_documents(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(documents[:1])
        self.assert_documents_are_equal(document_store.filter_documents(), documents)


class TestAsyncSuite(
    StoreMixin,
    suite_async.CountDocumentsAsyncTest,
    suite_async.WriteDocumentsAsyncTest,
    suite_async.DeleteDocumentsAsyncTest,
    suite_async.DeleteAllAsyncTest,
    suite_async.DeleteByFilterAsyncTest,
    suite_async.UpdateByFilterAsyncTest,
    suite_async.FilterDocumentsAsyncTest,
    suite_async.CountDocumentsByFilterAsyncTest,
    suite_async.CountUniqueMetadataByFilterAsyncTest,
    suite_async.GetMetadataFieldsInfoAsyncTest,
    suite_async.GetMetadataFieldMinMaxAsyncTest,
    suite_async.GetMetadataFieldUniqueValuesAsyncTest,
):
    async def test_write_documents_async(self, document_store: QdrantEdgeDocumentStore) -> None:
        documents = [Document(content="one"), Document(content="two")]
        assert await document_store.write_documents_async(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async(documents[:1])
        self.assert_documents_are_equal(await document_store.filter_documents_async(), documents)
