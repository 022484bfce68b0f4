"""A set of candidates small enough to be looked through by eye."""

import numpy as np
from rrra_training.candidates.evidence import Labels, Source
from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet, Positives


class Sized:
    """So many texts, of which nothing else is asked."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


def small_set() -> CandidateSet:
    rows = np.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [9, 8, 7, -1, -1, -1]])
    target = np.full(rows.shape, 0.02, np.float32)
    source = np.zeros(rows.shape, np.uint8)
    target[0, [0, 2]], source[0, [0, 2]] = 1.0, Source.QRELS
    target[1, 1], source[1, 1] = 1.0, Source.QRELS
    target[1, 3], source[1, 3] = 0.8, Source.NEAR_DUPLICATE
    positives = Positives(np.array([0, 2, 4, 30]), np.array([1, 1, 1, 1]), np.array([2, 3, 4]))
    mined = Mined(rows, np.linspace(1, 0.5, 18, dtype=np.float32).reshape(3, 6))
    return CandidateSet("d", Sized(40), Sized(3), mined, positives, Labels(target, source, 0.02), 1.0)
