from haystack_integrations.components.converters.rrra.file_converter import RRRAFileToDocument

__all__ = ["RRRAFileToDocument"]
