from haystack_integrations.components.readers.rrra.reader import RRRAReader

__all__ = ["RRRAReader"]
