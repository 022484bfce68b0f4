"""Token codes for documents that are in a store already."""

from rrra_haystack.enriching.adding_codes import Enriched, enrich

__all__ = ["Enriched", "enrich"]
