"""Whether probabilities say how often something is so."""

import numpy as np

_BINS = 15


def expected_calibration_error(probability: np.ndarray, relevant: np.ndarray) -> float:
    """
    Mean difference of probability and share of relevant ones over bins of equally many pairs (arXiv 1706.04599, eq. 3).

    :param probability: Shape ``[n]``.
    :param relevant: 0 or 1, shape ``[n]``.
    """
    bins = equal_bins(probability, _BINS)
    errors = (len(part) * abs(probability[part].mean() - relevant[part].mean()) for part in bins)
    return float(sum(errors) / len(probability))


def equal_bins(probability: np.ndarray, count: int) -> list[np.ndarray]:
    """
    Bins of about equally many, from improbable to probable: the places that each holds. Equal ones are in one bin, so
    that the order of the data says nothing.

    :param probability: Shape ``[n]``.
    :param count: How many bins; fewer where there are fewer than so many, or many are equal.
    """
    if not len(probability):
        return []
    order = np.argsort(probability, kind="stable")
    ranked = probability[order]
    borders = np.searchsorted(ranked, ranked[np.arange(1, count) * len(ranked) // count])
    return [part for part in np.split(order, np.unique(borders)) if len(part)]
