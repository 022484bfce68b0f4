"""Looks whether a collection fits what is asked of it."""

from dataclasses import dataclass

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import DENSE_VECTORS_NAME, SPARSE_VECTORS_NAME
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from rrra_haystack.qdrant.clients import place_of

MULTIVECTOR_NAME = "rrra_tokens"


class NothingStoredError(ValueError):
    """There is no such collection, or nothing in it."""


@dataclass(frozen=True)
class Vectors:
    """
    What a collection holds of each document.

    :param dimension: Dimensions of its embedding; `None` if it has none.
    :param multivector_dimension: Dimensions of its tokens; `None` if it has no multivector for token codes.
    :param has_names: Whether its vectors have names, as those of a store with sparse embeddings do.
    :param has_sparse: Whether it has sparse embeddings.
    """

    dimension: int | None = None
    multivector_dimension: int | None = None
    has_names: bool = False
    has_sparse: bool = False


def look(store: QdrantDocumentStore, client: QdrantClient) -> Vectors:
    """
    Look at the collection of a store.

    :param store: The document store.
    :param client: A client of its Qdrant.
    :raises ValueError: If there is no such collection.
    """
    if not client.collection_exists(store.index):
        raise missing(store, client.get_collections())
    return vectors_of(client.get_collection(store.index).config.params)


async def look_async(store: QdrantDocumentStore, client: AsyncQdrantClient) -> Vectors:
    """As :func:`look`, without blocking the event loop."""
    if not await client.collection_exists(store.index):
        raise missing(store, await client.get_collections())
    return vectors_of((await client.get_collection(store.index)).config.params)


def missing(store: QdrantDocumentStore, found: models.CollectionsResponse | None = None) -> NothingStoredError:
    """
    What to raise where a collection is missing.

    :param store: The document store.
    :param found: The collections that there are.
    """
    names = sorted(one.name for one in found.collections) if found is not None else []
    told = f"It has: {', '.join(names)}." if names else "It has no collections at all."
    return NothingStoredError(
        f"The Qdrant database at {place_of(store)} has no collection '{store.index}'. {told} Correct `index` at the "
        "QdrantDocumentStore, or write documents first."
    )


def check_filled(store: QdrantDocumentStore, points: int) -> None:
    """
    Refuse a collection in which nothing can be found.

    :param store: The document store.
    :param points: How many points the collection has.
    :raises NothingStoredError: If it has none.
    """
    if points == 0:
        msg = (
            f"The collection '{store.index}' at {place_of(store)} is empty. Write documents with embeddings first, "
            "with RRRADocumentEmbedder and DocumentWriter."
        )
        raise NothingStoredError(msg)


def vectors_of(params: models.CollectionParams) -> Vectors:
    """
    The vectors of a collection.

    :param params: The parameters of the collection.
    """
    vectors = params.vectors
    dense = vectors.get(DENSE_VECTORS_NAME) if isinstance(vectors, dict) else vectors
    return Vectors(
        dense.size if dense is not None else None,
        multivector_dimension(params),
        has_names=isinstance(vectors, dict),
        has_sparse=SPARSE_VECTORS_NAME in (params.sparse_vectors or {}),
    )


def check_dimension(store: QdrantDocumentStore, dimension: int | None, wanted: int) -> None:
    """
    Refuse a collection whose embeddings do not fit a query.

    :param store: The document store.
    :param dimension: Dimensions of the collection's embeddings.
    :param wanted: Dimensions of the query's embedding.
    :raises ValueError: If they differ.
    """
    if dimension not in (None, wanted):
        msg = (
            f"The query embedding has {wanted} dimensions, but the collection '{store.index}' "
            f"holds embeddings of {dimension}. Use the model that the documents were embedded with, or embed "
            f"them again into a QdrantDocumentStore with embedding_dim={wanted}."
        )
        raise ValueError(msg)


def multivector_dimension(params: models.CollectionParams) -> int | None:
    """
    Dimensions of a collection's multivector for token codes, or `None` if it has none.

    :param params: The parameters of the collection.
    """
    vectors = params.vectors
    tokens = vectors.get(MULTIVECTOR_NAME) if isinstance(vectors, dict) else None
    return tokens.size if tokens is not None and tokens.multivector_config is not None else None


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
