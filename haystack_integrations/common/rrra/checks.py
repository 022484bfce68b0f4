from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from haystack import Document


def check_positive(value: object, name: str = "top_k") -> None:
    """
    Refuse a number of things that is none.

    :param value:
        The number.
    :param name:
        The parameter that it was given as.
    :raises ValueError:
        If it is no whole number, or not > 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        msg = f"{name} must be a whole number > 0, but got {value!r}"
        raise ValueError(msg)
    if value <= 0:
        msg = f"{name} must be > 0, but got {value}"
        raise ValueError(msg)


def check_threshold(value: Any, name: str = "score_threshold", least: float = -inf, most: float = inf) -> None:
    """
    Refuse a threshold that no score could be compared with.

    :param value:
        The threshold; `None` if there is none.
    :param name:
        The parameter that it was given as.
    :param least:
        The least that it may be.
    :param most:
        The most that it may be.
    :raises ValueError:
        If it is no finite number, or beyond what it may be.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    if value is not None and not (is_number and least <= value <= most):
        wanted = f"between {least} and {most}" if isfinite(least) else "a finite number"
        msg = f"{name} must be {wanted} or None, but got {value!r}"
        raise ValueError(msg)


def check_documents(documents: object, component: str, otherwise: str = "") -> None:
    """
    Refuse what is no list of Documents.

    :param documents:
        What a component was given.
    :param component:
        The name of the component.
    :param otherwise:
        What to do with something else.
    :raises TypeError:
        If it is not a list of Documents.
    """
    if isinstance(documents, list):
        wrong = (number for number, one in enumerate(documents) if not isinstance(one, Document))
        if (first := next(wrong, None)) is None:
            return
        told = f"number {first} is a {type(documents[first]).__name__}"
    else:
        told = f"got a {type(documents).__name__}"
    msg = f"{component} expects a list of Documents as input, but {told}. {otherwise}".rstrip()
    raise TypeError(msg)
