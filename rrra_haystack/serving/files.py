"""Indexing over HTTP: uploads, and files of the server below folders that its operator names."""

import asyncio
import errno
import re
import unicodedata
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from haystack import logging
from haystack.dataclasses import ByteStream
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from rrra_haystack.documents.failures import told_errors, without_text
from rrra_haystack.documents.kinds import holds_passages, name_of
from rrra_haystack.errors import cause_of
from rrra_haystack.serving.pipeline import ServedPipeline

logger = logging.getLogger(__name__)
_FORM = "multipart/form-data"
_JSON = "application/json"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NamedFiles(BaseModel):
    """
    Files of the server.

    :param sources: Their paths.
    """

    model_config = ConfigDict(extra="forbid")

    sources: list[str] = Field(min_length=1)


class UploadedFiles(BaseModel):
    """
    Files of the client; for the description of the route alone.

    :param files: Their contents.
    """

    files: list[bytes]


def takes_files(wrapper: ServedPipeline) -> bool:
    """
    Whether a pipeline reads files.

    :param wrapper: The pipeline as it is served.
    :raises ValueError: If it takes something else besides, which no route brings.
    """
    taking = [one.name == "sources" for one in wrapper.input_resolutions.values()]
    if any(taking) and len(taking) > 1:
        msg = "A served pipeline that takes files takes nothing else: declare 'sources' as its only input."
        raise ValueError(msg)
    return any(taking)


def add_route(app: FastAPI, name: str, wrapper: ServedPipeline, folders: Collection[Path]) -> None:
    """
    Let clients index files at ``/NAME/run``; nothing of a file is returned but its name.

    :param app: The application.
    :param name: Name of the pipeline.
    :param wrapper: The pipeline, of which :func:`takes_files` is true.
    :param folders: The folders below which files of the server may be named.
    """

    async def run(request: Request) -> JSONResponse:
        with TemporaryDirectory(prefix="rrra-upload-") as folder:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == _FORM:
                try:
                    names = await _uploaded(request, Path(folder))
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    raise HTTPException(507, "The disk that uploads are kept on is full.") from error
            elif kind == _JSON:
                names = _named(await request.body(), folders)
            else:
                raise HTTPException(415, f"Send files as {_FORM}, or paths of the server as {_JSON}.")
            return JSONResponse({"result": await _index(wrapper, names)})

    bodies: dict[str, type[BaseModel]] = {_JSON: NamedFiles, _FORM: UploadedFiles}
    content = {kind: {"schema": model.model_json_schema()} for kind, model in bodies.items()}
    app.add_api_route(
        f"/{name}/run", run, methods=["POST"], name=f"{name}_run", tags=["pipelines"],
        openapi_extra={"requestBody": {"content": content, "required": True}},
    )  # fmt: skip


async def _uploaded(request: Request, folder: Path) -> dict[Path, str]:
    """Write uploads to a folder; the names by which the client knows them."""
    names: dict[Path, str] = {}
    async with request.form() as form:
        for number, (field, part) in enumerate(form.multi_items()):
            if field != "files" or not isinstance(part, UploadFile):
                raise HTTPException(422, "Send each file as a part 'files' with a file name, and nothing else.")
            # Browsers of old send whole paths.
            name = re.split(r"[/\\]", part.filename or "")[-1]
            path = folder / str(number) / name
            try:
                _check_name(name)
                path.parent.mkdir()
                path.write_bytes(await part.read())
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) in _FULL:
                    raise
                raise HTTPException(422, f"File {number + 1} has no name that a file can have.") from error
            names[path] = name
    if not names:
        raise HTTPException(422, "Send at least one file, as a part 'files'.")
    return names


def _check_name(name: str) -> None:
    if any(unicodedata.category(one) == "Cc" for one in name):
        msg = "The name has control characters."
        raise ValueError(msg)


def _named(body: bytes, folders: Collection[Path]) -> dict[Path, str]:
    """The files that a client names, all below the folders that are open to it."""
    try:
        sources = NamedFiles.model_validate_json(body).sources
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in faults]) from error
    names: dict[Path, str] = {}
    for source in sources:
        try:
            path = Path(source).resolve()
        except (OSError, ValueError, RuntimeError):
            path = None
        if path is None or not any(path.is_relative_to(folder) for folder in folders):
            raise HTTPException(
                403,
                "Files of the server are read only below the folders that 'rrra serve --allow-folder' names. Upload "
                "the files instead, as parts 'files' of a multipart form.",
            )
        names[path] = str(path)
    return names


