"""Groups of hits, which the engine does not make."""

import re
from collections.abc import Sequence
from typing import Any

from qdrant_client import models
from qdrant_client.local.json_path_parser import JsonPathItem, parse_json_path

import qdrant_edge

# Hits that are looked at for each that is wanted: groups are seldom full with the first ones.
_DEPTH = 10
# Of so many hits or more, of which three quarters bring no group, it is asked whether there are others.
_TELLING = 1000
# The path of a field as far as the engine takes it where it selects payload.
_SELECTABLE = re.compile(r'(?:"[^"]*"|[^\["])*')

Groups = list[tuple[Any, list[qdrant_edge.ScoredPoint]]]


def window(groups: int, group_size: int) -> int:
    """
    How many hits are looked at.

    :param groups: Groups that are wanted.
    :param group_size: The most hits of a group.
    """
    return groups * group_size * _DEPTH


def selected(field: str) -> str:
    """
    What of the payload holds a field.

    :param field: The path of the field.
    """
    told = _SELECTABLE.match(field)
    return told.group() if told is not None else field


def are_all(groups: Groups, hits: Sequence[qdrant_edge.ScoredPoint], field: str) -> bool:
    """
    Whether there are so many hits that they may have brought all groups.

    :param groups: The groups.
    :param hits: The hits that they were made of.
    :param field: The path of the field.
    """
    if not groups or len(hits) < _TELLING:
        return False
    return len(grouped(hits[: len(hits) // 4], field, len(groups), 1)) == len(groups)


def of_others(groups: Groups, field: str, chosen: models.Filter | None) -> models.Filter:
    """
    What selects documents with another value than those of groups, of a list too.

    :param groups: The groups.
    :param field: The path of the field.
    :param chosen: What selects the documents that are put into groups.
    """
    kinds = [[value for value, _ in groups if isinstance(value, kind)] for kind in (str, int)]
    others = [models.FieldCondition(key=field, match=models.MatchExcept(**{"except": own})) for own in kinds if own]
    return models.Filter(must=[*others, *([chosen] if chosen is not None else [])])


def grouped(hits: Sequence[qdrant_edge.ScoredPoint], field: str, most: int, group_size: int) -> Groups:
    """
    Put hits into groups by a field of their payload, the groups in the order of their best hits.

    A hit whose field is a list is in a group of each of its values; without a text or a number there, it is in none.

    :param hits: The hits, best first.
    :param field: The path of the field, as filters name it.
    :param most: The most groups.
    :param group_size: The most hits of a group.
    """
    path = parse_json_path(field)
    groups: dict[Any, list[qdrant_edge.ScoredPoint]] = {}
    for hit in hits:
        for value in dict.fromkeys(_values(hit.payload, path)):
            if value in groups or len(groups) < most:
                members = groups.setdefault(value, [])
                if len(members) < group_size:
                    members.append(hit)
    return list(groups.items())


def _values(payload: Any, path: list[JsonPathItem]) -> list[Any]:
    found = [payload]
    for step in path:
        if step.key is not None:
            found = [one[step.key] for one in found if isinstance(one, dict) and step.key in one]
        else:
            begin, end = (0, None) if step.index is None else (step.index, step.index + 1)
            found = [item for one in found if isinstance(one, list) for item in one[begin:end]]
    values = [item for one in found for item in (one if isinstance(one, list) else [one])]
    return [one for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
