"""A server on loopback that writes down each request, byte for byte, and answers as DingTalk does when well."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "a1b2+c3/d4="
RECALLED = {"successResult": ["k"], "failedResult": {}}
STATUS = {"sendStatus": "SUCCESS", "readUserIds": ["u"], "hasMore": False, "nextToken": ""}
#: A good answer by the last words of the path.
ANSWERS: dict[str, dict[str, Any]] = {
    "oauth2/accessToken": {"accessToken": TOKEN, "expireIn": 7200},
    "oauth2/corpAccessToken": {"accessToken": TOKEN, "expireIn": 7200},
    "groupMessages/recall": RECALLED,
    "otoMessages/batchRecall": RECALLED,
    "privateChatMessages/batchRecall": RECALLED,
    "groupMessages/query": STATUS,
    "privateChatMessages/query": STATUS,
    "oToMessages/readStatus": {"sendStatus": "SUCCESS", "messageReadInfoList": []},
    "groupMessages/send": {"processQueryKey": "k"},
    "oToMessages/batchSend": {"processQueryKey": "k"},
    "privateChatMessages/send": {"processQueryKey": "k"},
    "ding/send": {"openDingId": "d"},
    "ding/recall": {"openDingId": "d"},
    "corpconversation/asyncsend_v2": {"errcode": 0, "task_id": 5},
    "corpconversation/recall": {"errcode": 0, "errmsg": "ok"},
    "corpconversation/getsendprogress": {"errcode": 0, "progress": {"progress_in_percent": 100, "status": 2}},
    "corpconversation/getsendresult": {"errcode": 0, "send_result": {}},
}


@dataclass(frozen=True)
class Recorded:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return sorted(parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=self._has_query))

    @property
    def _has_query(self) -> bool:
        return bool(urlsplit(self.target).query)

    @property
    def token(self) -> str | None:
        return self.headers.get("x-acs-dingtalk-access-token")

    @property
    def body(self) -> Any:
        """The body as JSON, which does not care for blanks and order; ``None`` without one."""
        return json.loads(self.raw) if self.raw else None

    @property
    def form(self) -> dict[str, str]:
        """The body as a form, each field once."""
        pairs = parse_qsl(self.raw.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").replace(" ", "").lower()


class Recorder:
    """The requests that came in, oldest first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Recorded] = []

    def last(self) -> Recorded:
        """The newest request; all are forgotten."""
        found = self.requests[-1]
        self.requests.clear()
        return found


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record on a free loopback port for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.requests.append(Recorded(self.command, self.path, headers, raw))
            path = urlsplit(self.path).path
            answer = next((answer for end, answer in ANSWERS.items() if path.endswith(f"/{end}")), None)
            body = json.dumps(answer or {"code": "no.such.path"}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 -- the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Nothing: the requests are kept."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        recorder = Recorder(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join(10)
