"""What is fitted on dev after training: fusion and lexical weight, and the calibration of the relevance probability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from ir_measures import Measure
from torch import Tensor, nn

from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.loading import UNTRAINED_LEXICAL_WEIGHT
from rrra_haystack.model.scoring import Calibration, reranking_score
from rrra_training.candidates.sets import CandidateSet, grades_of, relevance_of
from rrra_training.judging.verdicts import Verdicts
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.measures.ranking import MEASURES, ideal_gains, ndcg, per_query

# 0 stands for the encoder alone: a model that does not help on dev does not rerank.
FUSION_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 8.0, 12.0, 20.0)
# 0 stands for no words.
LEXICAL_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2)
# Log-odds for a feature that is one of its deviations higher: a former slope that says more, twenty to one, is not
# believed. Those of rrra-minilm-l6 say about one at most on parts of Cranfield and TIME.
_STEEPEST = 3.0
# Fusion and lexical weight where no model says others.
UNTRAINED_WEIGHTS: tuple[float, float] = (RRRAConfig.model_fields["fusion_weight"].default, UNTRAINED_LEXICAL_WEIGHT)
_UNTRAINED: Calibration = RRRAConfig.model_fields["calibration"].default


@dataclass(frozen=True)
class Fit:
    """
    What was fitted.

    :param fusion_weight: The exponent lambda.
    :param lexical_weight: How much the words in common add to the adapter score.
    :param calibration: From reranking scores to probabilities.
    :param table: nDCG@10 by set and fusion weight, at the lexical weight that was chosen.
    :param calibration_error: Expected calibration error by set.
    """

    fusion_weight: float
    lexical_weight: float
    calibration: Calibration
    table: dict[str, dict[float, float]]
    calibration_error: dict[str, float]


def fit(
    sets: Sequence[CandidateSet],
    verdicts: Mapping[str, Verdicts],
    floors: Mapping[str, float] | None = None,
    *,
    lexical_weights: Sequence[float] = LEXICAL_WEIGHTS,
    former: tuple[float, float] = UNTRAINED_WEIGHTS,
) -> Fit:
    """
    Fit fusion weight, lexical weight and calibration.

    The weights are those with the highest mean nDCG@10 over the sets, among those that leave the sets least below
    their floors; none whose mean is below that of the encoder alone, and of equally good ones those nearest the former
    ones. A set counts by the square root of its queries:
    the mean of few queries is uncertain.

    :param sets: Dev sets.
    :param verdicts: The adapter's verdicts on each, by the set's name.
    :param floors: nDCG@10 by set that must be reached, such as that of the untrained forms.
    :param lexical_weights: The lexical weights to choose from.
    :param former: Fusion and lexical weight before.
    """
    found = {data.name: _by_weights(data, verdicts[data.name], lexical_weights) for data in sets}
    floors = floors or {}
    counts = np.sqrt([len(data) for data in sets])

    def mean(weights: tuple[float, float]) -> float:
        return float(np.average([values[weights] for values in found.values()], weights=counts))

    def worth(weights: tuple[float, float]) -> tuple[float, float]:
        shortfall = sum(max(floors.get(name, 0.0) - values[weights], 0.0) for name, values in found.items())
        return -round(shortfall, 4), round(mean(weights), 6)

    encoder = mean((0.0, lexical_weights[0]))
    helpful = [own for own in product(FUSION_WEIGHTS, lexical_weights) if mean(own) >= encoder]
    best = max(sorted(helpful, key=lambda own: distance(own, former)), key=worth)
    calibration = _fit_calibration(sets, verdicts, *best)
    errors = {data.name: _error(data, verdicts[data.name], *best, calibration) for data in sets}
    table = {
        name: {fusion: value for (fusion, lexical), value in values.items() if lexical == best[1]}
        for name, values in found.items()
    }
    return Fit(*best, calibration, table, errors)


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """How far fusion and lexical weight are from others; of a fusion weight its share for the adapter counts."""
    shares = [fusion / (1 + fusion) for fusion, _ in (one, other)]
    return abs(shares[0] - shares[1]) + abs(one[1] - other[1])


def fused(verdicts: Verdicts, fusion_weight: float, lexical_weight: float = 0.0) -> np.ndarray:
    """Reranking scores of all candidates, shape ``[Q, k]``; the lowest where there is none."""
    base, adapter = torch.from_numpy(verdicts.base), torch.from_numpy(verdicts.with_words(lexical_weight))
    scores = reranking_score(base, adapter, fusion_weight)
    # There the parts are minus infinity, of which a weight of 0 would make no number.
    return scores.masked_fill(base.isneginf(), -1e9).numpy()


def _by_weights(
    data: CandidateSet, verdicts: Verdicts, lexical_weights: Sequence[float]
) -> dict[tuple[float, float], float]:
    """Mean nDCG@10 of reranking a set's candidates, by fusion and lexical weight."""
    judged = [data.positives.judged(number) for number in range(len(data))]
    grades, ideal = grades_of(np.asarray(data.mined.rows), judged), ideal_gains(own.values() for own in judged)
    return {
        weights: float(ndcg(grades, ideal, fused(verdicts, *weights)).mean())
        for weights in product(FUSION_WEIGHTS, lexical_weights)
    }


