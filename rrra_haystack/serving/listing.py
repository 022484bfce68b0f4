"""What a server can be asked, as a page: what ``/openapi.json`` says, of this server alone and without a script."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader

# Texts of pipelines stand on the page, and whatever they are, it loads and runs nothing.
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Key(NamedTuple):
    """
    A key of a request.

    :param name: Its name.
    :param kind: What it holds.
    :param is_required: Whether it may not be left out.
    :param about: What is told of it.
    """

    name: str
    kind: str
    is_required: bool
    about: str


class Operation(NamedTuple):
    """
    Something that can be asked.

    :param method: How it is called, as ``POST``.
    :param path: Where.
    :param about: What is told of it.
    :param bodies: The keys of a request, by its content type.
    """

    method: str
    path: str
    about: str
    bodies: dict[str, list[Key]]


def add_listing(app: FastAPI) -> None:
    """
    Let ``/docs`` list what can be asked, and ``/`` lead there.

    :param app: The application. Its own pages, which load scripts of another server, must be gone.
    """
    environment = Environment(loader=PackageLoader("rrra_haystack"), autoescape=True, trim_blocks=True)
    template = environment.get_template("serving.html")

    async def docs() -> HTMLResponse:
        described = app.openapi()
        # Pipelines first, for which a server is there.
        operations = sorted(_operations(described), key=lambda one: not one.path.endswith("/run"))
        return HTMLResponse(template.render(title=described["info"]["title"], operations=operations), headers=_HEADERS)

    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_api_route("/", root, include_in_schema=False)


def _operations(described: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            content = one.get("requestBody", {}).get("content", {})
            bodies = {kind: list(_keys(described, body["schema"])) for kind, body in content.items()}
            about = one.get("description") or one.get("summary", "")
            yield Operation(method.upper(), path, about.partition("\n\n")[0], bodies)


def _keys(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Key]:
    """The keys of an object; of one that is described elsewhere, those that are told there."""
    if "$ref" in schema:
        schema = described["components"]["schemas"][_name_of(schema)]
    required = schema.get("required", ())
    for name, own in schema.get("properties", {}).items():
        yield Key(name, _kind(own), name in required, own.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        return _name_of(schema)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_kind, choices)))
    if "const" in schema or "enum" in schema:
        return " or ".join(f'"{one}"' for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    return f"{kind} of {_kind(schema['items'])}" if schema.get("items") else kind


def _name_of(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
