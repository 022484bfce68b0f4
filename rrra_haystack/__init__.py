"""RRRA: rerank what a bi-encoder retrieves with a light adapter over its own token states."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haystack_integrations.components.converters.rrra import RRRAFileToDocument
    from haystack_integrations.components.embedders.rrra import RRRADocumentEmbedder, RRRAEmbedder
    from haystack_integrations.components.preprocessors.rrra import RRRADocumentSplitter
    from haystack_integrations.components.rankers.rrra import RRRAAdapterRanker
    from haystack_integrations.components.readers.rrra import RRRAReader
    from haystack_integrations.components.retrievers.rrra import RRRARetriever
    from rrra_haystack.model.rrra_model import RRRAModel

__version__ = "0.1.0"

__all__ = [
    "RRRAAdapterRanker",
    "RRRADocumentEmbedder",
    "RRRADocumentSplitter",
    "RRRAEmbedder",
    "RRRAFileToDocument",
    "RRRAModel",
    "RRRAReader",
    "RRRARetriever",
]

# Imported when first used: Haystack takes seconds to import, and the model does not need it.
_HOMES = {
    "RRRAAdapterRanker": "haystack_integrations.components.rankers.rrra",
    "RRRADocumentEmbedder": "haystack_integrations.components.embedders.rrra",
    "RRRADocumentSplitter": "haystack_integrations.components.preprocessors.rrra",
    "RRRAEmbedder": "haystack_integrations.components.embedders.rrra",
    "RRRAFileToDocument": "haystack_integrations.components.converters.rrra",
    "RRRAModel": "rrra_haystack.model.rrra_model",
    "RRRAReader": "haystack_integrations.components.readers.rrra",
    "RRRARetriever": "haystack_integrations.components.retrievers.rrra",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