def measured(
    data: CandidateSet, scores: np.ndarray, measures: Mapping[str, Measure] = MEASURES
) -> dict[str, np.ndarray]:
    """All measures of each query, of reranking the mined candidates by scores of shape ``[Q, k]``."""
    judged, run = {}, {}
    for number, (rows, own) in enumerate(zip(np.asarray(data.mined.rows), scores, strict=True)):
        judged[str(number)] = {str(row): grade for row, grade in data.positives.judged(number).items()}
        run[str(number)] = {str(row): float(score) for row, score in zip(rows, own, strict=True) if row >= 0}
    return per_query(judged, run, measures)


def _fit_calibration(
    sets: Sequence[CandidateSet], verdicts: Mapping[str, Verdicts], fusion_weight: float, lexical_weight: float = 0.0
) -> Calibration:
    """
    Logistic regression of relevance on score, gap to the best score and the adapter's log-odds, with slopes >= 0.

    Every set counts alike. A candidate that is not judged counts as irrelevant.

    :param sets: Dev sets.
    :param verdicts: Verdicts on each.
    :param fusion_weight: The exponent lambda.
    :param lexical_weight: How much the words in common add to the adapter score.
    """
    features, relevant, weights = [], [], []
    for data in sets:
        own, is_relevant = _features(data, verdicts[data.name], fusion_weight, lexical_weight)
        features.append(own)
        relevant.append(is_relevant)
        weights.append(torch.full((len(own),), 1 / max(len(own), 1)))
    return fit_calibration(torch.cat(features), torch.cat(relevant), torch.cat(weights), _UNTRAINED)


def fit_calibration(features: Tensor, relevant: Tensor, weights: Tensor, former: Calibration) -> Calibration:
    """
    Fit a calibration to c candidates, near a former one where they are few.

    Where scores part relevant candidates from others without a fault, as in small collections, slopes without bound
    fit best, which call whatever is found first relevant. So a slope is taken to be normally distributed about the
    former one: with a deviation of one in the log-odds, for a feature that is one of its own deviations higher. That
    is worth no more than a few labels, and is nothing beside thousands. A former slope without bound would be worth
    any number of them, so it counts as three such deviations at most.

    :param features: Of :func:`calibration_features`, shape ``[c, 3]``.
    :param relevant: Whether each is relevant, shape ``[c]``.
    :param weights: How much each counts, shape ``[c]``.
    :param former: What its slopes stay near.
    """
    x, y, w = features.double(), relevant.double(), weights.double()
    raw = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    intercept = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scale = x.std(dim=0).clamp_min(1e-3)
    known = (scale * scale.new_tensor([former.slope, former.gap_slope, former.outcome_slope])).clamp_max(_STEEPEST)
    optimiser = torch.optim.LBFGS([raw, intercept], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        slopes = nn.functional.softplus(raw)
        losses = nn.functional.binary_cross_entropy_with_logits((x / scale) @ slopes + intercept, y, reduction="none")
        loss = (w * losses).sum() + w.mean() * (slopes - known).square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, gap_slope, outcome_slope = (nn.functional.softplus(raw) / scale).tolist()
    return Calibration(
        slope=max(slope, 1e-6), gap_slope=gap_slope, intercept=float(intercept.detach()), outcome_slope=outcome_slope
    )


def _error(
    data: CandidateSet, verdicts: Verdicts, fusion_weight: float, lexical_weight: float, calibration: Calibration
) -> float:
    scores = torch.from_numpy(fused(verdicts, fusion_weight, lexical_weight))
    told = calibration.probability(scores, torch.from_numpy(verdicts.relevance_logit)).numpy()
    present = np.asarray(data.mined.rows) >= 0
    return expected_calibration_error(told[present], relevance_of(data)[present])


def _features(
    data: CandidateSet, verdicts: Verdicts, fusion_weight: float, lexical_weight: float
) -> tuple[Tensor, Tensor]:
    present = np.asarray(data.mined.rows) >= 0
    features = calibration_features(verdicts, fusion_weight, lexical_weight)[present]
    return features, torch.from_numpy(relevance_of(data)[present]).float()


def calibration_features(verdicts: Verdicts, fusion_weight: float, lexical_weight: float) -> Tensor:
    """What a calibration reads of each candidate: score, gap to the best one, log-odds; shape ``[Q, k, 3]``."""
    scores = torch.from_numpy(fused(verdicts, fusion_weight, lexical_weight))
    return Calibration.features(scores, torch.from_numpy(verdicts.relevance_logit))
