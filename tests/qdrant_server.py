"""Qdrant over HTTP for tests: the routes that we use, before a real embedded Qdrant, with faults on demand."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from qdrant_client import QdrantClient
from qdrant_client.http import models


class Server:
    """
    A running server.

    :param url: Its address.
    :param key: The API key that it wants; none if `None`.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.key = key
        # Status codes that the next requests get instead of an answer; 0 is an answer after half a second.
        self.faults: list[int] = []
        # Which requests they meet: those whose method and path hold this.
        self.where = ""
        self.requests: list[str] = []
        # Bytes of the largest body; more than `most` are refused, as a real server does.
        self.largest = 0
        self.most = 32 * 2**20
        self.client = QdrantClient(":memory:")
        self.lock = threading.Lock()


@contextmanager
def qdrant_server(key: str | None = None) -> Iterator[Server]:
    """Start a server on a free port of the loopback device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", key)
    runner = uvicorn.Server(uvicorn.Config(_app(server), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    while not runner.started:
        time.sleep(0.02)
    try:
        yield server
    finally:
        runner.should_exit = True
        thread.join(timeout=5)


def _app(server: Server) -> FastAPI:  # noqa: C901  (one function a route)
    app = FastAPI()
    client = server.client

    def result(value: Any) -> JSONResponse:
        held = value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else value
        return JSONResponse({"result": held, "status": "ok", "time": 0.0})

    @app.middleware("http")
    async def faults(request: Request, call_next: Any) -> Any:
        server.requests.append(f"{request.method} {request.url.path}")
        size = int(request.headers.get("content-length", 0))
        server.largest = max(server.largest, size)
        if size > server.most:
            told = f"Payload error: JSON payload ({size} bytes) is larger than allowed (limit: {server.most} bytes)."
            return JSONResponse({"status": {"error": told}}, status_code=400)
        if server.key is not None and request.headers.get("api-key") != server.key:
            return JSONResponse({"status": {"error": "Must provide an API key"}}, status_code=401)
        if server.faults and request.url.path != "/" and server.where in server.requests[-1]:
            fault = server.faults.pop(0)
            if fault:
                return JSONResponse({"status": {"error": "fault"}}, status_code=fault)
            await asyncio.sleep(0.5)
        return await call_next(request)

    @app.get("/")
    def root() -> dict:
        return {"title": "qdrant", "version": "1.16.0"}

    @app.get("/collections")
    def collections() -> JSONResponse:
        return result(client.get_collections())

    @app.get("/collections/{name}/exists")
    def exists(name: str) -> JSONResponse:
        return result({"exists": client.collection_exists(name)})

    @app.get("/collections/{name}")
    def info(name: str) -> JSONResponse:
        return result(client.get_collection(name))

    @app.put("/collections/{name}")
    async def create(name: str, request: Request) -> JSONResponse:
        wanted = models.CreateCollection.model_validate(await request.json())
        return result(
            client.create_collection(name, vectors_config=wanted.vectors, sparse_vectors_config=wanted.sparse_vectors)
        )

    @app.put("/collections/{name}/index")
    def index(name: str) -> JSONResponse:
        return result({"operation_id": 0, "status": "completed"})

    @app.put("/collections/{name}/points")
    async def upsert(name: str, request: Request) -> JSONResponse:
        points = [models.PointStruct.model_validate(one) for one in (await request.json())["points"]]
        with server.lock:
            return result(client.upsert(name, points))

    @app.post("/collections/{name}/points")
    async def retrieve(name: str, request: Request) -> JSONResponse:
        wanted = models.PointRequest.model_validate(await request.json())
        records = client.retrieve(name, wanted.ids, with_payload=True, with_vectors=bool(wanted.with_vector))
        return result([one.model_dump(mode="json") for one in records])

    @app.post("/collections/{name}/points/query")
    async def query(name: str, request: Request) -> JSONResponse:
        wanted = models.QueryRequest.model_validate(await request.json())
        with server.lock:
            return result(
                client.query_points(
                    name, query=wanted.query, prefetch=wanted.prefetch, using=wanted.using, limit=wanted.limit or 10,
                    query_filter=wanted.filter, with_payload=True, with_vectors=bool(wanted.with_vector),
                    score_threshold=wanted.score_threshold,
                )
            )  # fmt: skip

    @app.post("/collections/{name}/points/count")
    async def count(name: str, request: Request) -> JSONResponse:
        wanted = models.CountRequest.model_validate(await request.json())
        return result(client.count(name, count_filter=wanted.filter))

    @app.post("/collections/{name}/points/scroll")
    async def scroll(name: str, request: Request) -> JSONResponse:
        wanted = models.ScrollRequest.model_validate(await request.json())
        records, following = client.scroll(
            name, scroll_filter=wanted.filter, limit=wanted.limit or 10, offset=wanted.offset, with_payload=True,
            with_vectors=bool(wanted.with_vector),
        )  # fmt: skip
        points = [one.model_dump(mode="json") for one in records]
        return result({"points": points, "next_page_offset": following})

    @app.post("/collections/{name}/points/delete")
    async def delete(name: str, request: Request) -> JSONResponse:
        held = await request.json()
        chosen = models.FilterSelector.model_validate(held) if "filter" in held else held["points"]
        with server.lock:
            return result(client.delete(name, chosen))

    @app.post("/collections/{name}/points/batch")
    async def batch(name: str, request: Request) -> JSONResponse:
        wanted = models.UpdateOperations.model_validate(await request.json())
        with server.lock:
            done = client.batch_update_points(name, wanted.operations)
        return result([one.model_dump(mode="json") for one in done])

    return app
