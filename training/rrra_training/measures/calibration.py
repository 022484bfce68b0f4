"""Whether probabilities say how often something is so."""

import numpy as np

_BINS = 15


def expected_calibration_error(probability: np.ndarray, relevant: np.ndarray) -> float:
    """
    Mean difference of probability and share of relevant ones over bins of equally many pairs (arXiv 1706.04599, eq. 3).

    :param probability: Shape ``[n]``.
    :param relevant: 0 or 1, shape ``[n]``.
    """
    order = np.argsort(probability, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    return float(sum(len(part) * abs(probability[part].mean() - relevant[part].mean()) for part in bins) / len(order))
