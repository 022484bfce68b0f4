"""What is asked of Qdrant in a search, as the arguments of its client, and the documents of what it finds."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.errors import FilterError
from haystack.utils.filters import LOGICAL_OPERATORS
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import DENSE_VECTORS_NAME, SPARSE_VECTORS_NAME
from haystack_integrations.document_stores.qdrant.document_store import DEFAULT_GROUP_SIZE
from pydantic import ValidationError
from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge.haystack_filters import qdrant_filter
from haystack_integrations.document_stores.qdrant_edge.moments import compared_as_texts
from rrra_haystack.documents.metadata import CODES_KEY, HEAD_KEY, SCORES_KEY, meta_of
from rrra_haystack.errors import first_fault
from rrra_haystack.model.codes.parts import join_record
from rrra_haystack.qdrant.collections import MULTIVECTOR_NAME, Vectors
from rrra_haystack.qdrant.document_store import documents_of_points
from rrra_haystack.qdrant.payloads import CONTENT_FIELD, as_haystacks

_DOCUMENT_FIELDS = frozenset({"id", "content", "blob", "score"})


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """
    What is asked of Qdrant in one search.

    :param embedding: Embedding of the query.
    :param sparse_embedding: Sparse embedding of the query, if a sparse search is to be joined with the dense one.
    :param multivector: Tokens of the query, if the candidates are to be put in order by token match.
    :param filters: Haystack's filters or Qdrant's.
    :param top_k: How many documents are returned, or groups of them.
    :param scale_score: Bring scores between 0 and 1; those of groups never are.
    :param return_embedding: Return documents with their embeddings.
    :param return_codes: Return them with the codes of a multivector.
    :param score_threshold: The least score of a document that is returned.
    :param group_by: Field of the payload to group by.
    :param group_size: The most documents of a group; Haystack's default if `None`.
    :param search_params: Qdrant's search parameters.
    :param prefetch_limit: Candidates that are put in order by token match, if they are.
    :param content_field: Field of the payload with the text of a document.
    """

    embedding: list[float]
    sparse_embedding: SparseEmbedding | None
    multivector: list[list[float]] | None
    filters: dict[str, Any] | models.Filter | None
    top_k: int
    scale_score: bool
    return_embedding: bool
    return_codes: bool
    score_threshold: float | None
    group_by: str | None
    group_size: int | None
    search_params: dict[str, Any] | None
    prefetch_limit: int
    content_field: str = CONTENT_FIELD


def arguments_of(store: QdrantDocumentStore, vectors: Vectors, request: SearchRequest) -> dict[str, Any]:
    """
    A search as the arguments of Qdrant's client.

    :param store: The document store.
    :param vectors: Its vectors; without sparse ones the search is a dense one.
    :param request: What is asked.
    :raises ValueError: If a filter names a field without ``meta.``, or Qdrant knows no such search parameter.
    """
    arguments = _dense(store, vectors, request)
    if request.sparse_embedding is not None and vectors.has_sparse:
        arguments |= _of_both_searches(arguments, request.sparse_embedding)
    if request.multivector:
        arguments |= _rescored(arguments, request.multivector, max(request.top_k, request.prefetch_limit))
    if request.group_by is not None:
        size = DEFAULT_GROUP_SIZE if request.group_size is None else request.group_size
        arguments |= {"group_by": request.group_by, "group_size": size}
    return arguments


def _dense(store: QdrantDocumentStore, vectors: Vectors, request: SearchRequest) -> dict[str, Any]:
    query_filter = qdrant_filter(request.filters, compared_as_texts(store))
    if isinstance(request.filters, dict) and request.content_field == CONTENT_FIELD:
        _check_filter_fields(request.filters)
    return {
        "collection_name": store.index,
        "query": request.embedding,
        "using": DENSE_VECTORS_NAME if vectors.has_names else None,
        "query_filter": query_filter,
        "search_params": check_search_params(request.search_params),
        "limit": request.top_k,
        "with_vectors": _wanted_vectors(vectors, embedding=request.return_embedding, codes=request.return_codes),
        "score_threshold": request.score_threshold,
    }


def _of_both_searches(dense: dict[str, Any], sparse: SparseEmbedding) -> dict[str, Any]:
    """What changes in a dense search if it is to be joined with a sparse one with the same filter."""
    shared = {"filter": dense["query_filter"], "limit": dense["limit"]}
    meaning = models.Prefetch(
        query=dense["query"], using=DENSE_VECTORS_NAME, params=dense["search_params"],
        score_threshold=dense["score_threshold"], **shared,
    )  # fmt: skip
    words = models.SparseVector(indices=sparse.indices, values=sparse.values)
    return {
        "prefetch": [meaning, models.Prefetch(query=words, using=SPARSE_VECTORS_NAME, **shared)],
        "query": models.FusionQuery(fusion=models.Fusion.RRF),
        "using": None,
        "search_params": None,
        "score_threshold": None,
    }


def _rescored(arguments: dict[str, Any], query: list[list[float]], limit: int) -> dict[str, Any]:
    """What changes in a dense search, or a fusion of searches, if its candidates are put in order by token match."""
    searches = arguments.get("prefetch") or [
        models.Prefetch(
            query=arguments["query"], using=arguments["using"], filter=arguments["query_filter"],
            params=arguments["search_params"], score_threshold=arguments["score_threshold"],
        )
    ]  # fmt: skip
    return {
        "prefetch": [one.model_copy(update={"limit": limit, "score_threshold": None}) for one in searches],
        "query": query,
        "using": MULTIVECTOR_NAME,
        "search_params": searches[0].params,
        "score_threshold": searches[0].score_threshold,
    }


def documents_of(
    store: QdrantDocumentStore,
    vectors: Vectors,
    found: models.QueryResponse | models.GroupsResult,
    request: SearchRequest,
) -> list[Document]:
    """
    The documents that Qdrant found, with token codes in their metadata if the points have their multivectors.

    :param store: The document store.
    :param vectors: The vectors of its collection.
    :param found: Qdrant's answer: points, or groups of them.
    :param request: What was asked.
    """
    if isinstance(found, models.GroupsResult):
        points, scale = [hit for group in found.groups for hit in group.hits], False
    else:
        points, scale = found.points, request.scale_score
    if request.content_field != CONTENT_FIELD:
        points = [_of_another_library(point, request.content_field) for point in points]
    documents = documents_of_points(store, points, has_names=vectors.has_names, scale_score=scale)
    result = []
    for document, point in zip(documents, points, strict=True):
        meta = dict(meta_of(document))
        head = meta.pop(HEAD_KEY, None)
        if head is not None and isinstance(point.vector, dict) and MULTIVECTOR_NAME in point.vector:
            states = np.asarray(point.vector[MULTIVECTOR_NAME], dtype=np.float32)
            meta[CODES_KEY] = join_record(head, states, document.id)
        if request.multivector:
            meta[SCORES_KEY] = {"token_match": point.score}
        result.append(replace(document, meta=meta) if meta != meta_of(document) else document)
    return result


def _of_another_library(point: models.ScoredPoint, content_field: str) -> models.ScoredPoint:
    payload = {"id": str(point.id), **as_haystacks(point.payload, content_field)}
    return point.model_copy(update={"payload": payload})


def check_filters(filters: dict[str, Any]) -> dict[str, Any]:
    """
    Haystack's filters, if Qdrant can be asked for them.

    :param filters: The filters.
    :raises ValueError: If they are malformed, or name a field without ``meta.``.
    """
    try:
        qdrant_filter(filters)
    except FilterError as error:
        raise ValueError(str(error)) from error
    _check_filter_fields(filters)
    return filters


def check_search_params(search_params: dict[str, Any] | None) -> models.SearchParams | None:
    """
    Qdrant's search parameters as its client takes them.

    :param search_params: The same as a dictionary.
    :raises ValueError: If Qdrant knows no such parameter.
    """
    if search_params is None:
        return None
    try:
        return models.SearchParams.model_validate(search_params)
    except ValidationError as error:
        known = ", ".join(sorted(models.SearchParams.model_fields))
        msg = f"search_params: {first_fault(error)}. Qdrant knows: {known}."
        raise ValueError(msg) from None


def _wanted_vectors(vectors: Vectors, *, embedding: bool, codes: bool) -> bool | list[str]:
    """Which vectors Qdrant shall return; a multivector is large, so it comes along only if it is asked for."""
    if not vectors.has_names:
        return embedding
    names = [DENSE_VECTORS_NAME, SPARSE_VECTORS_NAME] if embedding else []
    return [*names, MULTIVECTOR_NAME] if codes else names or False


def _check_filter_fields(filters: dict[str, Any]) -> None:
    waiting = [filters]
    while waiting:
        condition = waiting.pop()
        if condition.get("operator") in LOGICAL_OPERATORS:
            waiting.extend(condition["conditions"])
            continue
        field = condition.get("field")
        if isinstance(field, str) and not field.startswith("meta.") and field not in _DOCUMENT_FIELDS:
            msg = f"The filter field {field!r} would match nothing in Qdrant. Write {f'meta.{field}'!r}."
            raise ValueError(msg)
