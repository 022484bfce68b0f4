"""Weights and calibration, chosen for each held-out query on the others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.scoring import Calibration
from rrra_training.choosing.held_out import HeldOut
from rrra_training.judging.fitting import (
    FUSION_WEIGHTS,
    LEXICAL_WEIGHTS,
    calibration_features,
    distance,
    fit_calibration,
    fused,
)
from rrra_training.judging.verdicts import Verdicts
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.measures.ranking import ndcg


@dataclass(frozen=True)
class Choice:
    """
    What is chosen of an adapter that was looked at after several numbers of steps.

    :param steps: After how many it is taken.
    :param fusion_weight: The exponent lambda.
    :param lexical_weight: How much the words in common add to the adapter score.
    """

    steps: int
    fusion_weight: float
    lexical_weight: float

    @classmethod
    def of(cls, model: RRRAModel) -> "Choice":
        """What a model has."""
        return cls(0, model.config.fusion_weight, model.config.lexical_weight)

    def scores(self, looks: Mapping[int, Verdicts]) -> np.ndarray:
        """Reranking scores of all candidates, shape ``[Q, k]``."""
        return fused(looks[self.steps], self.fusion_weight, self.lexical_weight)


def choose(queries: HeldOut, looks: Mapping[int, Verdicts], former: Choice) -> tuple[Choice, np.ndarray]:
    """
    Choose steps and weights by the held-out queries; of weights that are equally good, those nearest the former ones.

    :param queries: The queries.
    :param looks: Verdicts on them by the number of steps.
    :param former: The weights of the model that was begun with.
    :returns: The choice by all queries; and reranking scores of shape ``[Q, k]`` in which the scores of each query are
        by the choice of the other parts, so that no query is judged by a choice that it had a say in.
    """
    begun = former.fusion_weight, former.lexical_weight
    weights = sorted([begun, *product(FUSION_WEIGHTS, LEXICAL_WEIGHTS)], key=lambda own: distance(own, begun))
    choices = [Choice(steps, *own) for own, steps in product(weights, looks)]
    reached = np.stack([ndcg(queries.grades, queries.ideal, one.scores(looks)) for one in choices])
    scores = np.empty(queries.rows.shape, dtype=np.float32)
    for part in np.unique(queries.fold):
        own = queries.fold == part
        scores[own] = choices[_best(reached[:, ~own])].scores(looks)[own]
    return choices[_best(reached)], scores


def _best(reached: np.ndarray) -> int:
    """The first of the best choices, given what each query reaches with each, shape ``[n, Q]``."""
    return int(reached.mean(axis=1).round(6).argmax())


@dataclass(frozen=True)
class Calibrated:
    """
    A calibration fitted to the held-out queries.

    :param calibration: Fitted to all of them.
    :param error: Calibration error where each part is judged by what the others say.
    :param error_before: That of the calibration before.
    """

    calibration: Calibration
    error: float
    error_before: float


def calibrate(queries: HeldOut, verdicts: Verdicts, choice: Choice, before: Calibration) -> Calibrated:
    """
    Fit the calibration to the held-out queries. A candidate that is not labelled counts as irrelevant.

    Every labelled query has an answer, so the labels alone say that the best candidate of a list is a right one. Each
    list counts once more without its relevant candidates, as that of a question which nothing answers.

    :param queries: The queries.
    :param verdicts: Verdicts on them.
    :param choice: The weights.
    :param before: The calibration before; slopes stay near its own where queries are few.
    """
    is_relevant, is_there = queries.grades > 0, queries.rows >= 0
    without = replace(verdicts, base=np.where(is_relevant, -np.inf, verdicts.base).astype(np.float32))
    lists = [calibration_features(one, choice.fusion_weight, choice.lexical_weight) for one in (verdicts, without)]
    features = torch.cat(lists)
    present = np.concatenate([is_there, is_there & ~is_relevant])
    relevant = torch.from_numpy(np.concatenate([is_relevant, np.zeros_like(is_relevant)])).float()
    fold = np.tile(queries.fold, 2)

    def fitted(chosen: np.ndarray) -> Calibration:
        there = present & chosen[:, None]
        return fit_calibration(
            features[there], relevant[there], torch.full((int(there.sum()),), 1 / there.sum()), before
        )

    def error(probability: np.ndarray) -> float:
        return expected_calibration_error(probability[present], relevant.numpy()[present])

    scores, _, logits = features.unbind(dim=2)
    told = np.empty(present.shape, dtype=np.float32)
    for part in np.unique(fold):
        own = fold == part
        told[own] = fitted(~own).probability(scores[own], logits[own]).numpy()
    return Calibrated(
        fitted(np.ones(len(fold), dtype=bool)), error(told), error(before.probability(scores, logits).numpy())
    )
