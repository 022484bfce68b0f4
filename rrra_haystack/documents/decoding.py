"""Bytes -> text, whatever encoding they are in."""

from typing import Any


def without_surrogates(value: Any) -> Any:
    """
    A value of JSON in which halves of surrogate pairs are joined, or replaced where the other half is missing.

    :param value: The value; its strings may be anywhere in it.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(one) for key, one in value.items()}
    return value
