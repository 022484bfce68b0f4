from haystack_integrations.common.rrra.loading import shared_model

__all__ = ["shared_model"]
