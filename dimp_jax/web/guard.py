"""Lets only this server's own page in: every page of a browser can send requests to localhost."""

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

READS = ("GET", "HEAD")
# Nothing is loaded from elsewhere, and nobody may show the page or its parts in one of theirs.
ANSWER_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def names_of(host: str) -> frozenset[str]:
    """Names by which a server that listens at `host` is asked for; addresses are always taken."""
    return frozenset({"localhost", host.lower(), socket.gethostname().lower()})


def refusal(method: str, path: str, headers, names) -> str | None:
    """Why a request is not answered, in words; None if it is.

    A name that somebody else has pointed at this address (DNS rebinding) is none of `names`. A
    page of elsewhere says so in Origin or Sec-Fetch-Site, which browsers set and scripts cannot.

    Args:
      headers: with lower-case names. names: `names_of`.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not _is_ours(host, names):
        known = "by IP address, or by the address that dimp-jax demo printed"
        return f"asked for as {host!r}: open it {known}"
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return f"asked for by a page of {origin}: only its own page may"
    if method not in READS and origin is None:
        return f"{method} without the header Origin: only its own page may"
    site = headers.get("sec-fetch-site", "none")
    if path != "/" and site not in ("same-origin", "none"):
        return "asked for by another page: only its own may"
    return None


def _is_ours(host, names) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: answers 403 where there is a `refusal`, else adds `ANSWER_HEADERS`."""

    def __init__(self, app, names):
        self.app, self.names = app, names

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        reason = refusal(scope["method"], scope["path"], Headers(scope=scope), self.names)
        if reason is not None:
            return await JSONResponse({"error": reason}, 403)(scope, receive, send)

        async def guarded(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ANSWER_HEADERS)
            await send(message)

        await self.app(scope, receive, guarded)