async def _index(wrapper: ServedPipeline, names: dict[Path, str]) -> dict[str, Any]:
    """Index files together, or each by itself if that fails, so that one does not keep the others out."""
    refused = {path: reason for path in names if (reason := _refused(path))}
    told: dict[str, Any] = {}
    failed = {names[path]: reason for path, reason in refused.items()}
    # What comes of a file is known by its name: files of one name are indexed one after the other.
    alike: dict[str, list[Path]] = {}
    for path in (one for one in names if one not in refused):
        alike.setdefault(names[path], []).append(path)
    waiting = [[one for one in own if one] for own in zip_longest(*alike.values())]
    while waiting:
        paths = waiting.pop(0)
        try:
            told = _joined(told, await _run(wrapper, paths, names, failed))
        except HTTPException:
            raise
        except Exception as own:  # whatever a converter raises belongs to a file
            if len(paths) > 1:
                waiting[:0] = [[path] for path in paths]
                continue
            logger.warning("{file} cannot be indexed: {error}", file=names[paths[0]], error=own)
            failed[names[paths[0]]] = _kind(own)
    return {**told, "failed": failed} if failed else told


def _refused(path: Path) -> str | None:
    """Why something is not even given to a pipeline."""
    try:
        if path.exists() and not path.is_file():
            return "it is no file"
    except OSError:
        # Its name is too long, for example.
        return "it is no file"
    return "its lines are passages with an _id: index it with 'rrra index'" if holds_passages(path) else None


def _kind(error: BaseException) -> str:
    """What is told of an error: its message may hold some of the file."""
    return type(cause_of(error)).__name__


async def _run(
    wrapper: ServedPipeline, paths: Sequence[Path], names: dict[Path, str], failed: dict[str, str]
) -> dict[str, Any]:
    """Run the pipeline; files that gave no text are added to those that failed, with the reason."""
    (resolution,) = wrapper.input_resolutions.values()
    inputs: dict[str, dict[str, Any]] = {}
    known = await asyncio.to_thread(wrapper.pipeline.inputs)
    for target in resolution.targets:
        component, socket = target.split(".", 1)
        inputs[component] = {socket: list(paths)}
        if "meta" in known.get(component, {}):
            inputs[component]["meta"] = [{"source": names[path]} for path in paths]
    pipeline = wrapper.pipeline
    converters = {
        name for name, own in pipeline.graph.nodes(data=True)
        if "sources" in own["input_sockets"] and "documents" in own["output_sockets"]
    }  # fmt: skip
    with told_errors(hidden=False) as errors:
        output = await pipeline.run_async(inputs, include_outputs_from=converters)
    documents = [one for name in converters for one in output.get(name, {}).pop("documents", ())]
    told = _told(output, names)
    # Those of no kind that is read, and those that are not there, are told as such.
    settled = {name for values in told.values() for own in values.values() if isinstance(own, list) for name in own}
    settled |= {name_of(one.meta) for one in documents if (one.content or "").strip()}
    for path in (one for one in paths if converters and names[one] not in settled):
        error = errors.get(names[path]) or errors.get(str(path))
        failed[names[path]] = _kind(error) if error else without_text(names[path], path).reason
    return told


def _told(output: dict[str, Any], names: dict[Path, str]) -> dict[str, Any]:
    """Numbers and names of files alone, of what a pipeline put out."""
    told = {str(path): name for path, name in names.items()} | {name: name for name in names.values()}

    def told_of(item: Any) -> str | None:
        return told.get(str(item.meta.get("source")) if isinstance(item, ByteStream) else str(item))

    result: dict[str, Any] = {}
    for component, values in output.items():
        for key, value in values.items():
            if isinstance(value, int):
                result.setdefault(component, {})[key] = value
            elif isinstance(value, list) and (known := [name for one in value if (name := told_of(one)) is not None]):
                result.setdefault(component, {})[key] = known
    return result


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The sum of what two runs told."""
    joined = {component: dict(values) for component, values in one.items()}
    for component, values in other.items():
        own = joined.setdefault(component, {})
        for key, value in values.items():
            own[key] = own[key] + value if key in own else value
    return joined
