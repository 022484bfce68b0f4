"""
False-negative detection: how probably a candidate is relevant, given a passage that is labelled relevant.

Reranking may not see the labelled positive; who looks for false negatives has it. Detection is a logistic regression on
features of the candidate in its list. Measured on hidden positives of sets that it was not fitted on, that finds more
than a network over the adapter's trunk; ``docs/detection.md`` has the figures.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

FEATURES = (
    "cosine",
    "z-score of the cosine",
    "relative rank",
    "similarity to the positive",
    "similarity to the centroid of the top 5",
    "density of the list",
    "lead over the positive",
    "cosine of the positive",
    "z-score of the adapter score",
    "z-score of the similarity to the positive",
)

# The first eight read the encoder alone.
ENCODER_FEATURES = 8


class Detection(BaseModel):
    """
    Logistic regression on :func:`list_features`.

    The defaults are those of the bundled adapter, fitted on hidden positives of the dev splits of MedQuAD, SciFact and
    Cranfield.

    :param weights: Log-odds per unit of each feature.
    :param intercept: Log-odds where all features are 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: tuple[float, ...] = Field(
        (-0.29, -0.18, -1.52, 3.38, 1.25, 2.3, 3.06, -3.6, 0.93, 0.28),
        min_length=len(FEATURES),
        max_length=len(FEATURES),
    )
    intercept: float = -5.64

    def log_odds(self, features: Tensor) -> Tensor:
        """
        Log-odds of relevance.

        :param features: Shape ``[n, 10]``.
        :returns: Shape ``[n]``.
        """
        return features @ torch.tensor(self.weights, dtype=features.dtype) + self.intercept

    def probability(self, features: Tensor) -> Tensor:
        """
        The false-negative probability s_FN.

        :param features: Shape ``[n, 10]``.
        :returns: Shape ``[n]``.
        """
        return torch.sigmoid(self.log_odds(features))


def list_features(query: Tensor, contexts: Tensor, positive: Tensor, adapter: Tensor) -> Tensor:
    """
    What detection reads of the candidates of a query; :data:`FEATURES` names the columns.

    :param query: Pooled embedding, shape ``[d]``.
    :param contexts: Pooled embeddings of the candidates, shape ``[n, d]``.
    :param positive: Pooled embedding of the labelled positive, which is not among the candidates, shape ``[d]``.
    :param adapter: Adapter scores of the candidates, shape ``[n]``.
    :returns: Shape ``[n, 10]``.
    """
    if not len(contexts):
        return contexts.new_zeros((0, len(FEATURES)))
    query, contexts, positive = (nn.functional.normalize(part, dim=-1) for part in (query, contexts, positive))
    base = contexts @ query
    own = (positive @ query).expand_as(base)
    rank = base.argsort(descending=True, stable=True).argsort().to(base) / len(base)
    near_positive = contexts @ positive
    centroid = nn.functional.normalize(contexts[base.topk(min(5, len(base))).indices].mean(dim=0), dim=-1)
    near = contexts @ centroid
    density = near.mean().expand_as(base)
    columns = (
        base, _deviation(base), rank, near_positive, near, density, base - own, own, _deviation(adapter),
        _deviation(near_positive),
    )  # fmt: skip
    return torch.stack(columns, dim=1)


def _deviation(values: Tensor) -> Tensor:
    """How many standard deviations each value lies above the mean."""
    return (values - values.mean()) / values.std(correction=0).clamp_min(1e-6)
