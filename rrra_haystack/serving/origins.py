"""Which web pages may call a server: those of its own address, and of the origins that its operator names."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from hayhooks.settings import settings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_ORIGINS = "HAYHOOKS_CORS_ALLOW_ORIGINS"


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
        own = [f"http://{host}", f"https://{host}"]
        if self.is_local and host and not _is_local(_name_of(host)) and not any(map(self.named, own)):
            return f"This server answers to 'localhost' alone. To let a proxy pass other names, set {_ORIGINS}."
        # What a browser asks before it sends is answered as the settings say.
        if scope.get("method") == "OPTIONS" or origin is None or origin.lower() in own or self.named(origin):
            return None
        return f"Web pages of other origins may call only if {_ORIGINS} names them."


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_local(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
