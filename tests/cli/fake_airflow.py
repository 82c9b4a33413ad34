"""As much of Airflow's REST API as the commands read, with small pages. The real one is in tests/real_airflow."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from airflow_provider_dingtalk.task.asset_events import VERSION, rollback_log
from tests.cli.terminal import AIRFLOW_PASSWORD, AIRFLOW_TOKEN

#: Maximum entries of a page; a server may return fewer than the client requests.
PAGE = 3


@dataclass
class FakeAirflow:
    """Fake Airflow and its contents.

    :param runs: Runs, with ``dag_id``, ``dag_run_id``, ``state`` and ``end_date``.
    :param xcoms: Value by DAG, run, task, map index and key.
    :param broken: Number of next requests to answer with HTTP 500.
    :param ends_after_list: End of all runs that have not ended, from the next list of runs on.
    :param events: Extra and source (DAG, run, task) of the events of assets, by URI.
    :param hides_assets: True if the user may not see assets.
    :param odd: Bodies that replace the right answer, by the last part of the path.
    """

    url: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    xcoms: dict[tuple[str, str, str, int, str], Any] = field(default_factory=dict)
    needs_login: bool = True
    broken: int = 0
    ends_after_list: str = ""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    hides_assets: bool = False
    odd: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def add_run(self, dag_id: str, run_id: str, end_date: str | None = None) -> None:
        state = "success" if end_date else "running"
        self.runs.append({"dag_id": dag_id, "dag_run_id": run_id, "state": state, "end_date": end_date})

    def push(self, dag_id: str, run_id: str, task_id: str, key: str, value: Any, map_index: int = -1) -> None:
        self.xcoms[dag_id, run_id, task_id, map_index, key] = value

    def note(self, log_of: str, source: tuple[str, str, str], **extra: Any) -> None:
        """Add an event to a DAG's rollback log."""
        names = ("source_dag_id", "source_run_id", "source_task_id")
        event = {**dict(zip(names, source, strict=True)), "extra": {"version": VERSION, **extra}}
        self.events.setdefault(rollback_log(log_of).uri, []).append(event)

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.seen.append(url)
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        if self.broken:
            self.broken -= 1
            return 500, {"detail": "database is locked"}
        if path == "/auth/token":
            return self._token(method, body)
        if headers["authorization"] != f"Bearer {AIRFLOW_TOKEN}":
            return 401, {"detail": "Not authenticated"}
        parts = [unquote(part) for part in path.removeprefix("/api/v2/").split("/")]
        return self._read_assets(parts[1:], query) if parts[0] == "assets" else self._read(parts, query)

    def _token(self, method: str, body: bytes) -> tuple[int, Any]:
        if method == "GET":
            return (405, {}) if self.needs_login else (201, {"access_token": AIRFLOW_TOKEN})
        right = json.loads(body) == {"username": "oncall", "password": AIRFLOW_PASSWORD}
        return (201, {"access_token": AIRFLOW_TOKEN}) if right else (401, {"detail": "Invalid credentials"})

    def _read_assets(self, parts: list[str], query: dict[str, list[str]]) -> tuple[int, Any]:
        if self.hides_assets:
            return 403, {"detail": "Forbidden"}
        if parts == ["events"]:
            return 200, _page("asset_events", list(self.events.values())[int(query["asset_id"][0])], query)
        assets = [{"id": number, "uri": uri} for number, uri in enumerate(self.events)]
        return 200, _page("assets", [one for one in assets if _is_like(one["uri"], query["uri_pattern"][0])], query)

    def _read(self, parts: list[str], query: dict[str, list[str]]) -> tuple[int, Any]:
        match parts:
            case ["dags", dag_id, "dagRuns"]:
                known = {run["dag_id"] for run in self.runs}
                if dag_id not in known | {"~"}:
                    return 404, {"detail": "no such DAG"}
                found = [dict(run) for run in self.runs if _fits(run, dag_id, query)]
                if self.ends_after_list:
                    self.runs = [
                        run if run["end_date"] else {**run, "state": "success", "end_date": self.ends_after_list}
                        for run in self.runs
                    ]
                return 200, _page("dag_runs", found, query)
            case ["dags", dag_id, "dagRuns", run_id]:
                found = [run for run in self.runs if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id)]
                return (200, found[0]) if found else (404, {"detail": "no such run"})
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances"]:
                tasks = sorted({key[2] for key in self.xcoms if key[:2] == (dag_id, run_id)})
                return 200, _page("task_instances", [{"task_id": task} for task in tasks], query)
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries"]:
                names = ("dag_id", "run_id", "task_id", "map_index", "key")
                keys = [key for key in self.xcoms if key[:2] == (dag_id, run_id) and task_id in ("~", key[2])]
                entries = [dict(zip(names, key, strict=True)) for key in keys]
                return 200, _page("xcom_entries", entries, query)
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries", key]:
                index = int(query.get("map_index", ["-1"])[0])
                if (dag_id, run_id, task_id, index, key) not in self.xcoms:
                    return 404, {"detail": "no such XCom"}
                return 200, {"key": key, "value": self.xcoms[dag_id, run_id, task_id, index, key]}
        return 404, {"detail": "no such path"}


def _fits(run: dict[str, Any], dag_id: str, query: dict[str, list[str]]) -> bool:
    if dag_id not in ("~", run["dag_id"]):
        return False
    if "state" in query and run["state"] not in query["state"]:
        return False
    return "end_date_gte" not in query or bool(run["end_date"] and run["end_date"] >= query["end_date_gte"][0])


def _is_like(text: str, pattern: str) -> bool:
    """Match as Airflow does, by SQL's ILIKE."""
    wild = re.escape(pattern).replace("%", ".*").replace("_", ".")
    return re.search(wild, text, re.IGNORECASE) is not None


def _page(name: str, entries: list[Any], query: dict[str, list[str]]) -> dict[str, Any]:
    begin = int(query.get("offset", ["0"])[0])
    return {name: entries[begin : begin + PAGE], "total_entries": len(entries)}


@contextmanager
def running_airflow() -> Iterator[FakeAirflow]:
    """One on a free loopback port."""
    fake = FakeAirflow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer = fake.answer(self.command, self.path, self.headers, body)
            sent = fake.odd.get(urlsplit(self.path).path.rsplit("/", 1)[-1], json.dumps(answer).encode())
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_GET  # noqa: N815 -- the name is given

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
