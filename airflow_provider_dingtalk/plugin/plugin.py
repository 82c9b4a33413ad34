"""Airflow plugin: the Messages page in the navigation, on runs and on task instances.

Each component of Airflow imports this module, so all else is imported at the first request.
https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # before 3.2
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment]

NAME = "dingtalk-messages"
#: Headers of each file. The page shows texts of strangers, so the browser runs no script but the page's own.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class MessagesPage:
    """ASGI app of the page's files, which hold no data. Airflow does not ask for a login here."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request with a file.

        :raises starlette.exceptions.HTTPException: If there is no such file, or the method is not GET or HEAD.
        """

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await _files()(scope, receive, send_with_headers)


@cache
def _files() -> Any:
    """Return the ASGI app that serves the folder."""
    from starlette.staticfiles import StaticFiles

    return StaticFiles(directory=Path(__file__).with_name("static"), html=True)


def _view(destination: str, suffix: str = "", query: str = "") -> dict[str, Any]:
    """Return a view of the page; its address is relative, for a proxy with a base path."""
    return {
        "name": "DingTalk messages",
        "href": f"{NAME}/{query}",
        "destination": destination,
        "url_route": f"{NAME}{suffix}",
    }


_RUN = "?dag_id={DAG_ID}&run_id={RUN_ID}"


_APPS: list[Any] = [{"app": MessagesPage(), "url_prefix": f"/{NAME}", "name": "DingTalk messages"}]
_VIEWS: list[Any] = [
    {**_view("nav"), "category": "browse"},
    _view("dag_run", "-run", _RUN),
    _view("task_instance", "-task", _RUN + "&task_id={TASK_ID}&map_index={MAP_INDEX}"),
]


class DingTalkPlugin(AirflowPlugin):
    """Plugin with the Messages page."""

    name = "dingtalk_messages"
    fastapi_apps = _APPS
    external_views = _VIEWS
