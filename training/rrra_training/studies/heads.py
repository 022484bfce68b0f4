"""Reranking heads that see nothing but the pooled embeddings: the baselines that keep the adapter honest."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rrra_training.candidates.lists import ListConfig, draw_lists, draw_set
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.phases.adapter.losses import listwise_loss

_LISTS_AT_ONCE = 64
# Of Adam, at first; it falls linearly.
_LEARNING_RATE = 1e-3


def logistic_head(train: Sequence[CandidateSet], dev: Sequence[CandidateSet]) -> dict[str, np.ndarray]:
    """
    Logistic regression of relevance on what an encoder's score says, fitted on all mined candidates of train queries.

    :returns: Scores of the mined candidates of each dev set, shape ``[Q, k]``; -inf where there are fewer than k.
    """
    x, y = [], []
    for data in train:
        present = _present(data)
        x.append(_cheap_features(data)[present])
        y.append(torch.from_numpy(relevance_of(data))[present].float())
    features, relevant = torch.cat(x), torch.cat(y)
    center, spread = features.mean(dim=0), features.std(dim=0)
    layer = nn.Linear(3, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logit = layer((features - center) / spread)[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logit, relevant)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = {}
    for data in dev:
        with torch.inference_mode():
            scores = layer((_cheap_features(data) - center) / spread)[..., 0]
        found[data.name] = scores.masked_fill(~_present(data), -torch.inf).numpy()
    return found


def _present(data: CandidateSet) -> Tensor:
    """Where there is a candidate, shape ``[Q, k]``, bool."""
    return torch.from_numpy(np.asarray(data.mined.rows) >= 0)


def _cheap_features(data: CandidateSet) -> Tensor:
    """
    Cosine, z-score and rank of each mined candidate in its list, shape ``[Q, k, 3]``; the rank as its logarithm.

    Where there is no candidate they are finite, and say nothing.
    """
    present = _present(data)
    scores = torch.from_numpy(np.array(data.mined.scores)).masked_fill(~present, 0)
    count = present.sum(dim=1, keepdim=True)
    centred = (scores - scores.sum(dim=1, keepdim=True) / count.clamp_min(1)).masked_fill(~present, 0)
    spread = (centred.square().sum(dim=1, keepdim=True) / (count - 1).clamp_min(1)).sqrt()
    deviation = centred / spread.clamp_min(1e-6)
    rank = torch.arange(1, scores.shape[1] + 1, dtype=scores.dtype).log().expand_as(scores)
    return torch.stack([scores, deviation, rank], dim=2)


def bilinear_head(
    train: Sequence[CandidateSet],
    dev: Sequence[CandidateSet],
    lists: ListConfig,
    *,
    steps: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """
    A linear map of the query's embedding, q' = q + W q, trained with the listwise loss: it folds into that embedding.

    :param train: What to learn from.
    :param dev: What to score.
    :param lists: How training lists are put together.
    :param steps: Batches of 64 queries.
    :param seed: Seed of the draws.
    :returns: Scores of the mined candidates of each dev set, shape ``[Q, k]``; -inf where there are fewer than k.
    """
    dimension = train[0].passages.pooled.shape[1]
    layer = nn.Linear(dimension, dimension, bias=False)
    nn.init.zeros_(layer.weight)
    log_scale = nn.Parameter(torch.tensor(20.0).log())
    optimiser = torch.optim.Adam([*layer.parameters(), log_scale], lr=_LEARNING_RATE)
    for step in range(steps):
        generator = np.random.default_rng([seed, step])
        data = train[draw_set(train, generator)]
        queries = generator.choice(len(data), size=min(_LISTS_AT_ONCE, len(data)), replace=False)
        drawn = draw_lists(data, queries, lists, generator)
        query = torch.from_numpy(data.queries.pooled[queries])
        contexts = torch.from_numpy(data.passages.pooled[drawn.rows])
        scores = torch.einsum("bd,bnd->bn", nn.functional.normalize(query + layer(query), dim=-1), contexts)
        loss = listwise_loss(scores * log_scale.exp(), torch.from_numpy(drawn.target))
        optimiser.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        return {data.name: _bilinear_scores(layer, data) for data in dev}


def _bilinear_scores(layer: nn.Linear, data: CandidateSet) -> np.ndarray:
    query = torch.from_numpy(np.array(data.queries.pooled))
    mapped = nn.functional.normalize(query + layer(query), dim=-1).numpy()
    rows = np.asarray(data.mined.rows)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    for number, own in enumerate(rows):
        present = own >= 0
        scores[number, present] = data.passages.pooled[own[present]] @ mapped[number]
    return scores
