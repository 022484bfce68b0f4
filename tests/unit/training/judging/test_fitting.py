import numpy as np
import pytest
from rrra_training.candidates.evidence import Labels
from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.judging.fitting import FUSION_WEIGHTS, calibration_features, fit, fused
from rrra_training.judging.verdicts import Verdicts
from sets import Sized


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
