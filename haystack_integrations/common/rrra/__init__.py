from haystack_integrations.common.rrra.checks import check_documents, check_positive, check_threshold
from haystack_integrations.common.rrra.embedded_query import EmbeddedQuery
from haystack_integrations.common.rrra.loading import LoadsModel
from haystack_integrations.common.rrra.options import options_of
from haystack_integrations.common.rrra.serialization import Serializable
from haystack_integrations.common.rrra.unread import unread_tokens

__all__ = [
    "EmbeddedQuery",
    "LoadsModel",
    "Serializable",
    "check_documents",
    "check_positive",
    "check_threshold",
    "options_of",
    "unread_tokens",
]
