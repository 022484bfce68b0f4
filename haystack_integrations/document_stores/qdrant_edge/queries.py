"""Queries of Qdrant as the engine's."""

from typing import Any

import numpy as np
from qdrant_client import models

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.filters import edge_filter
from haystack_integrations.document_stores.qdrant_edge.points import fault_of_indices, is_finite

# What a server takes for the constant of reciprocal rank fusion if none is given.
_RRF_K = 2


def edge_request(
    limit: int, with_payload: Any, with_vectors: Any, query: dict[str, Any], least: int = 0
) -> qdrant_edge.QueryRequest:
    """
    A search as the engine takes it.

    :param limit: The most points.
    :param with_payload: What of their payloads comes along.
    :param with_vectors: What of their vectors.
    :param query: The further arguments of the client's `query_points`.
    :param least: The least limit of each search before it.
    """
    return qdrant_edge.QueryRequest(
        limit=limit,
        offset=query.get("offset"),
        query=edge_query(query.get("query"), query.get("using")),
        prefetches=edge_prefetches(query.get("prefetch"), least),
        with_vector=with_vectors,
        with_payload=with_payload,
        filter=edge_filter(query.get("query_filter")),
        score_threshold=query.get("score_threshold"),
        params=edge_search_params(query.get("search_params")),
    )


def edge_query(query: Any, using: str | None) -> Any:
    """
    A query as the engine takes it.

    :param query: A vector, sparse or of many rows too, or a fusion of what was prefetched.
    :param using: Name of the vector that is compared; none if the collection does not name its vectors.
    :raises NotImplementedError: If it is another of Qdrant's queries.
    :raises ValueError: If a vector holds numbers that are not finite, or a sparse one indices that are none.
    """
    if query is None:
        return None
    if isinstance(query, models.NearestQuery) and query.mmr is None:
        query = query.nearest
    if isinstance(query, np.ndarray):
        query = query.tolist()
    if isinstance(query, models.SparseVector):
        if (fault := fault_of_indices(query)) is not None:
            msg = f"The sparse embedding of the query {fault}. Embed the query again."
            raise ValueError(msg)
        _check_finite([query.values])
        return qdrant_edge.Query.Nearest(qdrant_edge.SparseVector(query.indices, query.values), using=using)
    if isinstance(query, list):
        _check_finite(query if query and isinstance(query[0], list) else [query])
        return qdrant_edge.Query.Nearest(query, using=using)
    if isinstance(query, models.RrfQuery):
        return qdrant_edge.Fusion.Rrf(k=query.rrf.k or _RRF_K, weights=query.rrf.weights)
    if isinstance(query, models.FusionQuery):
        is_rrf = query.fusion == models.Fusion.RRF
        return qdrant_edge.Fusion.Rrf(k=_RRF_K) if is_rrf else qdrant_edge.Fusion.Dbsf()
    msg = f"QdrantEdgeDocumentStore takes no {type(query).__name__}: ask for vectors, or a fusion of searches."
    raise NotImplementedError(msg)


def _check_finite(rows: list[Any]) -> None:
    if not all(is_finite(one) for one in rows):
        msg = (
            "The embedding of the query holds numbers that are not finite (NaN, infinite, or too large for 32 bits), "
            "and would find nothing."
        )
        raise ValueError(msg)


def edge_prefetches(prefetch: models.Prefetch | list[models.Prefetch] | None, least: int = 0) -> list[Any]:
    """
    Searches before the search as the engine takes them.

    :param prefetch: One or some of Qdrant's.
    :param least: The least limit of each.
    """
    given = prefetch if isinstance(prefetch, list) else [prefetch] if prefetch is not None else []
    return [
        qdrant_edge.Prefetch(
            limit=max(one.limit or 10, least),
            query=edge_query(one.query, one.using),
            prefetches=edge_prefetches(one.prefetch, least),
            params=edge_search_params(one.params),
            filter=edge_filter(one.filter),
            score_threshold=one.score_threshold,
        )
        for one in given
    ]


def edge_search_params(params: models.SearchParams | None) -> qdrant_edge.SearchParams | None:
    """
    Search parameters as the engine takes them.

    :param params: Qdrant's.
    """
    if params is None:
        return None
    given = params.model_dump(exclude_none=True, include={"hnsw_ef", "exact", "indexed_only"})
    if params.quantization is not None:
        quantization = params.quantization.model_dump(exclude_none=True)
        given["quantization"] = qdrant_edge.QuantizationSearchParams(**quantization)
    if params.acorn is not None:
        given["acorn"] = qdrant_edge.AcornSearchParams(**params.acorn.model_dump(exclude_none=True))
    return qdrant_edge.SearchParams(**given)
