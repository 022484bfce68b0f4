import asyncio
import inspect
from pathlib import Path
from typing import Any

from haystack import default_to_dict

from haystack_integrations.document_stores.qdrant_edge.client import AsyncEdgeClient, EdgeClient
from haystack_integrations.document_stores.qdrant_edge.sharing import shards_in
from haystack_integrations.document_stores.qdrant_edge.upkeep import KeepsItsCollection
from haystack_integrations.document_stores.qdrant_edge.writing import WritesInTurn
from rrra_haystack.plain_values import plain


class QdrantEdgeDocumentStore(WritesInTurn, KeepsItsCollection):
    """
    A document store over Qdrant's own engine in this process, in a folder: no server, no local mode of its client.

    It is a QdrantDocumentStore with another client: same points, same filters, same scores, and the retrievers of
    `qdrant-haystack` work with it.

    ### Usage example

    ```python
    from haystack import Document
    from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore

    store = QdrantEdgeDocumentStore("edge", embedding_dim=3)
    store.write_documents([Document(content="The Danube", embedding=[0.1, 0.2, 0.3], meta={"kind": "river"})])
    print(store.filter_documents({"field": "meta.kind", "operator": "==", "value": "river"})[0].content)
    store.close()
    ```
    """

    def __init__(
        self,
        path: str | Path,
        index: str = "Document",
        embedding_dim: int = 768,
        on_disk: bool = False,
        use_sparse_embeddings: bool = False,
        sparse_idf: bool = False,
        similarity: str = "cosine",
        return_embedding: bool = False,
        progress_bar: bool = True,
        recreate_index: bool = False,
        on_disk_payload: bool | None = None,
        hnsw_config: dict[str, Any] | None = None,
        optimizers_config: dict[str, Any] | None = None,
        quantization_config: dict[str, Any] | None = None,
        write_batch_size: int = 100,
        scroll_size: int = 10_000,
        payload_fields_to_index: list[dict[str, Any]] | None = None,
    ) -> None:
        """
        Creates a QdrantEdgeDocumentStore. The folder is made with the first use.

        :param path:
            Folder of the embedded Qdrant. One process at a time has a collection of it open, for all its stores.
        :param index:
            Name of the collection, a folder within the folder.
        :param embedding_dim:
            Dimension of the embeddings.
        :param on_disk:
            Whether to read vectors from disk rather than keep them in memory.
        :param use_sparse_embeddings:
            Whether documents have sparse embeddings too.
        :param sparse_idf:
            Whether a sparse search weighs by the inverse document frequency.
        :param similarity:
            Similarity of embeddings: `cosine`, `dot_product` or `l2`.
        :param return_embedding:
            Whether to return embeddings in the results of a search.
        :param progress_bar:
            Whether to show a progress bar while writing.
        :param recreate_index:
            Whether to empty the collection at the first use of this store; it is not emptied again after `close`.
        :param on_disk_payload:
            Whether to leave payload on disk, as is the default.
        :param hnsw_config:
            Settings of the index that `optimize` builds, as `{"m": 16, "ef_construct": 100}`.
        :param optimizers_config:
            When `optimize` builds what, as `{"indexing_threshold": 10_000}` in kilobytes of vectors.
        :param quantization_config:
            Quantization of the vectors, as `{"scalar": {"type": "int8"}}`.
        :param write_batch_size:
            Documents that are written at once.
        :param scroll_size:
            Documents that are read at once.
        :param payload_fields_to_index:
            Fields that filters are fast for, as
            `[{"field_name": "meta.kind", "field_schema": "keyword"}]`.
        """
        super().__init__(
            path=str(path),
            index=index,
            embedding_dim=embedding_dim,
            on_disk=on_disk,
            use_sparse_embeddings=use_sparse_embeddings,
            sparse_idf=sparse_idf,
            similarity=similarity,
            return_embedding=return_embedding,
            progress_bar=progress_bar,
            recreate_index=recreate_index,
            on_disk_payload=on_disk_payload,
            hnsw_config=hnsw_config,
            optimizers_config=optimizers_config,
            quantization_config=quantization_config,
            write_batch_size=write_batch_size,
            scroll_size=scroll_size,
            payload_fields_to_index=payload_fields_to_index,
        )
        # Writing looks first for what is there; opening makes the collection once, whichever store does it.
        self._shards = shards_in(str(path))
        self._is_being_set_up = self._was_recreated = False

    def to_dict(self) -> dict[str, Any]:
        """
        Serializes the store to a dictionary.

        :returns:
            Dictionary with serialized data.
        """
        names = inspect.signature(type(self)).parameters
        return default_to_dict(self, **{name: plain(getattr(self, name)) for name in names})

    def new_client(self) -> EdgeClient:
        """
        A client of the folder, which makes nothing. The store works with one of its own.
        """
        return EdgeClient(str(self.path))

    def optimize(self) -> None:
        """
        Builds the index of what was written, and tidies up what was deleted; nothing else does.

        A search is exact and compares everything until then. It is done in a process of its own, within seconds
        for 20,000 documents and a quarter of an hour for a million; meanwhile all that use the folder wait.

        :raises RuntimeError:
            If that process fails. The collection is as it was.
        """
        self._initialize_client()
        self._edge().optimize(self.index)

    def _initialize_client(self) -> None:
        if self._client is not None and not self._is_being_set_up:
            # A search does not wait for a write of many batches.
            return
        with self._shards.writing:
            if self._client is not None:
                return
            self._is_being_set_up = True
            self._client = self.new_client()  # type: ignore[assignment]
            try:
                self._set_up_collection(
                    self.index, self.embedding_dim, self.recreate_index and not self._was_recreated, self.similarity,
                    self.use_sparse_embeddings, self.sparse_idf, self.on_disk, self.payload_fields_to_index,
                )  # fmt: skip
                self._make_missing_indexes()
            except BaseException:
                # Otherwise the next call would take the collection as set up.
                self.close()
                raise
            finally:
                self._is_being_set_up = False
            self._was_recreated = True

    async def _initialize_async_client(self) -> None:
        if self._client is None or self._async_client is None:
            await asyncio.to_thread(self._initialize_client)
            self._async_client = AsyncEdgeClient(self._edge())  # type: ignore[assignment]

    async def close_async(self) -> None:
        """
        Writes everything to disk, and lets others open the folder.
        """
        await asyncio.to_thread(self.close)
        self._async_client = None
