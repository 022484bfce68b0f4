"""Which web pages may call a server: those of its own address, and of the origins that its operator names."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from hayhooks.settings import settings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_ORIGINS = "HAYHOOKS_CORS_ALLOW_ORIGINS"
# A proxy may pass the port that a browser leaves out.
_PORTS = {"http": 80, "https": 443}
# What is told again is to be set in a shell.
_TOLD = re.compile(r"https?://[a-z0-9.:_\[\]-]{1,255}")


class OwnPages:
    """
    Refuse what the web pages of other origins send: a browser sends forms and texts without asking first.

    :param app: What requests are passed on to.
    :param host: The address that the server listens on. On one of this machine it answers to names of this machine
        alone, since a web page may let its own name lead there.
    """

    def __init__(self, app: ASGIApp, host: str | None) -> None:
        self.app = app
        self.is_local = host is not None and _is_local(host)
        # Its answers tell browsers; what they send before they ask, or without, comes to us.
        self.named = CORSMiddleware(
            app, allow_origins=settings.cors_allow_origins, allow_origin_regex=settings.cors_allow_origin_regex
        ).is_allowed_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        refused = self._refused(scope) if scope["type"] in ("http", "websocket") else None
        answer = self.app if refused is None else JSONResponse({"detail": refused}, 403)
        await answer(scope, receive, send)

    def _refused(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        own = [f"{scheme}://{host.removesuffix(f':{port}')}" for scheme, port in _PORTS.items()]
        if self.is_local and host and not _is_here(_parts(host)[0]) and not any(map(self.named, own)):
            return f"This server answers to 'localhost' alone. To let it answer to this name, set {_setting(own[0])}."
        # What a browser asks before it sends is answered as the settings say.
        if scope.get("method") == "OPTIONS" or origin is None or _is_own(origin.lower(), host) or self.named(origin):
            return None
        return f"Web pages of other origins may call only if the server is told to let them: {_setting(origin)}."


def _setting(origin: str) -> str:
    return f"""{_ORIGINS}='["{origin if _TOLD.fullmatch(origin) else "https://rag.example.com"}"]'"""


def _is_own(origin: str, host: str) -> bool:
    """Whether a page calls where it comes from; all names of this machine lead to one server on a port."""
    scheme, _, page = origin.partition("://")
    if scheme not in _PORTS:
        return False
    (name, port), called = _parts(page), _parts(host)
    is_same_name = name == called[0] != "" or (_is_here(name) and _is_here(called[0]))
    return is_same_name and (port or _PORTS[scheme]) == (called[1] or _PORTS[scheme])


def _parts(host: str) -> tuple[str, int | None]:
    """The name and the port of what a client calls; no name if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return "", None


def _is_here(name: str) -> bool:
    # Called as such, the address that stands for all is one of this machine.
    return name in ("0.0.0.0", "::") or _is_local(name)  # noqa: S104


def _is_local(name: str) -> bool:
    try:
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
