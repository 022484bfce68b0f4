"""How sure a difference between two systems is."""

from collections.abc import Callable

import numpy as np

# What chance makes as often as this is not taken for a difference.
LEVEL = 0.05
# Fewer queries than these choose nothing, nor do more that are fewer different ones.
LEAST_QUERIES = 20
_SIGNS_AT_ONCE = 500


def paired_interval(
    system: np.ndarray, baseline: np.ndarray, *, seed: int, draws: int = 2000, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """
    A 95 % bootstrap interval of the mean difference of two systems over the same queries.

    :param system: One value a query, shape ``[n]``.
    :param baseline: The same queries with the other system, shape ``[n]``.
    :param seed: Seed of the draws.
    :param draws: How many samples of n queries are drawn.
    :param groups: The group of each query, shape ``[n]``, int: queries of a group depend on each other, so groups are
        drawn whole. Each is its own if `None`.
    """
    return mean_interval(system - baseline, seed=seed, draws=draws, groups=groups)


def mean_interval(
    values: np.ndarray, *, seed: int, draws: int = 2000, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean of one value a query; parameters as for :func:`paired_interval`."""
    sums, sizes = _grouped(values, groups)
    return bootstrap_interval(lambda drawn: sums[drawn].sum() / sizes[drawn].sum(), len(sums), seed=seed, draws=draws)


def is_better(system: np.ndarray, baseline: np.ndarray, *, seed: int, groups: np.ndarray | None = None) -> bool:
    """
    Whether a system is better for sure: its interval lies above 0, and chance alone makes such a difference in one case
    of twenty at most. The interval alone is above 0 wherever four queries gain and none loses.

    Parameters as for :func:`paired_interval`.
    """
    low, _ = paired_interval(system, baseline, seed=seed, groups=groups)
    return low > 0 and randomisation_test(system, baseline, seed=seed, groups=groups) <= LEVEL


def _grouped(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The sum of each group's values, and how many they are."""
    if groups is None:
        return values, np.ones(len(values))
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(place, values), sizes


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], count: int, *, seed: int, draws: int
) -> tuple[float, float]:
    """
    A 95 % bootstrap interval of a statistic of queries.

    :param statistic: Its value, given the numbers of the drawn queries, shape ``[count]``.
    :param count: How many queries there are.
    :param seed: Seed of the draws.
    :param draws: How many samples of as many queries are drawn.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, count, count)) for _ in range(draws)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def told(difference: float, interval: tuple[float, float]) -> str:
    """A difference with its interval, fractions, as points: ``+1.2 (+0.3 to +2.1)``."""
    low, high = (100 * bound for bound in interval)
    return f"{100 * difference:+.1f} ({low:+.1f} to {high:+.1f})"


def told_over(system: np.ndarray, baseline: np.ndarray, *, seed: int) -> str:
    """The mean difference of two systems over the same queries with its interval, as :func:`told` tells it."""
    return told(float((system - baseline).mean()), paired_interval(system, baseline, seed=seed))


def randomisation_test(
    system: np.ndarray, baseline: np.ndarray, *, seed: int, draws: int = 10_000, groups: np.ndarray | None = None
) -> float:
    """
    Two-sided p-value of the mean difference of two systems, by Fisher's paired randomisation test.

    How often a difference as large comes about if the systems' values are swapped at random, query by query
    (Smucker, Allan and Carterette, CIKM 2007). The order at hand counts as one of the draws, so the least value is
    1 / (draws + 1).

    :param system: One value a query, shape ``[n]``.
    :param baseline: The same queries with the other system, shape ``[n]``.
    :param seed: Seed of the draws.
    :param draws: How many orders are drawn.
    :param groups: The group of each query, shape ``[n]``, int: those of a group are swapped together. Each is its own
        if `None`.
    """
    difference = _grouped(system - baseline, groups)[0].astype(np.float32)
    # A query on which both agree is the same in any order.
    difference = difference[difference != 0]
    observed = abs(difference.sum(dtype=np.float64))
    rng = np.random.default_rng(seed)
    as_large = 1
    for begin in range(0, draws, _SIGNS_AT_ONCE):
        count = min(_SIGNS_AT_ONCE, draws - begin)
        signs = rng.integers(0, 2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        sums = signs.astype(np.float32) @ difference
        # What rounding makes of an equal sum is as large.
        as_large += int((np.abs(sums) >= observed - 1e-4 * max(observed, 1e-6)).sum())
    return as_large / (draws + 1)
