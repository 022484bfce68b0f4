"""
Pipelines behind Hayhooks, with what a server in production needs besides.

The YAML files are deployed as they are. Added to what Hayhooks does with them: questions are checked before a pipeline
runs, pipelines that answer can be talked to over the OpenAI-compatible chat endpoint (streamed where their generator
streams), and pipelines over the same store open it once and take turns there. Taken away is what changes the served
pipelines over HTTP.
"""

from collections.abc import Container, Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi_openai_compat import create_models_router
from hayhooks import create_app
from hayhooks.server.routers import create_openai_router, deploy_router, draw_router, undeploy_router
from hayhooks.server.utils.deploy_utils import commit_prepared_pipeline
from hayhooks.server.utils.models import PreparedPipeline
from hayhooks.settings import settings
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from rrra_haystack.documents.decoding import without_surrogates
from rrra_haystack.pipeline_files import share_stores
from rrra_haystack.serving.faults import tell_of_held
from rrra_haystack.serving.files import add_route, takes_files
from rrra_haystack.serving.listing import add_listing
from rrra_haystack.serving.origins import OwnPages
from rrra_haystack.serving.pipeline import ServedPipeline
from rrra_haystack.serving.turns import bound_requests, take_turns

MAX_BODY_BYTES = 1024 * 1024
MAX_UPLOAD_BYTES = 64 * MAX_BODY_BYTES
_LONGEST_TOLD = 100
# Files would be taken, and indexed by nobody; models are told that do not chat; pages load scripts of another server.
_PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")
_LEFT_OUT = (("POST", "/v1/files"), ("GET", "/v1/models"), ("GET", "/models"), *(("GET", page) for page in _PAGES))


def served(folder: Path, allowed: Iterable[Path] = (), host: str | None = None) -> FastAPI:
    """
    The Hayhooks application with the pipelines of a folder.

    :param folder: Holds pipeline YAML files that declare ``inputs`` and ``outputs``.
    :param allowed: Folders below which clients may name files of the server to be indexed.
    :param host: The address that it will listen on.
    :raises ValueError: If there is no such file, or one is not a pipeline.
    """
    files = sorted(folder.glob("*.y*ml"))
    if not files:
        msg = f"There is no pipeline YAML in {folder}. 'rrra init {folder}' writes the bundled ones there."
        raise ValueError(msg)
    wrappers: dict[str, ServedPipeline] = {}
    for file in files:
        if file.stem in wrappers:
            msg = f"{file} cannot be served beside {file.stem}.yaml, which has the same address. Rename one of them."
            raise ValueError(msg)
        try:
            wrapper = ServedPipeline.from_file(file)
            wrapper.setup()
            takes_files(wrapper)
        except Exception as error:
            msg = f"{file} cannot be served: {error}"
            raise ValueError(msg) from error
        wrappers[file.stem] = wrapper
    pipelines = [wrapper.pipeline for wrapper in wrappers.values()]
    share_stores(pipelines)
    take_turns(pipelines)
    bound_requests(pipelines)
    tell_of_held(pipelines)
    folders = [one.resolve() for one in allowed]
    uploading: set[str] = set()
    app = _bare_app()
    for name, wrapper in wrappers.items():
        about = {
            "description": name,
            "streaming_components": wrapper.streaming_components,
            "include_outputs_from": wrapper.include_outputs_from,
            "input_resolutions": wrapper.input_resolutions,
            "request_model": wrapper.request_model(name),
        }
        indexes = takes_files(wrapper)
        commit_prepared_pipeline(PreparedPipeline(name, wrapper, about), app=None if indexes else app)
        if indexes:
            add_route(app, name, wrapper, folders)
            uploading.add(f"/{name}/run")
    app.add_exception_handler(RequestValidationError, _without_input)
    app.add_exception_handler(HTTPException, _sendable)
    app.add_middleware(BodyLimit, uploading=uploading)
    app.add_middleware(OwnPages, host=host)
    return app


