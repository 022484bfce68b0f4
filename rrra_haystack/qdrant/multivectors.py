"""
Token codes in a multivector of Qdrant instead of the documents' metadata, so that Qdrant matches tokens itself.

The multivector holds the token states as the codes keep them, in 16 bits a dimension or fewer; its similarity is the
dot product and its comparator MaxSim, so that Qdrant's score of a query is the token match. Head, pooled code and words
stay in the payload: with them, codes can be put together again byte for byte, if a dimension has 16 bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import convert_haystack_documents_to_qdrant_points
from qdrant_client import QdrantClient, models

from rrra_haystack.documents.metadata import CODES_KEY, HEAD_KEY
from rrra_haystack.model.codes.parts import split_record
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_haystack.qdrant.clients import checked_client, has_payload_indexes, place_of
from rrra_haystack.qdrant.collections import MULTIVECTOR_NAME, check_multivector, multivector_dimension
from rrra_haystack.qdrant.document_store import collection_params, vectors_config, without_duplicates
from rrra_haystack.qdrant.patience import patiently
from rrra_haystack.qdrant.requests import NUMBER_BYTES, bounded, document_bytes


def create_collection(
    store: QdrantDocumentStore,
    *,
    model: str | RRRAModel = DEFAULT_MODEL,
    on_disk: bool | None = None,
    quantization: models.QuantizationConfig | None = None,
    datatype: models.Datatype = models.Datatype.FLOAT16,
) -> None:
    """
    Create the collection of a document store with a multivector for token codes.

    A collection that has it already is left as it is, but for indexes of the payload that it lacks.

    :param store: The document store, created with ``use_sparse_embeddings=True``, which gives vectors their names.
    :param model: The model that makes the codes, or what :meth:`RRRAModel.load` takes.
    :param on_disk: Read the multivectors from disk rather than keep them in memory.
    :param quantization: Qdrant's quantization of the multivectors. With it, scores are Qdrant's approximations.
    :param datatype: How a dimension is kept. ``TURBO8`` and ``TURBO4`` take a half and a quarter of 16 bits; scores are
        then approximations, and codes cannot be read back.
    :raises ValueError: If the store does not name its vectors, or the collection exists and does not fit.
    """
    if not store.use_sparse_embeddings:
        msg = (
            "A multivector needs a collection with named vectors. Create the QdrantDocumentStore with "
            "use_sparse_embeddings=True; its documents need no sparse embeddings."
        )
        raise ValueError(msg)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.shared(model)
    dimension = loaded.config.adapter.token_dim
    place = place_of(store)
    with checked_client(store) as client:
        if not patiently(partial(client.collection_exists, store.index), place):
            patiently(partial(_create, store, client, _parameters(dimension, on_disk, quantization, datatype)), place)
        collection = patiently(partial(client.get_collection, store.index), place)
        found = multivector_dimension(collection.config.params)
        if found != dimension:
            msg = (
                f"The collection '{store.index}' exists, and its multivector '{MULTIVECTOR_NAME}' has {found or 'no'} "
                f"dimensions where {loaded.config.encoder} needs {dimension}. Choose another `index`."
            )
            raise ValueError(msg)
        # Also those that a process was killed before it had made.
        for one in (store.payload_fields_to_index or ()) if has_payload_indexes(store) else ():
            field, schema = one["field_name"], one["field_schema"]
            if field not in (collection.payload_schema or {}):
                patiently(partial(client.create_payload_index, store.index, field, schema), place)


def _parameters(
    dimension: int,
    on_disk: bool | None,
    quantization: models.QuantizationConfig | None,
    datatype: models.Datatype,
) -> models.VectorParams:
    return models.VectorParams(
        size=dimension,
        # Not the cosine: the lengths of the decoded states are part of the score.
        distance=models.Distance.DOT,
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        datatype=datatype,
        # It is read for candidates alone, so it needs no graph.
        hnsw_config=models.HnswConfigDiff(m=0),
        on_disk=on_disk,
        quantization_config=quantization,
    )


def _create(store: QdrantDocumentStore, client: QdrantClient, multivector: models.VectorParams) -> None:
    """Create a collection unless it is there; an attempt whose answer was lost may have made it."""
    if client.collection_exists(store.index):
        return
    vectors, sparse_vectors = vectors_config(store)
    assert isinstance(vectors, dict)
    client.create_collection(
        store.index,
        vectors_config={**vectors, MULTIVECTOR_NAME: multivector},
        sparse_vectors_config=sparse_vectors,
        **collection_params(store),
    )


def write_documents(
    store: QdrantDocumentStore, documents: Sequence[Document], policy: DuplicatePolicy = DuplicatePolicy.FAIL
) -> int:
    """
    Write documents, and their token codes into the multivector instead of the metadata.

    :param store: A document store whose collection :func:`create_collection` made.
    :param documents: Documents as `RRRADocumentEmbedder` returns them.
    :param policy: What to do with documents that are there already, as for the store's own method.
    :returns: Number of documents that were written.
    :raises ValueError: If the collection has no multivector, or a document has no token codes or damaged ones.
    """
    place = place_of(store)
    with checked_client(store) as client:
        exists = patiently(partial(client.collection_exists, store.index), place)
        collection = patiently(partial(client.get_collection, store.index), place) if exists else None
        check_multivector(store, multivector_dimension(collection.config.params) if collection is not None else None)
    bare = [document.id for document in documents if CODES_KEY not in document.meta]
    if bare:
        msg = f"Document {bare[0]} has no token codes. Embed the documents with RRRADocumentEmbedder first."
        raise ValueError(msg)
    wanted = patiently(partial(without_duplicates, store, documents, policy), place)
    for sized in bounded(_points(wanted), lambda one: one[1]):
        points = [point for point, _ in sized]
        patiently(partial(client.upsert, store.index, points, wait=store.wait_result_from_api), place)
    return len(wanted)


def _points(documents: Sequence[Document]) -> Iterator[tuple[models.PointStruct, int]]:
    """Points with multivectors, and the most bytes that each takes."""
    for document in documents:
        head, states = split_record(document.meta[CODES_KEY], document.id)
        meta = {key: value for key, value in document.meta.items() if key != CODES_KEY} | {HEAD_KEY: head}
        bare = replace(document, meta=meta)
        (point,) = convert_haystack_documents_to_qdrant_points([bare], use_sparse_embeddings=True)
        # Qdrant knows no empty multivector: a document without tokens has none.
        if len(states):
            assert isinstance(point.vector, dict)
            # The server would round them itself; rounded numbers are shorter, and an embedded Qdrant does not round.
            point.vector[MULTIVECTOR_NAME] = states.half().tolist()
        yield point, document_bytes(bare) + NUMBER_BYTES * states.numel()
