from haystack_integrations.components.rankers.rrra.ranker import RRRAAdapterRanker

__all__ = ["RRRAAdapterRanker"]
