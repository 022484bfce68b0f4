"""
False-negative detection: how probably a candidate is relevant, given a passage that is labelled relevant.

Reranking may not see the labelled positive; who looks for false negatives has it. Detection is a logistic regression on
features of the candidate in its list. Measured on hidden positives of sets that it was not fitted on, that finds more
than a network over the adapter's trunk; ``docs/detection.md`` has the figures.
"""

import torch
from pydantic import BaseModel, ConfigDict, field_validator
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
    "similarity to its 5 nearest, the positive among them",
    "similarity to the centroid of the positive and the adapter's top 5",
    "share of the list nearer to it than the positive",
    "z-score of the words of the positive",
    "labels of other queries",
)

# What other queries are labelled with is a log-likelihood ratio. It counts for less than 1, because the features beside
# it say a part of the same, and it is not fitted: in one set it speaks for a candidate, in the next against it.
SHARED_LABELS_WEIGHT = 0.6

_NEIGHBOURS = 5


class Detection(BaseModel):
    """
    Logistic regression on :func:`list_features`.

    The defaults are those of the bundled adapter, fitted on hidden positives of the dev splits of MedQuAD, SciFact and
    Cranfield.

    :param weights: Log-odds per unit of each feature.
    :param intercept: Log-odds where all features are 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weights: tuple[float, ...] = (
        1.71, -0.27, -1.6, -1.77, 1.49, 1.26, 3.29, -2.72, 0.62, 0.04, -4.62, 8.54, -1.23, 0.15, SHARED_LABELS_WEIGHT,
    )  # fmt: skip
    intercept: float = -5.4

    @field_validator("weights")
    @classmethod
    def _has_one_a_feature(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(weights) != len(FEATURES):
            msg = f"detection has {len(FEATURES)} weights, one a feature, but {len(weights)} were given"
            raise ValueError(msg)
        return weights

    def log_odds(self, features: Tensor) -> Tensor:
        """
        Log-odds of relevance.

        :param features: Shape ``[n, 15]``.
        :returns: Shape ``[n]``.
        """
        return features @ torch.tensor(self.weights, dtype=features.dtype) + self.intercept

    def probability(self, features: Tensor) -> Tensor:
        """
        The false-negative probability s_FN.

        :param features: Shape ``[n, 15]``.
        :returns: Shape ``[n]``.
        """
        return torch.sigmoid(self.log_odds(features))


def list_features(
    query: Tensor, contexts: Tensor, positive: Tensor, adapter: Tensor, words: Tensor, shared: Tensor | None = None
) -> Tensor:
    """
    What detection reads of the candidates of a query; :data:`FEATURES` names the columns.

    :param query: Pooled embedding, shape ``[d]``.
    :param contexts: Pooled embeddings of the candidates, shape ``[n, d]``.
    :param positive: Pooled embedding of the labelled positive, which is not among the candidates, shape ``[d]``.
    :param adapter: Adapter scores of the candidates, shape ``[n]``.
    :param words: Lexical scores (:func:`~rrra_haystack.model.lexical.lexical_scores`) of the candidates with the
        positive as the query, shape ``[n]``.
    :param shared: Log-likelihood ratios of what other queries are labelled with, shape ``[n]``; 0 if it is not known.
    :returns: Shape ``[n, 15]``.
    """
    count = len(contexts)
    if not count:
        return contexts.new_zeros((0, len(FEATURES)))
    query, contexts, positive = (nn.functional.normalize(part, dim=-1) for part in (query, contexts, positive))
    base = contexts @ query
    own = (positive @ query).expand_as(base)
    rank = base.argsort(descending=True, stable=True).argsort().to(base) / count
    near_positive = contexts @ positive
    near = contexts @ _centroid(_top(contexts, base))
    density = near.mean().expand_as(base)
    found = contexts @ _centroid(torch.cat([_top(contexts, adapter).mean(dim=0, keepdim=True), positive[None]]))
    among = contexts @ contexts.T
    among.fill_diagonal_(-1)
    nearer = (among > near_positive[:, None]).sum(dim=1) / count
    around = torch.cat([among, near_positive[:, None]], dim=1)
    nearest = around.topk(min(_NEIGHBOURS, count), dim=1).values.mean(dim=1)
    columns = (
        base, _deviation(base), rank, near_positive, near, density, base - own, own, _deviation(adapter),
        _deviation(near_positive), nearest, found, nearer, _deviation(words),
        torch.zeros_like(base) if shared is None else shared,
    )  # fmt: skip
    return torch.stack(columns, dim=1)


def _top(contexts: Tensor, scores: Tensor) -> Tensor:
    """The five candidates of the highest score, or all if there are fewer."""
    return contexts[scores.topk(min(_NEIGHBOURS, len(scores))).indices]


def _centroid(embeddings: Tensor) -> Tensor:
    return nn.functional.normalize(embeddings.mean(dim=0), dim=-1)


def _deviation(values: Tensor) -> Tensor:
    """How many standard deviations each value lies above the mean."""
    return (values - values.mean()) / values.std(correction=0).clamp_min(1e-6)
