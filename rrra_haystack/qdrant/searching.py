"""What is asked of Qdrant in a search, as the arguments of its client, and the documents of what it finds."""

from dataclasses import replace
from typing import Any

import numpy as np
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import DENSE_VECTORS_NAME, SPARSE_VECTORS_NAME
from haystack_integrations.document_stores.qdrant.filters import convert_filters_to_qdrant
from pydantic import ValidationError
from qdrant_client import models

from rrra_haystack.documents.metadata import CODES_KEY, HEAD_KEY, SCORES_KEY
from rrra_haystack.errors import first_fault
from rrra_haystack.model.codes.parts import join_record
from rrra_haystack.qdrant.collections import MULTIVECTOR_NAME

_DOCUMENT_FIELDS = frozenset({"id", "content", "blob", "score"})


def search_request(
    store: QdrantDocumentStore,
    embedding: list[float],
    *,
    filters: dict[str, Any] | models.Filter | None,
    limit: int,
    search_params: dict[str, Any] | None,
    score_threshold: float | None,
    return_embedding: bool,
    return_codes: bool,
) -> dict[str, Any]:
    """
    The arguments of a dense search.

    :param store: The document store.
    :param embedding: Embedding of the query.
    :param filters: Haystack's filters or Qdrant's.
    :param limit: How many documents are returned.
    :param search_params: Qdrant's search parameters.
    :param score_threshold: The least score of a document that is returned.
    :param return_embedding: Whether documents are returned with their embeddings.
    :param return_codes: Whether they are returned with the codes of a multivector.
    :raises ValueError: If a filter names a field without ``meta.``, or Qdrant knows no such search parameter.
    """
    if isinstance(filters, dict):
        _check_filter_fields(filters)
    return {
        "collection_name": store.index,
        "query": embedding,
        "using": DENSE_VECTORS_NAME if store.use_sparse_embeddings else None,
        "query_filter": convert_filters_to_qdrant(filters),
        "search_params": check_search_params(search_params),
        "limit": limit,
        "with_vectors": _wanted_vectors(store, embedding=return_embedding, codes=return_codes),
        "score_threshold": score_threshold,
    }


def of_both_searches(store: QdrantDocumentStore, request: dict[str, Any], sparse: SparseEmbedding) -> dict[str, Any]:
    """
    What changes in a dense search if it is to be joined with a sparse one with the same filter.

    :param store: The document store.
    :param request: Arguments of the dense search.
    :param sparse: Sparse embedding of the query.
    :raises ValueError: If the store has no sparse embeddings.
    """
    if not store.use_sparse_embeddings:
        msg = (
            "A sparse embedding of the query was given, but the store has none of its documents. Create it with "
            "use_sparse_embeddings=True and sparse_idf=True, and index with RRRADocumentEmbedder(sparse=True)."
        )
        raise ValueError(msg)
    shared = {"filter": request["query_filter"], "limit": request["limit"]}
    dense = models.Prefetch(
        query=request["query"], using=DENSE_VECTORS_NAME, params=request["search_params"],
        score_threshold=request["score_threshold"], **shared,
    )  # fmt: skip
    words = models.SparseVector(indices=sparse.indices, values=sparse.values)
    return {
        "prefetch": [dense, models.Prefetch(query=words, using=SPARSE_VECTORS_NAME, **shared)],
        "query": models.FusionQuery(fusion=models.Fusion.RRF),
        "using": None,
        "search_params": None,
        "score_threshold": None,
    }


def rescored(request: dict[str, Any], query: list[list[float]], limit: int) -> dict[str, Any]:
    """
    What changes in a query of Qdrant if its candidates are to be put in order by token match.

    :param request: Arguments of the query: a dense search, or a fusion of searches.
    :param query: The query's multivector.
    :param limit: Candidates of each search.
    """
    searches = request.get("prefetch") or [
        models.Prefetch(
            query=request["query"], using=request["using"], filter=request["query_filter"],
            params=request["search_params"], score_threshold=request["score_threshold"],
        )
    ]  # fmt: skip
    return {
        "prefetch": [one.model_copy(update={"limit": limit, "score_threshold": None}) for one in searches],
        "query": query,
        "using": MULTIVECTOR_NAME,
        "search_params": searches[0].params,
        "score_threshold": searches[0].score_threshold,
    }


def is_rescored(request: dict[str, Any]) -> bool:
    """Whether a query of Qdrant puts its candidates in order by token match."""
    return request["using"] == MULTIVECTOR_NAME


def documents_of(
    store: QdrantDocumentStore, points: list[models.ScoredPoint], request: dict[str, Any], *, scale_score: bool
) -> list[Document]:
    """
    The documents of points, with token codes in their metadata if the points have their multivectors.

    :param store: The document store.
    :param points: What Qdrant found.
    :param request: Arguments of the query.
    :param scale_score: Let the store scale the scores; those of groups never are.
    """
    scale_score = scale_score and "group_by" not in request
    documents = store._process_query_point_results(points, scale_score=scale_score)  # noqa: SLF001
    result = []
    for document, point in zip(documents, points, strict=True):
        meta = dict(document.meta)
        head = meta.pop(HEAD_KEY, None)
        if head is not None and isinstance(point.vector, dict) and MULTIVECTOR_NAME in point.vector:
            states = np.asarray(point.vector[MULTIVECTOR_NAME], dtype=np.float32)
            meta[CODES_KEY] = join_record(head, states, document.id)
        if is_rescored(request):
            meta[SCORES_KEY] = {"token_match": point.score}
        result.append(replace(document, meta=meta) if meta != document.meta else document)
    return result


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


def _wanted_vectors(store: QdrantDocumentStore, *, embedding: bool, codes: bool) -> bool | list[str]:
    """Which vectors Qdrant shall return; a multivector is large, so it comes along only if it is asked for."""
    if not store.use_sparse_embeddings:
        return embedding
    names = [DENSE_VECTORS_NAME, SPARSE_VECTORS_NAME] if embedding else []
    return [*names, MULTIVECTOR_NAME] if codes else names or False


def _check_filter_fields(condition: dict[str, Any]) -> None:
    for nested in condition.get("conditions", []):
        _check_filter_fields(nested)
    field = condition.get("field")
    if isinstance(field, str) and not field.startswith("meta.") and field not in _DOCUMENT_FIELDS:
        msg = f"The filter field '{field}' would match nothing in Qdrant. Write 'meta.{field}'."
        raise ValueError(msg)
