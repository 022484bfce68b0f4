"""
Pipelines behind Hayhooks, with what a server in production needs besides.

The YAML files are deployed as they are. Added to what Hayhooks does with them: questions are checked before a pipeline
runs, pipelines that answer can be talked to over the OpenAI-compatible chat endpoint (streamed where their generator
streams), and pipelines over the same store open it once and take turns there. Taken away is what changes the served
pipelines over HTTP.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Annotated, Any, cast

from fastapi import FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from hayhooks import YAMLPipelineWrapper, async_streaming_generator, create_app, get_last_user_message
from hayhooks.server.pipelines.streaming import is_streaming_component
from hayhooks.server.routers import deploy_router, draw_router, undeploy_router
from hayhooks.server.utils.deploy_utils import commit_prepared_pipeline
from hayhooks.server.utils.models import PreparedPipeline
from hayhooks.settings import settings
from haystack import ExtractedAnswer, Pipeline
from haystack.dataclasses import ChatMessage
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from pydantic import StringConstraints, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from haystack_integrations.components.retrievers.rrra import RRRARetriever
from rrra_haystack.documents.metadata import source_of
from rrra_haystack.pipeline_files import share_stores, stores_of
from rrra_haystack.qdrant.patience import is_embedded

MAX_QUESTION_CHARACTERS = 8192
MAX_BODY_BYTES = 1024 * 1024

Question = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS, strict=True)
]

_NO_ANSWER = "I found no answer in the documents."


class ServedPipeline(YAMLPipelineWrapper):
    """
    A pipeline of a YAML file, whose text inputs are questions, and which chats if it answers.

    A declared input of type ``str`` must have 1 to `MAX_QUESTION_CHARACTERS` characters besides white space.
    """

    def __init__(self, yaml_source: str, input_resolutions: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        checked = {
            name: resolution.model_copy(update={"type": Question}) if resolution.type is str else resolution
            for name, resolution in input_resolutions.items()
        }
        super().__init__(yaml_source, checked, *args, **kwargs)
        self._answers = self.output_resolutions.get("answers")
        self._is_run_chat_completion_async_implemented = True
        self._asks = Question in {resolution.type for resolution in checked.values()}
        self._warming_up = asyncio.Lock()
        self._is_warm = False

        async def run(**inputs: Any) -> dict[str, Any]:
            return await self._run(inputs)

        run.__dict__["__signature__"] = inspect.signature(self.__dict__["run_api_async"])
        self.__dict__["run_api_async"] = run

    async def _run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        await self._warm_up()
        given = self._by_component(inputs)
        if self._asks:
            return await self.pipeline.run_async(given, include_outputs_from=self.include_outputs_from)
        self._name_sources(given)
        # By the synchronous methods: a writer's asynchronous ones would open an embedded Qdrant once more.
        return await asyncio.to_thread(self.pipeline.run, given, self.include_outputs_from)

    async def _warm_up(self) -> None:
        """Load the models in a thread; the pipeline itself would do it on the event loop, where all others wait."""
        async with self._warming_up:
            if not self._is_warm:
                await asyncio.to_thread(self.pipeline.warm_up)
                self._is_warm = True

    def _name_sources(self, given: dict[str, dict[str, Any]]) -> None:
        """Give files as ``rrra index`` does: the ids of passages are made of where their file lies, too."""
        for name, values in given.items():
            if "sources" in values and "meta" in self.pipeline.inputs().get(name, {}):
                files = [Path(one).resolve() if isinstance(one, str | Path) else one for one in values["sources"]]
                meta = [{"source": str(one)} if isinstance(one, Path) else {} for one in files]
                values.update(sources=files, meta=values.get("meta") or meta)

    def _by_component(self, inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What each component is given, from values of the declared inputs."""
        given: dict[str, dict[str, Any]] = {}
        for name, value in inputs.items():
            for target in self.input_resolutions[name].targets:
                component, socket = target.split(".", 1)
                given.setdefault(component, {})[socket] = value
        return given

    async def run_chat_completion_async(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> str | AsyncGenerator[Any, None]:
        """
        Answer the last message of the user; earlier messages are not read.

        :raises HTTPException: 400 if the pipeline takes no single question or gives no answers, 422 if the question is
            empty or too long.
        """
        names = [name for name, resolution in self.input_resolutions.items() if resolution.type is Question]
        if len(names) != 1 or self._answers is None:
            raise HTTPException(400, f"The pipeline '{model}' does not chat: it must take a question and give answers.")
        try:
            question = TypeAdapter(Question).validate_python(_text_of(get_last_user_message(messages)))
        except ValidationError as error:
            raise HTTPException(422, f"The last message of the user: {error.errors()[0]['msg']}.") from error
        await self._warm_up()
        inputs = self._by_component({names[0]: question})
        if body.get("stream") and any(is_streaming_component(part) for _, part in self.pipeline.walk()):
            return async_streaming_generator(self.pipeline, pipeline_run_args=inputs)
        output = await self.pipeline.run_async(inputs, include_outputs_from=self.include_outputs_from)
        return as_text(output.get(self._answers.component, {}).get(self._answers.name))


def _text_of(content: Any) -> Any:
    """The content of a message; of one in parts, those that are text."""
    if not isinstance(content, list):
        return content
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def as_text(answers: Any) -> str:
    """
    The best answer in words, with where it stands when it was extracted.

    :param answers: What a pipeline puts out as its answers: answers, messages or texts, best first, or one of them.
    """
    best = answers[0] if isinstance(answers, list) and answers else answers
    if isinstance(best, ExtractedAnswer) and best.data and best.document is not None:
        return f"{best.data} ({source_of(best.document)})"
    text = best.text if isinstance(best, ChatMessage) else getattr(best, "data", best)
    return str(text or _NO_ANSWER)


# --- one embedded Qdrant for many threads ---


def take_turns(pipelines: Iterable[Pipeline]) -> None:
    """
    Let the threads that search and write an embedded Qdrant take turns: its collections are not made for both at once.

    A store that is only searched is left alone, so that its searches run side by side.

    :param pipelines: Pipelines that share their stores.
    """
    users: dict[int, tuple[QdrantDocumentStore, list[Any]]] = {}
    for part, _, store in stores_of(pipelines):
        if isinstance(store, QdrantDocumentStore) and is_embedded(store):
            users.setdefault(id(store), (store, []))[1].append(part)
    for store, parts in users.values():
        searching = [part for part in parts if isinstance(part, RRRARetriever)]
        if len(searching) == len(parts):
            continue
        # Reentrant: opening calls itself once, and a retriever in its turn calls a client that takes turns.
        turn = RLock()
        vars(store)["_initialize_client"] = _opening_in_turn(store, turn)
        # A retriever opens the client itself, and closes it again if it does not find its collection.
        for part in searching:
            vars(part)["run"] = _in_turn(part.run, turn)


class _InTurn:
    """A client of an embedded Qdrant that one thread at a time uses."""

    def __init__(self, client: Any, turn: RLock) -> None:
        self._client = client
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return _in_turn(found, self._turn) if callable(found) else found


def _in_turn(call: Callable[..., Any], turn: RLock) -> Callable[..., Any]:
    @wraps(call)
    def wait_and_call(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return call(*args, **kwargs)

    return wait_and_call


def _opening_in_turn(store: QdrantDocumentStore, turn: RLock) -> Callable[[], None]:
    """What the store calls before it uses its client; each batch that it writes is then a turn of its own."""
    initialize = store._initialize_client  # noqa: SLF001

    def open_client() -> None:
        with turn:
            initialize()
            if not isinstance(store._client, _InTurn):  # noqa: SLF001
                store._client = cast("Any", _InTurn(store._client, turn))  # noqa: SLF001

    return open_client


# --- the application ---


def served(folder: Path) -> FastAPI:
    """
    The Hayhooks application with the pipelines of a folder.

    :param folder: Holds pipeline YAML files that declare ``inputs`` and ``outputs``.
    :raises ValueError: If there is no such file, or one is not a pipeline.
    """
    files = sorted(folder.glob("*.y*ml"))
    if not files:
        msg = f"There is no pipeline YAML in {folder}. 'rrra init {folder}' writes the bundled ones there."
        raise ValueError(msg)
    wrappers = {}
    for file in files:
        try:
            wrapper = ServedPipeline.from_file(file)
            wrapper.setup()
        except Exception as error:
            msg = f"{file} cannot be served: {error}"
            raise ValueError(msg) from error
        wrappers[file.stem] = wrapper
    pipelines = [wrapper.pipeline for wrapper in wrappers.values()]
    share_stores(pipelines)
    take_turns(pipelines)
    app = _bare_app()
    for name, wrapper in wrappers.items():
        about = {
            "description": name,
            "streaming_components": wrapper.streaming_components,
            "include_outputs_from": wrapper.include_outputs_from,
            "input_resolutions": wrapper.input_resolutions,
        }
        commit_prepared_pipeline(PreparedPipeline(name, wrapper, about), app=app)
    app.add_exception_handler(RequestValidationError, _without_input)
    app.add_middleware(BodyLimit)
    return app


def _bare_app() -> FastAPI:
    """Hayhooks without pipelines, and without what would let anybody who reaches the port change or publish them."""
    # Deploying loads Python that a client sends, undeploying deletes files, drawing sends the pipeline to a public
    # server. The routers themselves are emptied, since a path can be written in several ways.
    for router in (deploy_router, undeploy_router, draw_router):
        router.routes.clear()
    # Web pages of other origins may call if the operator names them, in HAYHOOKS_CORS_ALLOW_ORIGINS.
    if "cors_allow_origins" not in settings.model_fields_set:
        settings.cors_allow_origins = []
    app = create_app()
    its_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[Any, None]:
        # Hayhooks deploys what it finds in its folder, and writes and deletes there: it gets an empty one.
        with TemporaryDirectory(prefix="rrra-serve-") as settings.pipelines_dir:
            async with its_lifespan(app) as state:
                yield state

    app.router.lifespan_context = lifespan
    return app


class BodyLimit:
    """Refuse a request whose body is larger than `MAX_BODY_BYTES`, or of unknown length, before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413 or 411."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and b"transfer-encoding" in headers:
            refusal = JSONResponse({"detail": "Send the request with a Content-Length."}, 411)
            await refusal(scope, receive, send)
        elif scope["type"] == "http" and int(headers.get(b"content-length", 0)) > MAX_BODY_BYTES:
            refusal = JSONResponse({"detail": f"The request has more than {MAX_BODY_BYTES:,} bytes."}, 413)
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _without_input(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's answer without an echo of the input, which may be long."""
    assert isinstance(error, RequestValidationError)
    details = [{key: value for key, value in detail.items() if key != "input"} for detail in error.errors()]
    return JSONResponse({"detail": jsonable_encoder(details)}, 422)
