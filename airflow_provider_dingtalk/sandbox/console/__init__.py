"""Page ``/_sandbox/`` with the chats as people see them.

Messages appear, are read, and disappear when recalled. The page polls ``/_sandbox/truth`` and loads nothing from
other hosts.
"""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: File name and media type of the page's parts, by path under ``/_sandbox``.
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    # Any client can set the text of a message, so no script may run even if the page showed it as HTML.
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


def console_routes() -> list[Route]:
    """Create the routes of the page."""
    return [Route(path, _show, methods=["GET"]) for path in FILES]


def _show(request: Request) -> Response:
    name, media_type = FILES[request.url.path.removeprefix("/_sandbox")]
    return Response(files(__package__).joinpath(name).read_bytes(), media_type=media_type, headers=HEADERS)
