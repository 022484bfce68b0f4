"""Qdrant's filters as those of the embedded engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
from qdrant_client import models

import qdrant_edge


def edge_filter(filters: models.Filter | None) -> qdrant_edge.Filter | None:
    """
    A filter as the engine takes it.

    :param filters: Qdrant's filter.
    :raises NotImplementedError: If the engine has no such condition.
    """
    if filters is None:
        return None
    return _filter(filters)


def _filter(filters: models.Filter) -> qdrant_edge.Filter:
    least = filters.min_should
    return qdrant_edge.Filter(
        must=_conditions(filters.must),
        should=_conditions(filters.should),
        must_not=_conditions(filters.must_not),
        min_should=qdrant_edge.MinShould([_condition(one) for one in least.conditions], least.min_count)
        if least
        else None,
    )


def _conditions(given: Any) -> list[Any] | None:
    if given is None:
        return None
    return [_condition(one) for one in (given if isinstance(given, list) else [given])]


def _condition(condition: Any) -> Any:
    convert = _CONDITIONS.get(type(condition))
    if convert is None:
        msg = f"Qdrant Edge has no condition {type(condition).__name__}."
        raise NotImplementedError(msg)
    return convert(condition)


def _field(condition: models.FieldCondition) -> qdrant_edge.FieldCondition:
    box, radius, polygon = condition.geo_bounding_box, condition.geo_radius, condition.geo_polygon
    counts = condition.values_count
    return qdrant_edge.FieldCondition(
        key=condition.key,
        match=_match(condition.match) if condition.match else None,
        range=_range(condition.range) if condition.range else None,
        geo_bounding_box=(qdrant_edge.GeoBoundingBox(_point(box.top_left), _point(box.bottom_right)) if box else None),
        geo_radius=qdrant_edge.GeoRadius(_point(radius.center), radius.radius) if radius else None,
        geo_polygon=(
            qdrant_edge.GeoPolygon(_line(polygon.exterior), [_line(one) for one in polygon.interiors or ()])
            if polygon
            else None
        ),
        values_count=qdrant_edge.ValuesCount(**dict(counts)) if counts else None,
        is_empty=condition.is_empty,
        is_null=condition.is_null,
    )


def _match(match: Any) -> Any:
    # Both libraries call the kinds of matches by the same names, and each has one value.
    (value,) = dict(match).values()
    # The engine's Python face takes Python's own True for the number 1.
    return getattr(qdrant_edge, type(match).__name__)(np.bool_(value) if isinstance(value, bool) else value)


def _range(limits: Any) -> Any:
    if isinstance(limits, models.Range):
        return qdrant_edge.RangeFloat(**dict(limits))
    moments = {name: None if moment is None else moment.isoformat() for name, moment in dict(limits).items()}
    return qdrant_edge.RangeDateTime(**moments)


def _point(point: models.GeoPoint) -> qdrant_edge.GeoPoint:
    return qdrant_edge.GeoPoint(point.lon, point.lat)


def _line(line: models.GeoLineString) -> list[qdrant_edge.GeoPoint]:
    return [_point(one) for one in line.points]


_CONDITIONS: dict[type, Callable[[Any], Any]] = {
    models.Filter: _filter,
    models.FieldCondition: _field,
    models.IsEmptyCondition: lambda one: qdrant_edge.IsEmptyCondition(one.is_empty.key),
    models.IsNullCondition: lambda one: qdrant_edge.IsNullCondition(one.is_null.key),
    models.HasIdCondition: lambda one: qdrant_edge.HasIdCondition(set(one.has_id)),
    models.HasVectorCondition: lambda one: qdrant_edge.HasVectorCondition(one.has_vector),
    models.NestedCondition: lambda one: qdrant_edge.NestedCondition(one.nested.key, _filter(one.nested.filter)),
}
