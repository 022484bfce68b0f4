from haystack_integrations.components.retrievers.rrra.retriever import RRRARetriever

__all__ = ["RRRARetriever"]
