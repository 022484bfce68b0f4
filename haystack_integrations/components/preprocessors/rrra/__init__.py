from haystack_integrations.components.preprocessors.rrra.document_splitter import RRRADocumentSplitter

__all__ = ["RRRADocumentSplitter"]
