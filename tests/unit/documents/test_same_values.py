"""Metadata are compared but for the rounding of stores."""

import numpy as np
import pytest

from rrra_haystack.documents.same_values import are_same_values


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.4000000000000001, 1.4),
        ({"a": [0.1 * 3, {"b": -1e300}], "c": None}, {"c": None, "a": [0.3, {"b": -1e300}]}),
        ([float("nan"), float("inf")], [float("nan"), float("inf")]),
        ({"a": 0.0, "b": "é"}, {"a": -0.0, "b": "é"}),
        (2**70 + 1, float(2**70)),
        (2, 2.0),
        (10**400, 10**400),
        (None, None),
    ],
)
def test_the_same(one: object, other: object) -> None:
    assert are_same_values(one, other)
    assert are_same_values(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.4, 1.40000000000001),
        (1e-300, 2e-300),
        (0.0, 5e-324),
        (2**60, 2**60 + 1),
        (2**60 + 1, float(2**60)),
        (2**70, 2**70 + 1),
        (2**70, float(2**71)),
        (True, 1),
        (False, 0.0),
        (1.0, "1.0"),
        (10**400, 1e300),
        (float("inf"), float("-inf")),
        (float("nan"), None),
        ([1.0], [1.0, 1.0]),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, {"a": 1.0, "b": None}),
        ({}, []),
    ],
)
def test_another(one: object, other: object) -> None:
    assert not are_same_values(one, other)
    assert not are_same_values(other, one)


def test_what_has_no_equality_is_the_same_as_itself() -> None:
    value = {"a": np.arange(3)}
    assert are_same_values(value, dict(value))
