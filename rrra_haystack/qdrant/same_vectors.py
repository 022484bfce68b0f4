"""Whether two points have the same vectors, each as its engine keeps them."""

from typing import Any

import numpy as np
from qdrant_client import models

from haystack_integrations.document_stores.qdrant_edge.configs import named_vectors

# Shares of a vector's length within which an engine keeps it: 32 or 16 bits a dimension, or fewer.
_TOLERANCE = 2e-3
_TOLERANCES = {models.Datatype.UINT8: 0.05, models.Datatype.TURBO8: 0.05, models.Datatype.TURBO4: 0.3}


def tolerances_of(params: models.CollectionParams) -> dict[str, float]:
    """
    How far a vector of a collection may be from what was written, by its name, as a share of its length.

    :param params: The parameters of the collection.
    """
    return {
        name: _TOLERANCES.get(one.datatype, _TOLERANCE) if one.datatype is not None else _TOLERANCE
        for name, one in named_vectors(params.vectors).items()
        if one is not None
    }


def are_same_vectors(some: Any, others: Any, tolerances: dict[str, float]) -> bool:
    """
    Whether the vectors of two points are the same, but for the rounding of engines.

    :param some: Vectors of a point as Qdrant's client returns them: one, several by name, or none.
    :param others: Those of the other point.
    :param tolerances: What :func:`tolerances_of` says of the collection.
    """
    named, others_named = _named(some), _named(others)
    return named.keys() == others_named.keys() and all(
        _is_same(one, others_named[name], tolerances.get(name, _TOLERANCE)) for name, one in named.items()
    )


def _named(vectors: Any) -> dict[str, Any]:
    # An engine may keep an empty one or none.
    return {name: one for name, one in named_vectors(vectors).items() if (one.indices if _is_sparse(one) else one)}


def _is_sparse(vector: Any) -> bool:
    return isinstance(vector, models.SparseVector)


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    if _is_sparse(one) and _is_sparse(other):
        (indices, one), (others_indices, other) = _sorted(one), _sorted(other)
        if indices != others_indices:
            return False
    values, others_values = np.asarray(one, dtype=np.float32), np.asarray(other, dtype=np.float32)
    if values.shape != others_values.shape:
        return False
    return bool(np.linalg.norm(values - others_values) <= tolerance * np.linalg.norm(values))


def _sorted(vector: models.SparseVector) -> tuple[list[int], list[float]]:
    pairs = sorted(zip(vector.indices, vector.values, strict=True))
    return [index for index, _ in pairs], [value for _, value in pairs]
