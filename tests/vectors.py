"""Vectors of collections, as Qdrant is told them."""

from qdrant_client import models

TOKENS = models.VectorParams(
    size=2,
    distance=models.Distance.DOT,
    multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
    datatype=models.Datatype.FLOAT16,
    hnsw_config=models.HnswConfigDiff(m=0),
)
