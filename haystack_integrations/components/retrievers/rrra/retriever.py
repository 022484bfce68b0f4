import asyncio
from pathlib import Path
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import DENSE_VECTORS_NAME
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from rrra_haystack.qdrant.clients import checked_client, is_embedded, place_of
from rrra_haystack.qdrant.collections import check_multivector, multivector_dimension
from rrra_haystack.qdrant.patience import patiently, patiently_async
from rrra_haystack.qdrant.searching import (
    check_search_params,
    documents_of,
    is_rescored,
    of_both_searches,
    rescored,
    search_request,
)

_DEFAULT_GROUP_SIZE = 3


@component
class RRRARetriever:
    """
    Retrieves the candidates for an `RRRAAdapterRanker` from a `QdrantDocumentStore`.

    Takes all that `QdrantEmbeddingRetriever` takes, and Qdrant's `search_params`. It never creates, changes or empties
    a collection, and says what is wrong where Qdrant would return nothing or a raw error.

    ### Usage example

    ```python
    from haystack import Document
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
    from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRARetriever

    store = QdrantDocumentStore(":memory:", embedding_dim=384)
    documents = [Document(content="The Danube rises in the Black Forest."), Document(content="Bread needs yeast.")]
    store.write_documents(RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"])

    retriever = RRRARetriever(store, top_k=1)
    embedding = RRRAEmbedder().run("Where does the Danube begin?")["embedding"]
    print(retriever.run(query_embedding=embedding)["documents"][0].content)
    ```
    """

    def __init__(
        self,
        document_store: QdrantDocumentStore,
        filters: dict[str, Any] | models.Filter | None = None,
        top_k: int = 100,
        scale_score: bool = False,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        score_threshold: float | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        search_params: dict[str, Any] | None = None,
        prefetch_limit: int = 500,
        return_codes: bool = False,
    ) -> None:
        """
        Creates an RRRARetriever component.

        :param document_store:
            An instance of QdrantDocumentStore.
        :param filters:
            A dictionary with filters to narrow down the search space.
        :param top_k:
            The maximum number of documents to retrieve, the candidates of the ranker. If using `group_by` parameters,
            maximum number of groups to return.
        :param scale_score:
            Whether to scale the scores of the retrieved documents or not.
        :param return_embedding:
            Whether to return the embedding of the retrieved Documents. The ranker does not need it.
        :param filter_policy:
            Policy to determine how filters are applied.
        :param score_threshold:
            A minimal score threshold for the result.
        :param group_by:
            Payload field to group by, must be a string or number field.
        :param group_size:
            Maximum amount of points to return per group. Default is 3.
        :param search_params:
            Qdrant's search parameters, as `{"hnsw_ef": 128}`, `{"exact": True}` or
            `{"quantization": {"rescore": True, "oversampling": 2.0}}`.
        :param prefetch_limit:
            With a `query_multivector`: how many candidates of the dense search Qdrant puts in order by token match.
        :param return_codes:
            Whether to read the tokens of the returned Documents out of a multivector, so that an `RRRAAdapterRanker`
            finds their codes. Codes in the metadata are returned anyway.

        :raises ValueError:
            If `document_store` is not a QdrantDocumentStore, `top_k` or `prefetch_limit` is not > 0, or
            `search_params` are unknown to Qdrant.
        """
        if not isinstance(document_store, QdrantDocumentStore):
            msg = "document_store must be an instance of QdrantDocumentStore"
            raise ValueError(msg)
        _check_top_k(top_k)
        _check_top_k(prefetch_limit, "prefetch_limit")
        check_search_params(search_params)
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.scale_score = scale_score
        self.return_embedding = return_embedding
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.score_threshold = score_threshold
        self.group_by = group_by
        self.group_size = group_size
        self.search_params = search_params
        self.prefetch_limit = prefetch_limit
        self.return_codes = return_codes
        self._checked_client: QdrantClient | AsyncQdrantClient | None = None

    def to_dict(self) -> dict[str, Any]:
        """
        Serializes the component to a dictionary.

        :returns:
            Dictionary with serialized data.
        """
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
            score_threshold=self.score_threshold,
            group_by=self.group_by,
            group_size=self.group_size,
            search_params=self.search_params,
            prefetch_limit=self.prefetch_limit,
            return_codes=self.return_codes,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RRRARetriever":
        """
        Deserializes the component from a dictionary.

        :param data:
            Dictionary to deserialize from, which is left as it is.
        :returns:
            Deserialized component.
        """
        parameters = dict(data.get("init_parameters", {}))
        if isinstance(parameters.get("document_store"), dict):
            parameters["document_store"] = QdrantDocumentStore.from_dict(parameters["document_store"])
        return default_from_dict(cls, {**data, "init_parameters": parameters})

    def close(self) -> None:
        """
        Releases the synchronous resources of the document store.
        """
        self._checked_client = None
        self.document_store.close()

    async def close_async(self) -> None:
        """
        Releases the resources of the document store, which is opened synchronously if it is embedded.
        """
        self._checked_client = None
        await self.document_store.close_async()
        if is_embedded(self.document_store):
            self.document_store.close()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | models.Filter | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
        score_threshold: float | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        search_params: dict[str, Any] | None = None,
        query_sparse_embedding: SparseEmbedding | None = None,
        query_multivector: list[list[float]] | None = None,
    ) -> dict[str, list[Document]]:
        """
        Retrieves documents.

        :param query_embedding:
            Embedding of the query.
        :param filters:
            A dictionary with filters to narrow down the search space.
        :param top_k:
            The maximum number of documents to return.
        :param scale_score:
            Whether to scale the scores of the retrieved documents or not.
        :param return_embedding:
            Whether to return the embedding of the retrieved Documents.
        :param score_threshold:
            A minimal score threshold for the result.
        :param group_by:
            Payload field to group by, must be a string or number field.
        :param group_size:
            Maximum amount of points to return per group.
        :param search_params:
            Qdrant's search parameters.
        :param query_sparse_embedding:
            Sparse embedding of the query, as `RRRAEmbedder` gives it: candidates are then the best of both searches,
            joined by reciprocal rank. The ranker puts them in order. `score_threshold` and `search_params` are those
            of the dense search.
        :param query_multivector:
            Tokens of the query, as `RRRAEmbedder` gives them: Qdrant then puts the candidates in order by token match,
            over the multivector of `rrra_haystack.qdrant.multivectors`. `score` and `score_threshold` are token
            matches.
        :returns:
            A dictionary with the following keys:
            - `documents`: The retrieved documents.

        :raises ValueError:
            If the collection does not exist, is empty, has another dimension than the embedding, or lacks the
            multivector that was asked for; if a filter names a field without `meta.`; or if `filter_policy` is MERGE
            and `filters` is a native Qdrant filter.
        :raises OSError:
            If a Qdrant server is away (ConnectionError), too slow (TimeoutError) or refuses the key (PermissionError),
            after five tries.
        """
        request = self._request(
            query_embedding, filters, top_k, return_embedding, score_threshold, group_by, group_size, search_params,
            query_sparse_embedding, query_multivector,
        )  # fmt: skip
        return patiently(
            lambda: self._search(request, len(query_embedding), scale_score), place_of(self.document_store)
        )

    def _search(self, request: dict[str, Any], dimension: int, scale_score: bool | None) -> dict[str, list[Document]]:
        client = self._client(dimension)
        self._check_multivector(request)
        if "group_by" in request:
            points = [hit for group in client.query_points_groups(**request).groups for hit in group.hits]
        else:
            points = client.query_points(**request).points
        documents = documents_of(self.document_store, points, request, scale_score=self._scale(scale_score))
        if not documents and client.count(self.document_store.index, exact=False).count == 0:
            raise ValueError(self._empty_message())
        return {"documents": documents}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | models.Filter | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
        score_threshold: float | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        search_params: dict[str, Any] | None = None,
        query_sparse_embedding: SparseEmbedding | None = None,
        query_multivector: list[list[float]] | None = None,
    ) -> dict[str, list[Document]]:
        """
        Retrieves documents without blocking the event loop.

        An embedded Qdrant (`path` or `:memory:`) belongs to one client, so its search runs in a thread with the
        synchronous client, which sees what was written.

        :param query_embedding:
            Embedding of the query.
        :param filters:
            A dictionary with filters to narrow down the search space.
        :param top_k:
            The maximum number of documents to return.
        :param scale_score:
            Whether to scale the scores of the retrieved documents or not.
        :param return_embedding:
            Whether to return the embedding of the retrieved Documents.
        :param score_threshold:
            A minimal score threshold for the result.
        :param group_by:
            Payload field to group by, must be a string or number field.
        :param group_size:
            Maximum amount of points to return per group.
        :param search_params:
            Qdrant's search parameters.
        :param query_sparse_embedding:
            Sparse embedding of the query, as `RRRAEmbedder` gives it: candidates are then the best of both searches,
            joined by reciprocal rank. The ranker puts them in order. `score_threshold` and `search_params` are those
            of the dense search.
        :param query_multivector:
            Tokens of the query, as `RRRAEmbedder` gives them: Qdrant then puts the candidates in order by token match,
            over the multivector of `rrra_haystack.qdrant.multivectors`. `score` and `score_threshold` are token
            matches.
        :returns:
            A dictionary with the following keys:
            - `documents`: The retrieved documents.

        :raises ValueError:
            As `run`.
        """
        if is_embedded(self.document_store):
            return await asyncio.to_thread(
                self.run,
                query_embedding,
                filters,
                top_k,
                scale_score,
                return_embedding,
                score_threshold,
                group_by,
                group_size,
                search_params,
                query_sparse_embedding,
                query_multivector,
            )
        request = self._request(
            query_embedding, filters, top_k, return_embedding, score_threshold, group_by, group_size, search_params,
            query_sparse_embedding, query_multivector,
        )  # fmt: skip
        return await patiently_async(
            lambda: self._search_async(request, len(query_embedding), scale_score), place_of(self.document_store)
        )

    async def _search_async(
        self, request: dict[str, Any], dimension: int, scale_score: bool | None
    ) -> dict[str, list[Document]]:
        client = await self._client_async(dimension)
        self._check_multivector(request)
        if "group_by" in request:
            groups = (await client.query_points_groups(**request)).groups
            points = [hit for group in groups for hit in group.hits]
        else:
            points = (await client.query_points(**request)).points
        documents = documents_of(self.document_store, points, request, scale_score=self._scale(scale_score))
        if not documents and (await client.count(self.document_store.index, exact=False)).count == 0:
            raise ValueError(self._empty_message())
        return {"documents": documents}

    def _request(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | models.Filter | None,
        top_k: int | None,
        return_embedding: bool | None,
        score_threshold: float | None,
        group_by: str | None,
        group_size: int | None,
        search_params: dict[str, Any] | None,
        query_sparse_embedding: SparseEmbedding | None = None,
        query_multivector: list[list[float]] | None = None,
    ) -> dict[str, Any]:
        """The arguments of Qdrant's query, run-time values before those of the initialization."""
        top_k = self.top_k if top_k is None else top_k
        _check_top_k(top_k)
        native = isinstance(self.filters, models.Filter) or isinstance(filters, models.Filter)
        if self.filter_policy == FilterPolicy.MERGE and native:
            msg = (
                "Native Qdrant filters cannot be used with filter_policy set to MERGE. "
                "Set filter_policy to REPLACE or use Haystack filters instead."
            )
            raise ValueError(msg)
        applied = apply_filter_policy(self.filter_policy, self.filters, filters)  # type: ignore[arg-type]
        group_by = self.group_by if group_by is None else group_by
        group_size = self.group_size if group_size is None else group_size
        request = search_request(
            self.document_store,
            query_embedding,
            filters=applied,
            limit=top_k,
            search_params=self.search_params if search_params is None else search_params,
            score_threshold=self.score_threshold if score_threshold is None else score_threshold,
            return_embedding=self.return_embedding if return_embedding is None else return_embedding,
            return_codes=self.return_codes,
        )
        if query_sparse_embedding is not None:
            request |= of_both_searches(self.document_store, request, query_sparse_embedding)
        if query_multivector:
            request |= rescored(request, query_multivector, max(top_k, self.prefetch_limit))
        if group_by is not None:
            request |= {
                "group_by": group_by,
                "group_size": _DEFAULT_GROUP_SIZE if group_size is None else group_size,
            }
        return request

    def _scale(self, scale_score: bool | None) -> bool:
        return self.scale_score if scale_score is None else scale_score

    # A retriever opens the client itself and only looks. A store with a client takes its collection as set up, so it
    # gets to keep one only when the collection was seen.

    def _client(self, dimension: int) -> QdrantClient:
        client = self.document_store._client
        if client is None or client is not self._checked_client:
            client = self._checked(dimension)
        self._check_dimension(dimension)
        return client

    def _checked(self, dimension: int) -> QdrantClient:
        store = self.document_store
        if store._client is None and store.path is not None and not Path(store.path).exists():
            raise ValueError(self._missing_message([]))
        with checked_client(store) as client:
            # Another thread may have checked it meanwhile.
            if client is not self._checked_client:
                if not client.collection_exists(store.index):
                    names = [collection.name for collection in client.get_collections().collections]
                    raise ValueError(self._missing_message(names))
                self._check_vectors(client.get_collection(store.index), dimension)
                self._checked_client = client
        return client

    async def _client_async(self, dimension: int) -> AsyncQdrantClient:
        client = self.document_store._async_client
        if client is None or client is not self._checked_client:
            client = await self._checked_async(dimension)
        self._check_dimension(dimension)
        return client

    async def _checked_async(self, dimension: int) -> AsyncQdrantClient:
        store = self.document_store
        held = store._async_client
        client = AsyncQdrantClient(**store._prepare_client_params()) if held is None else held
        try:
            if not await client.collection_exists(store.index):
                names = [collection.name for collection in (await client.get_collections()).collections]
                raise ValueError(self._missing_message(names))
            self._check_vectors(await client.get_collection(store.index), dimension)
        except BaseException:
            if held is None:
                await client.close()
            raise
        if held is None:
            # Another task may have been faster.
            faster = store._async_client
            if faster is not None:
                await client.close()
                client = faster
            store._async_client = client
        self._checked_client = client
        return client

    def _check_vectors(self, collection: models.CollectionInfo, dimension: int) -> None:
        """Remember the collection's dimension, and refuse a collection that Haystack did not make."""
        vectors = collection.config.params.vectors
        if isinstance(vectors, dict) != self.document_store.use_sparse_embeddings:
            msg = (
                f"The collection '{self.document_store.index}' was "
                f"{'made' if isinstance(vectors, dict) else 'not made'} with sparse embeddings. "
                f"Set use_sparse_embeddings={isinstance(vectors, dict)} at the QdrantDocumentStore."
            )
            raise ValueError(msg)
        dense = vectors.get(DENSE_VECTORS_NAME) if isinstance(vectors, dict) else vectors
        self._dimension = dense.size if dense is not None else dimension
        self._multivector_dimension = multivector_dimension(collection)

    def _check_multivector(self, request: dict[str, Any]) -> None:
        wanted = len(request["query"][0]) if is_rescored(request) else None
        if wanted is not None or self.return_codes:
            try:
                check_multivector(self.document_store, self._multivector_dimension, wanted)
            except ValueError:
                self._checked_client = None
                raise

    def _check_dimension(self, dimension: int) -> None:
        if dimension != self._dimension:
            msg = (
                f"The query embedding has {dimension} dimensions, but the collection '{self.document_store.index}' "
                f"holds embeddings of {self._dimension}. Use the model that the documents were embedded with, or embed "
                f"them again into a QdrantDocumentStore with embedding_dim={dimension}."
            )
            raise ValueError(msg)

    def _missing_message(self, names: list[str]) -> str:
        found = f"It has: {', '.join(sorted(names))}." if names else "It has no collections at all."
        return (
            f"The Qdrant database at {place_of(self.document_store)} has no collection "
            f"'{self.document_store.index}'. {found} Correct `index` at the QdrantDocumentStore, or write documents "
            "first."
        )

    def _empty_message(self) -> str:
        return (
            f"The collection '{self.document_store.index}' at {place_of(self.document_store)} is empty. Write "
            "documents with embeddings first, with RRRADocumentEmbedder and DocumentWriter."
        )


def _check_top_k(top_k: int, name: str = "top_k") -> None:
    if top_k <= 0:
        msg = f"{name} must be > 0, but got {top_k}"
        raise ValueError(msg)
