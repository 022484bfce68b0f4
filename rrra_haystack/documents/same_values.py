"""Whether metadata are the same, each as its store keeps them."""

import math
import sys
from typing import Any

# Qdrant Edge may change the last binary digit of a fraction, which is a share of 2.2e-16, in each copy once more.
_TOLERANCE = 1e-15


def are_same_values(one: Any, other: Any) -> bool:
    """
    Whether two values are the same, but for the rounding of stores.

    Fractions may differ by 1e-15 of the larger, and an integer of more than 64 bits may have become a fraction; all
    else must be equal, in lists and objects, too. True is not 1, and nan is the same as nan.

    :param one: A value of metadata or a payload, or a whole one.
    :param other: The other.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_same_values(own, other[key]) for key, own in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_same_values, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return type(one) is type(other) and one == other
    if isinstance(one, float) or isinstance(other, float):
        one, other = _as_fraction(one), _as_fraction(other)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE) or (math.isnan(one) and math.isnan(other))
    # What cannot be compared as a whole, such as an array, is the same as itself.
    return one is other or bool(one == other)


def _as_fraction(value: Any) -> Any:
    """A value as a store keeps it that has no integers of more than 64 bits."""
    is_large = isinstance(value, int) and not -(2**63) <= value < 2**64 and abs(value) <= sys.float_info.max
    return float(value) if is_large else value
