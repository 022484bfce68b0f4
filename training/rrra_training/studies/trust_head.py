"""Weights of each query's own, from features of its list: a linear head that begins as one choice for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rrra_training.studies.judged_lists import FEATURES, PAIRS, JudgedLists

# How far a head may go from the choice for all: a factor of e^1.2 for the fusion weight, a sum for the lexical one.
_REACH = (1.2, 0.45)
# Widths of the neighbourhoods over which nDCG@10 is averaged, so that it has a gradient.
_WIDTHS = (0.35, 0.15)
_STEPS = 60
_OUTLIER = 3.0


@dataclass(frozen=True)
class Head:
    """
    A fitted head.

    :param columns: Which features it reads.
    :param common: Fusion and lexical weight where the features say nothing.
    :param mean: Of the features, shape ``[F]``.
    :param spread: Their standard deviations, shape ``[F]``.
    :param theta: Rows for the fusion and the lexical weight, shape ``[2, F + 1]``; 0 for the choice for all.
    """

    columns: tuple[int, ...]
    common: tuple[float, float]
    mean: np.ndarray
    spread: np.ndarray
    theta: Tensor

    def weights(self, lists: JudgedLists) -> tuple[np.ndarray, np.ndarray]:
        """Fusion and lexical weight of each query, each of shape ``[Q]``."""
        places = _places(_read(lists, self.columns, self.mean, self.spread), self.theta, self.common)
        return places[:, 0].exp().numpy(), places[:, 1].clamp_min(0).numpy()


def fit_head(
    every: Sequence[JudgedLists],
    features: Sequence[str],
    common: tuple[float, float],
    *,
    both: bool,
    decay: float,
) -> Head:
    """
    Fit a head to the nDCG@10 of collections, each counting the same.

    :param every: Lists of the collections.
    :param features: Names of the features that it reads.
    :param common: Fusion and lexical weight to begin with.
    :param both: Whether the fusion weight may change too.
    :param decay: How strongly the head is held to where it begins.
    """
    columns = tuple(FEATURES.index(name) for name in features)
    raw = [lists.features[:, columns] for lists in every]
    mean = np.mean([own.mean(axis=0) for own in raw], axis=0)
    spread = np.sqrt(np.mean([((own - mean) ** 2).mean(axis=0) for own in raw], axis=0)) + 1e-9
    read = torch.cat([_read(lists, columns, mean, spread) for lists in every])
    values = torch.from_numpy(np.concatenate([lists.grid for lists in every]))
    counts = torch.cat([torch.full((len(own),), 1 / (len(own) * len(every)), dtype=torch.float64) for own in raw])
    grid = torch.tensor([(np.log(fusion), lexical) for fusion, lexical in PAIRS], dtype=torch.float64)
    theta = torch.zeros(2, len(columns) + 1, dtype=torch.float64, requires_grad=True)
    free = torch.tensor([[float(both)], [1.0]], dtype=torch.float64)
    optimiser = torch.optim.LBFGS([theta], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        distance = (_places(read, theta * free, common)[:, None] - grid) / torch.tensor(_WIDTHS)
        near = (-(distance**2).sum(dim=2) / 2).softmax(dim=1)
        loss = decay * (theta**2).sum() - counts @ (near * values).sum(dim=1)
        loss.backward()
        return loss

    optimiser.step(closure)
    return Head(columns, common, mean, spread, (theta * free).detach())


def _read(lists: JudgedLists, columns: Sequence[int], mean: np.ndarray, spread: np.ndarray) -> Tensor:
    """Features as a head reads them, with a last column of ones, shape ``[Q, F + 1]``."""
    scaled = np.clip((lists.features[:, columns] - mean) / spread, -_OUTLIER, _OUTLIER)
    return torch.from_numpy(np.pad(scaled, ((0, 0), (0, 1)), constant_values=1.0))


def _places(read: Tensor, theta: Tensor, common: tuple[float, float]) -> Tensor:
    """Logarithm of the fusion weight, and the lexical weight, of each query, shape ``[Q, 2]``."""
    begin = torch.tensor([np.log(common[0]), common[1]], dtype=torch.float64)
    return begin + torch.tensor(_REACH, dtype=torch.float64) * torch.tanh(read @ theta.T)
