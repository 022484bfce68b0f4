"""Weights and calibration, chosen for each held-out query on the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from rrra_haystack.model.scoring import Calibration
from rrra_training.choosing.held_out import HeldOut
from rrra_training.judging.fitting import (
    FUSION_WEIGHTS,
    LEXICAL_WEIGHTS,
    calibration_features,
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

    def scores(self, looks: Mapping[int, Verdicts]) -> np.ndarray:
        """Reranking scores of all candidates, shape ``[Q, k]``."""
        return fused(looks[self.steps], self.fusion_weight, self.lexical_weight)


def choose(queries: HeldOut, looks: Mapping[int, Verdicts]) -> tuple[Choice, np.ndarray]:
    """
    Choose steps and weights by the held-out queries.

    :param queries: The queries.
    :param looks: Verdicts on them by the number of steps.
    :returns: The choice by all queries; and reranking scores of shape ``[Q, k]`` in which the scores of each query are
        by the choice of the other parts, so that no query is judged by a choice that it had a say in.
    """
    choices = [Choice(steps, *weights) for steps, weights in product(looks, product(FUSION_WEIGHTS, LEXICAL_WEIGHTS))]
    reached = np.stack([ndcg(queries.grades, queries.ideal, one.scores(looks)) for one in choices])
    scores = np.empty(queries.rows.shape, dtype=np.float32)
    for part in np.unique(queries.fold):
        own = queries.fold == part
        scores[own] = choices[int(reached[:, ~own].mean(axis=1).argmax())].scores(looks)[own]
    return choices[int(reached.mean(axis=1).argmax())], scores


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

    :param queries: The queries.
    :param verdicts: Verdicts on them.
    :param choice: The weights.
    :param before: The calibration before.
    """
    features = calibration_features(verdicts, choice.fusion_weight, choice.lexical_weight)
    present, relevant = queries.rows >= 0, torch.from_numpy((queries.grades > 0).astype(np.float32))

    def fitted(chosen: np.ndarray) -> Calibration:
        there = present & chosen[:, None]
        return fit_calibration(features[there], relevant[there], torch.full((int(there.sum()),), 1 / there.sum()))

    def probability(by: Calibration, number: int) -> np.ndarray:
        scores, _, logit = features[number].T
        return by.probability(scores, logit).numpy()

    others = {int(part): fitted(queries.fold != part) for part in np.unique(queries.fold)}
    errors = []
    for by in (lambda number: others[int(queries.fold[number])], lambda _: before):
        told = np.stack([probability(by(number), number) for number in range(len(queries))])
        errors.append(expected_calibration_error(told[present], relevant.numpy()[present]))
    return Calibrated(fitted(np.ones(len(queries), dtype=bool)), *errors)
