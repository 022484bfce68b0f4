from dataclasses import replace

import numpy as np
import pytest
import torch
from rrra_training.candidates.evidence import Labels
from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.judging.fitting import (
    FUSION_WEIGHTS,
    UNTRAINED_WEIGHTS,
    calibration_features,
    fit,
    fit_calibration,
    fused,
)
from rrra_training.judging.verdicts import Verdicts
from sets import Sized

from rrra_haystack.model.scoring import Calibration


@pytest.mark.parametrize("fusion_weight", FUSION_WEIGHTS)
@pytest.mark.parametrize("lexical_weight", [0.0, 0.5])
def test_where_no_candidate_is_the_score_is_the_lowest(fusion_weight: float, lexical_weight: float) -> None:
    base = np.asarray([[-0.2, -0.1, -np.inf], [-0.3, -np.inf, -np.inf]], dtype=np.float32)
    lexical = np.asarray([[0.2, 0.0, 0.0], [0.1, 0.0, 0.0]], dtype=np.float32)
    verdicts = Verdicts(base, base, base, lexical)
    present = np.isfinite(base)
    scores = fused(verdicts, fusion_weight, lexical_weight)
    assert scores[present].min() > scores[~present].max()
    # The gap to the best score is that to the best candidate.
    gaps = calibration_features(verdicts, fusion_weight, lexical_weight)[..., 1].numpy()
    assert gaps[present].reshape(-1).max() == gaps[1, 0] == 0


def judged(name: str, queries: int, base_gain: float, adapter_gain: float) -> tuple[CandidateSet, Verdicts]:
    """Random scores of 20 candidates a query, with a gain for the relevant one."""
    generator = np.random.default_rng(0)
    right = generator.integers(20, size=queries)
    gains = []
    for gain in (base_gain, adapter_gain):
        scores = generator.normal(0.4, 0.1, (queries, 20))
        scores[np.arange(queries), right] += gain
        gains.append(np.clip(scores, -0.95, 0.95).astype(np.float32))
    base, adapter = gains
    rows = np.tile(np.arange(20), (queries, 1))
    positives = Positives(right, np.ones(queries, dtype=int), np.arange(1, queries + 1))
    nothing = np.zeros_like(base)
    labels = Labels(nothing, nothing.astype(np.uint8), 0.0)
    data = CandidateSet(name, Sized(20), Sized(queries), Mined(rows, base), positives, labels, 1.0)
    return data, Verdicts(base, adapter, nothing, nothing)


@pytest.mark.parametrize("former", [0.1, 5, 30, 300])
def test_what_a_calibration_stays_near_is_worth_a_few_labels_however_wrong_it_is(former: float) -> None:
    generator = np.random.default_rng(0)

    def lists(queries: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Lists whose best candidate is the right one in two of three."""
        relevant = np.zeros((queries, 100), dtype=np.float32)
        relevant[:, 0] = 1
        scores = generator.normal(size=relevant.shape) + 3 * relevant
        gaps = scores - scores.max(axis=1, keepdims=True)
        features = np.stack([scores, gaps, generator.normal(size=relevant.shape)], axis=2).astype(np.float32)
        return torch.from_numpy(features), torch.from_numpy(relevant)

    features, relevant = lists(30)
    fitted = fit_calibration(
        features.flatten(0, 1), relevant.flatten(), torch.full((relevant.numel(),), 1 / relevant.numel()),
        Calibration(slope=former, gap_slope=former, intercept=-3 * former, outcome_slope=0.1),
    )  # fmt: skip
    features, relevant = lists(1000)
    scores, gaps, logits = features.unbind(dim=2)
    first = gaps == 0
    told = float(fitted.probability(scores, logits)[first].mean())
    assert told == pytest.approx(float(relevant[first].mean()), abs=0.12)


def test_a_small_set_does_not_take_the_others_below_their_encoder() -> None:
    small, helped = judged("small", 25, 0.02, 0.2)
    large, harmed = judged("large", 2000, 0.5, -0.1)
    verdicts = {"small": helped, "large": harmed}

    def mean(found: dict[str, dict[float, float]], weight: float) -> float:
        return float(np.average([found[name][weight] for name in verdicts], weights=np.sqrt([25, 2000])))

    # What an equal sum reaches on the small set costs the large one more.
    table = fit([small, large], verdicts, lexical_weights=(0.0,)).table
    floors = {"small": table["small"][1.0], "large": table["large"][1.0]}
    assert mean(table, 1.0) < mean(table, 0.0)
    found = fit([small, large], verdicts, floors, lexical_weights=(0.0,))
    assert mean(found.table, found.fusion_weight) >= mean(found.table, 0.0)
    # Where the encoder is no better, the floor decides.
    alone = fit([small], verdicts, floors, lexical_weights=(0.0,))
    assert alone.table["small"][alone.fusion_weight] >= floors["small"]


def test_where_all_weights_are_equally_good_the_former_ones_are_kept() -> None:
    data, verdicts = judged("easy", 10, 5.0, 5.0)
    verdicts = replace(verdicts, base=np.where(verdicts.base < 0.95, -0.5, 0.9).astype(np.float32))
    for former in (UNTRAINED_WEIGHTS, (3.5, 0.3), (0.0, 0.0)):
        found = fit([data], {"easy": verdicts}, former=former)
        assert set(found.table["easy"].values()) == {1.0}
        assert (found.fusion_weight, found.lexical_weight) == former
    # Those that are better are taken all the same.
    data, verdicts = judged("hard", 200, 0.0, 0.3)
    assert fit([data], {"hard": verdicts}, former=(0.0, 0.0)).fusion_weight > 0


FORMER = Calibration(slope=4.9, gap_slope=8.0, intercept=-4.3, outcome_slope=0.3)


def drawn(lists: int, truth: Calibration) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of lists of 20 candidates, and whether each is relevant, as a calibration says."""
    generator = torch.Generator().manual_seed(0)
    scores = 0.2 + 0.15 * torch.randn(lists, 20, generator=generator)
    logits = 0.5 * torch.randn(lists, 20, generator=generator)
    features = truth.features(scores, logits).flatten(0, 1)
    return features, torch.bernoulli(truth.probability(scores, logits), generator=generator).flatten()


def test_slopes_are_bounded_where_relevant_candidates_are_parted_from_others_without_a_fault() -> None:
    features, _ = drawn(50, FORMER)
    gaps = features[:, 1]
    found = fit_calibration(features, (gaps == 0).float(), torch.full_like(gaps, 1 / len(gaps)), FORMER)
    assert found.gap_slope < 5 * FORMER.gap_slope
    assert found.outcome_slope < 3
    # However many candidates there are beside them, and whatever the weights sum up to.
    again = fit_calibration(features, (gaps == 0).float(), torch.full_like(gaps, 3.0), FORMER)
    assert again.model_dump() == pytest.approx(found.model_dump(), rel=0.02)


def test_thousands_of_lists_say_themselves_what_the_slopes_are() -> None:
    truth = Calibration(slope=9, gap_slope=6.2, intercept=-5, outcome_slope=1)
    features, relevant = drawn(4000, truth)
    weights = torch.full_like(relevant, 1 / len(relevant))
    near, far = (
        fit_calibration(features, relevant, weights, former)
        for former in (truth, Calibration(slope=2, gap_slope=20, intercept=0, outcome_slope=0))
    )
    assert far.model_dump() == pytest.approx(near.model_dump(), rel=0.02)
    assert far.model_dump() == pytest.approx(truth.model_dump(), rel=0.1)
