from haystack_integrations.document_stores.qdrant_edge.document_store import QdrantEdgeDocumentStore

__all__ = ["QdrantEdgeDocumentStore"]