def _bare_app() -> FastAPI:
    """Hayhooks without pipelines, and without what would let anybody who reaches the port change or publish them."""
    # Web pages of other origins may call if the operator names them, in HAYHOOKS_CORS_ALLOW_ORIGINS.
    if "cors_allow_origins" not in settings.model_fields_set:
        settings.cors_allow_origins = []
    app = create_app()
    # Hayhooks sets the pages up again with each pipeline.
    app.docs_url = app.redoc_url = None
    app.add_middleware(EmptyFolder)
    # Deploying loads Python that a client sends, undeploying deletes files, drawing sends the pipeline to a public
    # server.
    _remove(app, (deploy_router, undeploy_router, draw_router))
    registry = app.state.pipeline_registry
    openai = create_openai_router(registry)
    for routes in (app.router.routes, openai.routes):
        routes[:] = [one for one in routes if not any(_answers(one, *asked) for asked in _LEFT_OUT)]
    app.include_router(openai)

    def chatting() -> list[str]:
        return [name for name in registry.get_names() if getattr(registry.get(name), "chats", False)]

    app.include_router(create_models_router(list_models=chatting, owned_by="hayhooks"))
    add_listing(app)
    return app


def _remove(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """
    Take what routers brought out of an application. Hayhooks includes them all, whatever its settings are.

    :param app: An application without pipelines.
    :param routers: Left as they are.
    """
    for route in chain.from_iterable(router.routes for router in routers):
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            # How an application keeps a router is its own affair; that something answers a request is not.
            app.router.routes[:] = [
                one for one in app.router.routes if isinstance(one, Mount) or not _answers(one, method, route.path)
            ]


def _answers(route: BaseRoute, method: str, path: str) -> bool:
    asked: Scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return route.matches(asked)[0] is Match.FULL


class EmptyFolder:
    """Gives Hayhooks an empty folder while it runs: it deploys what it finds there, and writes and deletes in it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass all on; what a server says of its start and its end comes as one call."""
        if scope["type"] == "lifespan":
            with TemporaryDirectory(prefix="rrra-serve-") as settings.pipelines_dir:
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class BodyLimit:
    """
    Refuse a request whose body is too large, or of unknown length, before it is read.

    :param app: What requests are passed on to.
    :param uploading: Paths that take files, and `MAX_UPLOAD_BYTES`; others take `MAX_BODY_BYTES`.
    """

    def __init__(self, app: ASGIApp, uploading: Container[str]) -> None:
        self.app = app
        self.uploading = uploading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413 or 411."""
        headers = dict(scope.get("headers", ()))
        # A server behind a proxy may have a root path, which is part of the path.
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        most = MAX_UPLOAD_BYTES if path in self.uploading else MAX_BODY_BYTES
        if scope["type"] == "http" and b"transfer-encoding" in headers:
            refusal = JSONResponse({"detail": "Send the request with a Content-Length."}, 411)
            await refusal(scope, receive, send)
        elif scope["type"] == "http" and int(headers.get(b"content-length", 0)) > most:
            refusal = JSONResponse({"detail": f"The request has more than {most:,} bytes."}, 413)
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _sendable(request: Request, error: Exception) -> Response:
    """FastAPI's answer, which may name what was asked: JSON may hold halves of surrogate pairs, which no answer can."""
    assert isinstance(error, HTTPException)
    error.detail = without_surrogates(error.detail)
    return await http_exception_handler(request, error)


async def _without_input(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's answer without an echo of the input, which may be long."""
    assert isinstance(error, RequestValidationError)
    details = [{key: value for key, value in detail.items() if key != "input"} for detail in error.errors()]
    for detail in details:
        # A key that nobody knows is input, too.
        detail["loc"] = [one[:_LONGEST_TOLD] if isinstance(one, str) else one for one in detail["loc"]]
    return JSONResponse({"detail": without_surrogates(jsonable_encoder(details))}, 422)
