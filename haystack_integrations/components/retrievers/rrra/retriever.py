import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from haystack import Document, component
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client.http import models

from haystack_integrations.common.rrra import EmbeddedQuery, Serializable, check_positive, check_threshold, options_of
from rrra_haystack.qdrant.checked_collection import CheckedCollection
from rrra_haystack.qdrant.clients import is_embedded, place_of
from rrra_haystack.qdrant.collections import check_filled
from rrra_haystack.qdrant.patience import patiently, patiently_async
from rrra_haystack.qdrant.payloads import CONTENT_FIELD
from rrra_haystack.qdrant.searching import SearchRequest, check_search_params, documents_of


@component
class RRRARetriever(Serializable):
    """
    Retrieves the candidates for an `RRRAAdapterRanker` from a `QdrantDocumentStore` or a `QdrantEdgeDocumentStore`.

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
        sparse: bool = True,
        content_field: str = CONTENT_FIELD,
    ) -> None:
        """
        Creates an RRRARetriever component.

        :param document_store:
            An instance of QdrantDocumentStore, or of QdrantEdgeDocumentStore, which is one.
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
            Payload field to group by, must be a string or number field. A QdrantEdgeDocumentStore makes the groups
            of the best hits, at least ten times as many as were asked for: a group may lack what is not among them.
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
        :param sparse:
            Whether to search by a `query_sparse_embedding` too, where one is given. If `False`, by the embedding alone.
        :param content_field:
            Field of the payload with the text of a document, if another library than Haystack filled the collection,
            as `page_content`. What else the payload holds is the document's metadata, and filters name the fields
            as the payload has them.

        :raises ValueError:
            If `document_store` is not a QdrantDocumentStore, `top_k`, `group_size` or `prefetch_limit` is no
            whole number > 0, `score_threshold` is no finite number, or `search_params` are unknown to Qdrant.
        """
        if not isinstance(document_store, QdrantDocumentStore):
            msg = "document_store must be an instance of QdrantDocumentStore"
            raise ValueError(msg)
        _check_numbers(top_k, group_size, score_threshold)
        check_positive(prefetch_limit, "prefetch_limit")
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
        self.sparse = sparse
        self.content_field = content_field
        self._collection = CheckedCollection()
        self._turn: AbstractContextManager[Any] = nullcontext()

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be copied, and whoever writes to the copy's Qdrant holds another one.
        return {**vars(self), "_turn": nullcontext()}

    def take_turns(self, lock: AbstractContextManager[Any]) -> None:
        """
        Lets searches wait for a lock, for an embedded Qdrant that others write to. It is not serialized.

        :param lock:
            Held during each search, but for one of `run_async` at a Qdrant server. Reentrant, if the document store
            waits for it too.
        """
        self._turn = lock

    def close(self) -> None:
        """
        Releases the synchronous resources of the document store.
        """
        self._collection.forget()
        self.document_store.close()

    async def close_async(self) -> None:
        """
        Releases the resources of the document store, which is opened synchronously if it is embedded.
        """
        self._collection.forget()
        await self.document_store.close_async()
        if is_embedded(self.document_store):
            self.document_store.close()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float] | EmbeddedQuery,
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
            Embedding of the query, or the `query` of an `RRRAEmbedder` with `as_one=True`.
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
            of the dense search. A collection without sparse embeddings is searched by the embedding alone, and a
            warning says so.
        :param query_multivector:
            Tokens of the query, as `RRRAEmbedder` gives them: Qdrant then puts the candidates in order by token match,
            over the multivector of `rrra_haystack.qdrant.multivectors`. `score` and `score_threshold` are token
            matches.
        :returns:
            A dictionary with the following keys:
            - `documents`: The retrieved documents.

        :raises ValueError:
            If a number is not as at the initialization; if the collection does not exist, is empty, has another
            dimension than the embedding, or lacks the multivector that was asked for; if a filter names a field
            without `meta.`; or if `filter_policy` is MERGE and `filters` is a native Qdrant filter.
        :raises OSError:
            If a Qdrant server is away (ConnectionError), too slow (TimeoutError) or refuses the key (PermissionError),
            after five tries.
        """
        request = self._request(
            query_embedding, query_sparse_embedding, query_multivector, filters, top_k=top_k, scale_score=scale_score,
            return_embedding=return_embedding, score_threshold=score_threshold, group_by=group_by,
            group_size=group_size, search_params=search_params,
        )  # fmt: skip
        return self._answer(request)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float] | EmbeddedQuery,
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
        Retrieves documents as `run` does, without blocking the event loop.

        An embedded Qdrant (`path` or `:memory:`) has no asynchronous client that would see what was written, so its
        search runs in a thread with the synchronous one.
        """
        request = self._request(
            query_embedding, query_sparse_embedding, query_multivector, filters, top_k=top_k, scale_score=scale_score,
            return_embedding=return_embedding, score_threshold=score_threshold, group_by=group_by,
            group_size=group_size, search_params=search_params,
        )  # fmt: skip
        if is_embedded(self.document_store):
            return await asyncio.to_thread(self._answer, request)
        return await patiently_async(lambda: self._search_async(request), place_of(self.document_store))

    def _request(
        self,
        embedding: list[float] | EmbeddedQuery,
        sparse_embedding: SparseEmbedding | None,
        multivector: list[list[float]] | None,
        filters: dict[str, Any] | models.Filter | None,
        **given: Any,
    ) -> SearchRequest:
        """What is asked of Qdrant: values of the run, or of the initialization where there are none."""
        options = options_of(self, **given)
        _check_numbers(options["top_k"], options["group_size"], options["score_threshold"])
        native = isinstance(self.filters, models.Filter) or isinstance(filters, models.Filter)
        if self.filter_policy == FilterPolicy.MERGE and native:
            msg = (
                "Native Qdrant filters cannot be used with filter_policy set to MERGE. "
                "Set filter_policy to REPLACE or use Haystack filters instead."
            )
            raise ValueError(msg)
        query = embedding if isinstance(embedding, EmbeddedQuery) else EmbeddedQuery(embedding)
        words = query.sparse_embedding if sparse_embedding is None else sparse_embedding
        return SearchRequest(
            embedding=query.embedding,
            sparse_embedding=words if self.sparse else None,
            multivector=query.multivector if multivector is None else multivector,
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),  # type: ignore[arg-type]
            return_codes=self.return_codes,
            prefetch_limit=self.prefetch_limit,
            content_field=self.content_field,
            **options,
        )

    def _answer(self, request: SearchRequest) -> dict[str, list[Document]]:
        with self._turn:
            return patiently(lambda: self._search(request), place_of(self.document_store))

    def _search(self, request: SearchRequest) -> dict[str, list[Document]]:
        store = self.document_store
        client, vectors, found = self._collection.search(store, request)
        documents = documents_of(store, vectors, found, request)
        if not documents:
            check_filled(store, client.count(store.index, exact=False).count)
        return {"documents": documents}

    async def _search_async(self, request: SearchRequest) -> dict[str, list[Document]]:
        store = self.document_store
        client, vectors, found = await self._collection.search_async(store, request)
        documents = documents_of(store, vectors, found, request)
        if not documents:
            check_filled(store, (await client.count(store.index, exact=False)).count)
        return {"documents": documents}


def _check_numbers(top_k: int, group_size: int | None, score_threshold: float | None) -> None:
    check_positive(top_k)
    if group_size is not None:
        check_positive(group_size, "group_size")
    check_threshold(score_threshold)
