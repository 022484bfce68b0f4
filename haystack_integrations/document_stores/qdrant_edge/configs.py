"""Settings of a collection as the engine's, and what Qdrant's client tells of one."""

from typing import Any

from qdrant_client import models

import qdrant_edge

Vectors = models.VectorParams | dict[str, models.VectorParams]
_DISTANCES = {
    models.Distance.COSINE: qdrant_edge.Distance.Cosine,
    models.Distance.DOT: qdrant_edge.Distance.Dot,
    models.Distance.EUCLID: qdrant_edge.Distance.Euclid,
    models.Distance.MANHATTAN: qdrant_edge.Distance.Manhattan,
}
# What a server takes, and the engine wants to be told.
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}


def named_vectors(vectors: Any) -> dict[str, Any]:
    """
    Vectors, or the parameters of some, by their names.

    :param vectors: Several by name, or one without a name.
    """
    return vectors if isinstance(vectors, dict) else {"": vectors}


def edge_config(
    vectors: Vectors, sparse_vectors: dict[str, models.SparseVectorParams] | None, options: dict[str, Any]
) -> qdrant_edge.EdgeConfig:
    """
    The settings of a new collection as the engine takes them.

    :param vectors: Its dense vectors.
    :param sparse_vectors: Its sparse vectors.
    :param options: Further arguments of the client's `create_collection`; those of a cluster mean nothing here.
    """
    optimizers = options.get("optimizers_config")
    quantization = options.get("quantization_config")
    return qdrant_edge.EdgeConfig(
        vectors={name: _vector_params(one) for name, one in named_vectors(vectors).items()},
        sparse_vectors={name: _sparse_params(one) for name, one in (sparse_vectors or {}).items()},
        on_disk_payload=options.get("on_disk_payload"),
        hnsw_config=_hnsw(options.get("hnsw_config")),
        quantization_config=_quantization(quantization),
        optimizers=qdrant_edge.EdgeOptimizersConfig(**_given(optimizers)) if optimizers else None,
    )


def collection_params(config: dict[str, Any]) -> models.CollectionParams:
    """
    The parameters of a stored collection.

    :param config: What the engine wrote of it.
    """
    vectors = config.get("vectors") or {}
    sparse = {
        name: models.SparseVectorParams(
            index=models.SparseIndexParams(on_disk=one.get("on_disk"), datatype=one.get("datatype")),
            modifier=one.get("modifier"),
        )
        for name, one in (config.get("sparse_vectors") or {}).items()
    }
    is_unnamed = set(vectors) == {""}
    return models.CollectionParams(
        vectors=vectors[""] if is_unnamed else vectors,
        sparse_vectors=sparse or None,
        on_disk_payload=config.get("on_disk_payload"),
    )


def collection_info(config: dict[str, Any], shard: Any) -> models.CollectionInfo:
    """
    What Qdrant's client tells of a collection.

    :param config: What the engine wrote of it.
    :param shard: What the engine says of it.
    """
    return models.CollectionInfo(
        status=models.CollectionStatus.GREEN,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        indexed_vectors_count=shard.indexed_vectors_count,
        points_count=shard.points_count,
        segments_count=shard.segments_count,
        config=models.CollectionConfig(
            params=collection_params(config),
            hnsw_config=models.HnswConfig(**{**_HNSW, **(config.get("hnsw_config") or {})}),
            # The engine optimizes when it is told to.
            optimizer_config=models.OptimizersConfig(default_segment_number=0, flush_interval_sec=0),
        ),
        payload_schema={
            name: models.PayloadIndexInfo(data_type=_name(one.data_type), points=one.points)
            for name, one in shard.payload_schema.items()
        },
    )


def edge_schema(schema: Any) -> Any:
    """
    The kind of a payload index as the engine takes it.

    :param schema: Its name, as "keyword", or Qdrant's parameters of an index with its `type`.
    """
    given = {"type": schema} if isinstance(schema, str) else _given(schema)
    kind = models.PayloadSchemaType(given.pop("type")).value.capitalize()
    if not given:
        return getattr(qdrant_edge.PayloadSchemaType, kind)
    if "tokenizer" in given:
        given["tokenizer"] = getattr(
            qdrant_edge.TokenizerType, models.TokenizerType(given["tokenizer"]).value.capitalize()
        )
    return getattr(qdrant_edge, f"{kind}IndexParams")(**given)


def _vector_params(params: models.VectorParams) -> qdrant_edge.EdgeVectorParams:
    many = qdrant_edge.MultiVectorConfig(qdrant_edge.MultiVectorComparator.MaxSim)
    kind = params.datatype
    return qdrant_edge.EdgeVectorParams(
        size=params.size,
        distance=_DISTANCES[params.distance],
        on_disk=params.on_disk,
        multivector_config=many if params.multivector_config is not None else None,
        datatype=getattr(qdrant_edge.VectorStorageDatatype, kind.value.capitalize()) if kind is not None else None,
        hnsw_config=_hnsw(params.hnsw_config),
        quantization_config=_quantization(params.quantization_config),
    )


def _sparse_params(params: models.SparseVectorParams) -> qdrant_edge.EdgeSparseVectorParams:
    return qdrant_edge.EdgeSparseVectorParams(
        on_disk=params.index.on_disk if params.index is not None else None,
        modifier=qdrant_edge.Modifier.Idf if params.modifier == models.Modifier.IDF else None,
    )


def _hnsw(config: Any) -> qdrant_edge.HnswIndexConfig | None:
    return qdrant_edge.HnswIndexConfig(**{**_HNSW, **_given(config)}) if config is not None else None


def _quantization(config: Any) -> Any:
    if config is None:
        return None
    ((kind, given),) = _given(config).items()
    if kind == "scalar":
        return qdrant_edge.ScalarQuantizationConfig(
            type=qdrant_edge.ScalarType.Int8, quantile=given.get("quantile"), always_ram=given.get("always_ram")
        )
    if kind == "binary":
        return qdrant_edge.BinaryQuantizationConfig(always_ram=given.get("always_ram"))
    if kind == "product":
        ratio = models.CompressionRatio(given["compression"]).value.capitalize()
        return qdrant_edge.ProductQuantizationConfig(
            compression=getattr(qdrant_edge.CompressionRatio, ratio), always_ram=given.get("always_ram")
        )
    msg = f"QdrantEdgeDocumentStore takes no {kind} quantization: choose scalar, binary or product."
    raise NotImplementedError(msg)


def _given(config: Any) -> dict[str, Any]:
    """The settings that are set, of a dictionary or one of Qdrant's models."""
    values = config if isinstance(config, dict) else config.model_dump(exclude_none=True)
    return {name: value for name, value in values.items() if value is not None}


def _name(kind: qdrant_edge.PayloadSchemaType) -> str:
    return str(kind).rpartition(".")[2].lower()
