import numpy as np
import pytest
from rrra_training.judging.fitting import FUSION_WEIGHTS, calibration_features, fused
from rrra_training.judging.verdicts import Verdicts


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
