from haystack_integrations.components.embedders.rrra.document_embedder import RRRADocumentEmbedder
from haystack_integrations.components.embedders.rrra.text_embedder import RRRAEmbedder

__all__ = ["RRRADocumentEmbedder", "RRRAEmbedder"]
