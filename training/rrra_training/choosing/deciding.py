"""Which of several models is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrra_training.measures.significance import LEAST_QUERIES, is_better


@dataclass(frozen=True)
class Decision:
    """
    What is kept, and why.

    :param kept: Name of the model.
    :param because: The reason, as a sentence.
    """

    kept: str
    because: str


def decide(
    values: Mapping[str, np.ndarray], start: str, others: Sequence[str], *, groups: np.ndarray, seed: int
) -> Decision:
    """
    Choose a model by held-out queries: another one takes the place of the model at hand where it is better for sure
    (:func:`~rrra_training.measures.significance.is_better`). So what is kept is never worse on these queries than the
    model that was begun with.

    :param values: Name of a model -> the measure of each query, shape ``[Q]``.
    :param start: The model that was begun with.
    :param others: The others, from simple to elaborate.
    :param groups: Which queries say the same, shape ``[Q]``.
    :param seed: Seed of what is drawn.
    """
    queries, count = len(groups), len(np.unique(groups))
    if count < LEAST_QUERIES:
        different = f", of which {count} differ in what they ask for," if count < queries else ""
        return Decision(start, f"{queries} queries{different} are too few to choose by; {LEAST_QUERIES} are the least.")
    kept = start
    for other in others:
        if is_better(values[other], values[kept], seed=seed, groups=groups):
            kept = other
    if kept == start:
        return Decision(start, f"nothing is better than {start} with 95 % confidence on queries that are held out.")
    gain = 100 * (values[kept] - values[start]).mean()
    return Decision(kept, f"it is {gain:.1f} points better than {start} on queries that are held out.")
