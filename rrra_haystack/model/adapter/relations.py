"""What is read of two representations side by side."""

import torch
from torch import Tensor, nn

from rrra_haystack.model.segments import Segments


def places(similarity: Tensor, best: Tensor, segments: Segments) -> Tensor:
    """
    Where the best-matching token of each candidate stands for each query token.

    :param similarity: Shape ``[m, T]``.
    :param best: Highest similarity of each candidate, shape ``[n, m]``.
    :param segments: Which tokens belong to which candidate.
    :returns: Places among the T tokens, shape ``[n, m]``; -1 where a candidate has no token.
    """
    owner = segments.owner.to(similarity.device)
    found = torch.full(best.shape, -1, dtype=torch.int64, device=best.device)
    query_token, token = (similarity == best.T[:, owner]).nonzero(as_tuple=True)
    # Of equals the first counts: what is written last stays.
    query_token, token = query_token.flip(0), token.flip(0)
    found[owner[token], query_token] = token
    return found


def contrast_weights(match: Tensor) -> Tensor:
    """
    How well the match of each query token tells the candidates apart.

    The square root of how far its best candidate stands above the mean candidate. A token that every candidate
    matches equally ("what", or the topic that all share) says nothing about their order. Chosen on dev splits against
    other powers and measures of spread; ``docs/untrained.md`` has the table.

    :param match: Score of the best-matching context token of each query token, shape ``[n, m]``.
    :returns: Shape ``[m]``; they sum to 1, and are equal if no token tells the candidates apart.
    """
    if len(match) == 0:
        return torch.full((match.shape[1],), 1 / max(match.shape[1], 1), dtype=match.dtype, device=match.device)
    contrast = (match.amax(dim=0) - match.mean(dim=0)).clamp_min(1e-6).sqrt()
    return contrast / contrast.sum()


def relation_product(layer: nn.Linear, query: Tensor, context: Tensor) -> Tensor:
    """
    ``layer([q-c, q*c, q+c])`` without forming the relation.

    With W = [W1|W2|W3], W z = (W1+W3) q + ((W3-W1) + W2 * q) c. The product with the query part is made once a query
    (or query token); the context is read once rather than three times.

    :param layer: Linear layer from ``3 * d`` to k dimensions.
    :param query: Shape ``[d]``, or ``[m, d]`` for m query tokens.
    :param context: Shape ``[n, d]``, or ``[n, m, d]``.
    :returns: Shape ``[n, k]``, or ``[n, m, k]``.
    """
    difference, product, total = layer.weight.chunk(3, dim=1)
    constant = nn.functional.linear(query, difference + total, layer.bias)
    if query.ndim == 1:
        return constant + context @ torch.addcmul(total - difference, product, query).T
    # One matrix a query token would be larger than the relation itself; two products are the cheaper exact form.
    return constant + context @ (total - difference).T + (context * query) @ product.T
