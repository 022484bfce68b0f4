"""Points of Qdrant as the engine's, and back."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from qdrant_client import models

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.configs import named_vectors
from haystack_integrations.document_stores.qdrant_edge.payloads import edge_payload

# The square of a longer row is no number of 32 bits, and the engine compares by squares.
_LONGEST = 2.0**64
# What the engine counts the dimensions of sparse vectors with.
_INDICES = 2**32
_NUMBER_BYTES = 4


def edge_point(point: models.PointStruct, params: models.CollectionParams) -> tuple[qdrant_edge.Point, int]:
    """
    A point as the engine takes it, and about how many bytes it has.

    The engine logs a write before it looks at it: of a batch with one vector that does not fit, it refuses the rest,
    and stores a part of it when the folder is opened again. So nothing that does not fit may reach it.

    :param point: The point.
    :param params: The parameters of its collection.
    :raises ValueError: If a vector does not fit the collection, or the payload cannot be stored.
    """
    named = named_vectors(point.vector) if point.vector else {}
    for name, one in named.items():
        _check(point, name, one, params)
    payload, size = edge_payload(point.payload or {}, f"Document {_name(point)}")
    size += _NUMBER_BYTES * sum(_numbers(one) for one in named.values())
    return qdrant_edge.Point(point.id, {name: _edge_vector(one) for name, one in named.items()}, payload), size


def record_of(record: qdrant_edge.Record, vectors: bool | list[str] | None) -> models.Record:
    """
    A stored point as Qdrant's client returns it.

    :param record: What the engine found.
    :param vectors: The vectors that were asked for.
    """
    return models.Record(id=id_of(record.id), payload=record.payload, vector=_vector(record.vector, vectors))


def scored_point_of(
    point: qdrant_edge.ScoredPoint, vectors: bool | list[str] | None, found: models.Record | None = None
) -> models.ScoredPoint:
    """
    A hit as Qdrant's client returns it.

    :param point: What the engine found.
    :param vectors: The vectors that were asked for.
    :param found: Its payload and vectors, if they were read afterwards.
    """
    return models.ScoredPoint(
        id=id_of(point.id),
        version=point.version,
        score=point.score,
        payload=point.payload if found is None else found.payload,
        vector=_vector(point.vector, vectors) if found is None else found.vector,
    )


def id_of(identifier: Any) -> models.ExtendedPointId:
    """
    The identifier of a point as Qdrant's server writes it.

    :param identifier: A number or a UUID.
    """
    return identifier if isinstance(identifier, int) else str(identifier)


def _check(point: models.PointStruct, name: str, vector: Any, params: models.CollectionParams) -> None:
    if name in (params.sparse_vectors or {}):
        if not isinstance(vector, models.SparseVector):
            msg = f"Document {_name(point)}: its vector '{name}' must be sparse."
            raise ValueError(msg)
        if (fault := fault_of_indices(vector)) is not None:
            msg = f"The sparse embedding of document {_name(point)} {fault}. Embed the document again."
            raise ValueError(msg)
        _check_finite(point, name, [vector.values])
        return
    known = named_vectors(params.vectors).get(name)
    if known is None:
        place = f"no vector '{name}'" if name else "named vectors only (use_sparse_embeddings=True)"
        msg = f"Document {_name(point)} does not fit: the collection has {place}."
        raise ValueError(msg)
    rows = vector if known.multivector_config is not None else [vector]
    wrong = next((len(one) for one in rows if len(one) != known.size), None)
    if wrong is not None:
        msg = (
            f"The embedding of document {_name(point)} has {wrong} dimensions, but the collection holds embeddings of "
            f"{known.size}. Set embedding_dim={wrong} at the document store, and fill a collection of its own."
        )
        raise ValueError(msg)
    _check_finite(point, name, rows)


def _check_finite(point: models.PointStruct, name: str, rows: Iterable[Any]) -> None:
    if not all(is_finite(one) for one in rows):
        called = f"vector '{name}'" if name else "embedding"
        msg = (
            f"The {called} of document {_name(point)} holds numbers that are not finite (NaN, infinite, or too large "
            "for 32 bits): no search would find it. Embed the document again."
        )
        raise ValueError(msg)


def is_finite(row: Iterable[float]) -> bool:
    """Whether all numbers of a row, and the square of its length, are finite in the engine's 32 bits."""
    # Comparisons with NaN are false.
    return math.hypot(*row) < _LONGEST


def fault_of_indices(vector: models.SparseVector) -> str | None:
    """What is wrong with the indices of a sparse vector: the engine scores one that is there twice now so, now so."""
    if len(set(vector.indices)) < len(vector.indices):
        return "names an index twice"
    if not all(0 <= one < _INDICES for one in vector.indices):
        return f"has an index that is not between 0 and {_INDICES - 1}"
    return None


def _numbers(vector: Any) -> int:
    if isinstance(vector, models.SparseVector):
        return 2 * len(vector.indices)
    return sum(len(one) if isinstance(one, list) else 1 for one in vector)


def _name(point: models.PointStruct) -> Any:
    return (point.payload or {}).get("id", point.id)


def _edge_vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        return qdrant_edge.SparseVector(vector.indices, vector.values)
    return vector


def _vector(vector: Any, wanted: bool | list[str] | None) -> Any:
    if not wanted or vector is None or (isinstance(vector, Mapping) and not vector):
        return None
    if not isinstance(vector, Mapping):
        return vector
    return {
        name: models.SparseVector(indices=one.indices, values=one.values)
        if isinstance(one, qdrant_edge.SparseVector)
        else one
        for name, one in vector.items()
    }
