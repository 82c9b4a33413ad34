"""Client of a local Airflow: what a locked database refused is asked again, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from dev.airflow_api import AirflowApi

LOCKED = b'{"detail": {"reason": "Database error"}}'


@contextmanager
def airflow(*answers: tuple[int, bytes]) -> Iterator[tuple[AirflowApi, list[str]]]:
    """Start a server that gives these answers, and list the methods it receives."""
    left, heard = list(answers), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.command)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_POST  # noqa: N815 -- the name is the base class's

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        api = AirflowApi(f"http://127.0.0.1:{server.server_address[1]}", sleep=lambda _: None)
        try:
            yield api, heard
        finally:
            api.close()
            server.shutdown()


def test_what_a_locked_database_refused_is_asked_again() -> None:
    with airflow((500, LOCKED), (500, LOCKED), (201, b'{"key": "a"}'), (500, LOCKED), (200, b"{}")) as (api, heard):
        assert api.post("/variables", {"key": "a"}) == {"key": "a"}
        api.delete("/variables/a")
    assert heard == ["POST", "POST", "POST", "DELETE", "DELETE"]


@pytest.mark.parametrize("answer", [(500, b"no idea"), (503, LOCKED), (409, b"{}")])
def test_another_error_may_have_had_an_effect(answer: tuple[int, bytes]) -> None:
    with airflow(answer) as (api, heard), pytest.raises(RuntimeError, match=str(answer[0])):
        api.post("/variables", {"key": "a"})
    assert heard == ["POST"]
