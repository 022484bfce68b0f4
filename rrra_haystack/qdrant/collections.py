"""Looks whether a collection fits what is asked of it."""

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import models

MULTIVECTOR_NAME = "rrra_tokens"


def multivector_dimension(collection: models.CollectionInfo) -> int | None:
    """
    Dimensions of a collection's multivector for token codes, or `None` if it has none.

    :param collection: What Qdrant says of the collection.
    """
    vectors = collection.config.params.vectors
    params = vectors.get(MULTIVECTOR_NAME) if isinstance(vectors, dict) else None
    return params.size if params is not None and params.multivector_config is not None else None


def check_multivector(store: QdrantDocumentStore, dimension: int | None, wanted: int | None = None) -> None:
    """
    Refuse a collection that has no multivector, or one that does not fit a query.

    :param store: The document store.
    :param dimension: What :func:`multivector_dimension` says of its collection.
    :param wanted: Dimensions of the tokens of a query, if there is one.
    :raises ValueError: If it does not fit.
    """
    if dimension is None:
        msg = (
            f"The collection '{store.index}' has no multivector '{MULTIVECTOR_NAME}'. Create it with create_collection "
            "and fill it with write_documents, both of rrra_haystack.qdrant.multivectors."
        )
        raise ValueError(msg)
    if wanted not in (None, dimension):
        msg = (
            f"The query's tokens have {wanted} dimensions, but the multivector '{MULTIVECTOR_NAME}' of the collection "
            f"'{store.index}' holds {dimension}. Use the model that the documents were embedded with."
        )
        raise ValueError(msg)
