from haystack_integrations.common.rrra.checks import check_documents, check_positive
from haystack_integrations.common.rrra.embedded_query import EmbeddedQuery
from haystack_integrations.common.rrra.loading import LoadsModel
from haystack_integrations.common.rrra.serialization import Serializable

__all__ = ["EmbeddedQuery", "LoadsModel", "Serializable", "check_documents", "check_positive"]
