"""Qdrant's engine in this process behind the interface of Qdrant's client."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qdrant_client.http import models

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.configs import (
    collection_info,
    collection_params,
    edge_config,
    edge_schema,
)
from haystack_integrations.document_stores.qdrant_edge.filters import edge_filter
from haystack_integrations.document_stores.qdrant_edge.groups import are_all, grouped, of_others, selected, window
from haystack_integrations.document_stores.qdrant_edge.payloads import edge_payload
from haystack_integrations.document_stores.qdrant_edge.points import edge_point, id_of, record_of, scored_point_of
from haystack_integrations.document_stores.qdrant_edge.queries import edge_request
from haystack_integrations.document_stores.qdrant_edge.sharing import shards_in

Update = qdrant_edge.UpdateOperation
_ID_BYTES = 40


class EdgeClient:
    """
    A Qdrant client over a folder, with the methods that document stores and retrievers of Haystack call.

    What it takes and returns are the models of Qdrant's client; arguments about servers and clusters are ignored.

    :param path: The folder; each collection is a folder in it.
    """

    def __init__(self, path: str) -> None:
        self._shards = shards_in(path)

    def close(self, **_: Any) -> None:
        """Write everything to disk, and let others open the folder."""
        self._shards.close()

    def optimize(self, collection_name: str) -> None:
        """Let the engine build its index of a collection; searches wait."""
        self._shards.optimize(collection_name)

    def get_collections(self, **_: Any) -> models.CollectionsResponse:
        """The collections of the folder."""
        names = self._shards.names()
        return models.CollectionsResponse(collections=[models.CollectionDescription(name=one) for one in names])

    def collection_exists(self, collection_name: str, **_: Any) -> bool:
        """Whether the folder has a collection."""
        return collection_name in self._shards.names()

    def get_collection(self, collection_name: str, **_: Any) -> models.CollectionInfo:
        """What there is to know of a collection."""
        with self._shards.shard(collection_name) as shard:
            return collection_info(self._shards.config(collection_name), shard.info())

    def create_collection(
        self, collection_name: str, vectors_config: Any = None, sparse_vectors_config: Any = None, **options: Any
    ) -> bool:
        """Make a collection."""
        self._shards.create(collection_name, edge_config(vectors_config, sparse_vectors_config, options))
        return True

    def empty_collection(self, collection_name: str, fields: dict[str, Any]) -> None:
        """Make a collection anew, without points, with its settings and with indexes of these fields of the payload."""
        config = self._shards.config(collection_name)
        params = collection_params(config)
        assert params.vectors is not None
        options = {**config, "optimizers_config": config.get("optimizers")}
        indexes = [Update.create_field_index(name, edge_schema(schema)) for name, schema in fields.items()]
        settings = edge_config(params.vectors, params.sparse_vectors, options)
        self._shards.create(collection_name, settings, indexes, anew=True)

    def delete_collection(self, collection_name: str, **_: Any) -> bool:
        """Delete a collection."""
        self._shards.delete(collection_name)
        return True

    def create_payload_index(
        self, collection_name: str, field_name: str, field_schema: Any = None, **_: Any
    ) -> models.UpdateResult:
        """Index a field of the payload."""
        return self._update(collection_name, Update.create_field_index(field_name, edge_schema(field_schema)))

    def count(
        self, collection_name: str, count_filter: models.Filter | None = None, exact: bool = True, **_: Any
    ) -> models.CountResult:
        """Count the points of a collection."""
        with self._shards.shard(collection_name) as shard:
            request = qdrant_edge.CountRequest(exact=exact, filter=edge_filter(count_filter))
            return models.CountResult(count=shard.count(request))

    def retrieve(
        self, collection_name: str, ids: Sequence[Any], with_payload: Any = True, with_vectors: Any = False, **_: Any
    ) -> list[models.Record]:
        """The points of some identifiers, those that are there."""
        with self._shards.shard(collection_name) as shard:
            found = shard.retrieve(list(ids), with_payload, with_vectors)
        return [record_of(one, with_vectors) for one in found]

    def scroll(
        self,
        collection_name: str,
        scroll_filter: models.Filter | None = None,
        limit: int = 10,
        offset: Any = None,
        with_payload: Any = True,
        with_vectors: Any = False,
        **_: Any,
    ) -> tuple[list[models.Record], Any]:
        """A page of points, and where the next one begins."""
        request = qdrant_edge.ScrollRequest(
            offset=offset, limit=limit, filter=edge_filter(scroll_filter), with_payload=with_payload,
            with_vector=with_vectors,
        )  # fmt: skip
        with self._shards.shard(collection_name) as shard:
            found, following = shard.scroll(request)
        return [record_of(one, with_vectors) for one in found], None if following is None else id_of(following)

    def upsert(self, collection_name: str, points: Sequence[models.PointStruct], **_: Any) -> models.UpdateResult:
        """Write points, in place of those with their identifiers."""
        params = collection_params(self._shards.config(collection_name))
        made = [edge_point(one, params) for one in points]
        size = sum(own for _, own in made)
        return self._update(collection_name, Update.upsert_points([one for one, _ in made]), size)

    def delete(self, collection_name: str, points_selector: Any, **_: Any) -> models.UpdateResult:
        """Delete the points of some identifiers, or those that match a filter."""
        with self._shards.shard(collection_name) as shard:
            if isinstance(points_selector, models.FilterSelector | models.Filter):
                given: Any = points_selector
                chosen = edge_filter(getattr(given, "filter", given))
                # By their identifiers: the engine logs a filter, and could not read a deep one of its log again.
                request = qdrant_edge.ScrollRequest(
                    limit=shard.info().points_count, filter=chosen, with_payload=False, with_vector=False
                )
                ids = [one.id for one in shard.scroll(request)[0]]
            else:
                ids = list(getattr(points_selector, "points", points_selector))
            return self._update(collection_name, Update.delete_points(ids), _ID_BYTES * len(ids))

    def set_payload(
        self, collection_name: str, payload: dict[str, Any], points: Any, key: str | None = None, **_: Any
    ) -> models.UpdateResult:
        """Add to the payload of those points that are there, within a field of it if one is named."""
        ids = list(getattr(points, "points", points))
        below = 0 if key is None else 1 + key.count(".") + key.count("[")
        held, size = edge_payload(payload, "This payload", below)
        with self._shards.shard(collection_name) as shard:
            # Somebody may have deleted a point since, and the engine refuses them all for one that is missing.
            there = [one.id for one in shard.retrieve(ids, with_payload=False, with_vector=False)]
            return self._update(collection_name, Update.set_payload(there, held, key), size)

    def batch_update_points(
        self, collection_name: str, update_operations: Sequence[Any], **_: Any
    ) -> list[models.UpdateResult]:
        """Add to the payload of some points, by one operation after another."""
        for operation in update_operations:
            if not isinstance(operation, models.SetPayloadOperation):
                msg = f"QdrantEdgeDocumentStore takes no {type(operation).__name__} in a batch."
                raise NotImplementedError(msg)
        given = [operation.set_payload for operation in update_operations]
        return [self.set_payload(collection_name, one.payload, one.points, one.key) for one in given]

    def query_points(
        self, collection_name: str, limit: int = 10, with_payload: Any = True, with_vectors: Any = False, **query: Any
    ) -> models.QueryResponse:
        """The points nearest to a vector, or the fusion of several searches."""
        hits = self._hits(collection_name, edge_request(limit, with_payload, with_vectors, query))
        points = [scored_point_of(one, with_vectors) for one in hits]
        if query.get("prefetch"):
            # Fusion leaves equals in another order each time.
            points.sort(key=lambda point: (-point.score, str(point.id)))
        return models.QueryResponse(points=points)

    def query_points_groups(
        self,
        collection_name: str,
        group_by: str,
        limit: int = 10,
        group_size: int = 3,
        with_payload: Any = True,
        with_vectors: Any = False,
        **query: Any,
    ) -> models.GroupsResult:
        """
        The nearest points in groups. The engine knows none, so they are made here of its nearest hits.

        A group lacks those of its points that are not among them: ten times as many as were asked for, and more if
        they make too few groups, as long as there are others.
        """
        wanted = window(limit, group_size)
        while True:
            hits = self._hits(
                collection_name,
                edge_request(wanted, [selected(group_by)], with_vectors=False, query=query, least=wanted),
            )
            groups = grouped(hits, group_by, limit, group_size)
            if len(groups) == limit or len(hits) < wanted:
                break
            others = of_others(groups, group_by, query.get("query_filter"))
            if are_all(groups, hits, group_by) and not self.scroll(collection_name, others, 1, with_payload=False)[0]:
                break
            wanted *= 4
        chosen = {id_of(hit.id): hit for _, members in groups for hit in members}
        records = self.retrieve(collection_name, list(chosen), with_payload, with_vectors)
        points = {one.id: scored_point_of(chosen[one.id], with_vectors, one) for one in records}
        return models.GroupsResult(
            groups=[
                models.PointGroup(id=value, hits=[points[id_of(hit.id)] for hit in members if id_of(hit.id) in points])
                for value, members in groups
            ]
        )

    def _hits(self, collection_name: str, request: qdrant_edge.QueryRequest) -> list[qdrant_edge.ScoredPoint]:
        with self._shards.shard(collection_name) as shard:
            return shard.query(request)

    def _update(
        self, collection_name: str, operation: qdrant_edge.UpdateOperation, size: int = 0
    ) -> models.UpdateResult:
        with self._shards.writable(collection_name, size) as shard:
            shard.update(operation)
        return models.UpdateResult(status=models.UpdateStatus.COMPLETED)


class AsyncEdgeClient:
    """
    The same client for an event loop: each method in a thread.

    :param client: The client.
    """

    def __init__(self, client: EdgeClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # A copy is asked for such before it has a client.
            raise AttributeError(name)
        return partial(asyncio.to_thread, getattr(self._client, name))
