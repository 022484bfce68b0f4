"""Groups of hits, which the engine does not make."""

from collections.abc import Iterable
from typing import Any

import qdrant_edge

# Hits that are looked at for each that is wanted: groups are seldom full with the first ones.
_DEPTH = 10

Groups = list[tuple[Any, list[qdrant_edge.ScoredPoint]]]


def window(groups: int, group_size: int) -> int:
    """
    How many hits are looked at.

    :param groups: Groups that are wanted.
    :param group_size: The most hits of a group.
    """
    return groups * group_size * _DEPTH


def grouped(hits: Iterable[qdrant_edge.ScoredPoint], field: str, most: int, group_size: int) -> Groups:
    """
    Put hits into groups by a field of their payload, the groups in the order of their best hits.

    A hit whose field is a list is in a group of each of its values; without a text or a number there, it is in none.

    :param hits: The hits, best first.
    :param field: The field, with a dot before each deeper name.
    :param most: The most groups.
    :param group_size: The most hits of a group.
    """
    groups: dict[Any, list[qdrant_edge.ScoredPoint]] = {}
    for hit in hits:
        for value in dict.fromkeys(_values(hit.payload, field.split("."))):
            if value in groups or len(groups) < most:
                members = groups.setdefault(value, [])
                if len(members) < group_size:
                    members.append(hit)
    return list(groups.items())


def _values(payload: Any, names: list[str]) -> list[Any]:
    for name in names:
        payload = payload.get(name) if isinstance(payload, dict) else None
    values = payload if isinstance(payload, list) else [payload]
    return [one for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
