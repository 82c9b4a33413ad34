"""Page ``/_sandbox/`` with the chats as people see them.

Messages appear, are read, and disappear when recalled. The page polls ``/_sandbox/chats`` and loads nothing from
other hosts.
"""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MODULES = ("main", "api", "texts", "markdown", "chats", "panel")
#: File name and media type of the page's parts, by path under ``/_sandbox``.
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in MODULES},
}
#: Sources that the page may load.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    # Any client can set the text of a message, so no script may run even if the page showed it as HTML.
    "content-security-policy": "; ".join(f"{name} {source}" for name, source in POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


def console_routes() -> list[Route]:
    """Create the routes of the page."""
    return [Route(path, _show, methods=["GET"]) for path in FILES]


def _show(request: Request) -> Response:
    name, media_type = FILES[request.url.path.removeprefix("/_sandbox")]
    return Response(files(__package__).joinpath(name).read_bytes(), media_type=media_type, headers=HEADERS)
