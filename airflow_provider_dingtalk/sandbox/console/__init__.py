"""The page ``/_sandbox/``: the chats as people see them. Messages appear, get read, and vanish when recalled.

It asks ``/_sandbox/truth`` again and again, and nothing of it comes from elsewhere.
"""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: What the page consists of, by path under ``/_sandbox``.
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    # Texts of messages are anybody's: should one ever be taken for HTML, it must not run.
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


def console_routes() -> list[Route]:
    """The routes of the page."""
    return [Route(path, _show, methods=["GET"]) for path in FILES]


def _show(request: Request) -> Response:
    name, media_type = FILES[request.url.path.removeprefix("/_sandbox")]
    return Response(files(__package__).joinpath(name).read_bytes(), media_type=media_type, headers=HEADERS)
