"""Test doubles of Airflow for tasks: connections, a context, XComs and a task state store."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, iso
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.local_dingtalk import receipt_for

TOKEN_API = "oauth2/accessToken"

_numbers = count()


def connection(sandbox: SandboxServer, *, extra: dict[str, Any] | None = None, **fields: Any) -> str:
    """Return a new, unique connection to a sandbox as JSON, because clients are cached by connection.

    :param extra: Additional extras; ``None`` removes one.
    """
    base = sandbox.connection()
    extras = {**base["extra"], "calls_per_second": 0, "test": next(_numbers), **(extra or {})}
    kept = {name: value for name, value in extras.items() if value is not None}
    return json.dumps({**base, "extra": kept, **fields})


def _holds_a_tuple(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, tuple) or any(map(_holds_a_tuple, inner))


class TaskStateStore:
    """Task state store as in Airflow 3.3: JSON by key, kept between tries."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        plain = json.dumps(value)
        assert not _holds_a_tuple(value), "Airflow takes plain JSON only"
        self._values[key] = plain


class TaskInstance:
    """The ``ti`` of a context; it stores XComs, which must be plain JSON, as in Airflow.

    :param task_id: Id of the task that pushes.
    :param states: States of the run's tasks, as ``get_task_states`` returns them.
    :param on_push: Called at each push; its result is stored beside the XCom.
    """

    dag_id = "dag"
    run_id = "run"
    try_number = 1
    max_tries = 0
    map_index = -1

    def __init__(
        self,
        task_id: str = "task",
        *,
        xcoms: dict[tuple[str, str], list[Any]] | None = None,
        states: dict[str, str] | None = None,
        on_push: Callable[[], Any] = lambda: None,
    ) -> None:
        self.task_id = task_id
        self.pushes: list[tuple[str, Any, Any]] = []
        self._xcoms = {} if xcoms is None else xcoms
        self._states = states or {}
        self._on_push = on_push

    def xcom_push(self, key: str, value: Any) -> None:
        plain = json.loads(json.dumps(value))
        assert plain == value, "an XCom must survive JSON unchanged"
        self._xcoms[self.task_id, key] = [plain]
        self.pushes.append((key, plain, self._on_push()))

    def xcom_pull(self, *, task_ids: list[str], key: str) -> list[Any]:
        """Values of all instances of several tasks, and ``None`` for a task that has none: as in 3.3."""
        values: list[Any] = []
        for task_id in task_ids:
            values += self._xcoms.get((task_id, key), [None])
        return values

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str] | None, run_ids: list[str]
    ) -> dict[str, dict[str, str]]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        found = {
            name: state
            for name, state in self._states.items()
            if task_ids is None or name in task_ids or name.rpartition("_")[0] in task_ids
        }
        return {self.run_id: found} if found else {}

    def pushed(self, key: str) -> Any:
        """The last value pushed under a key."""
        found = [value for name, value, _ in self.pushes if name == key]
        assert found, f"nothing was pushed under {key!r}"
        return found[-1]

    @property
    def keys(self) -> list[str]:
        return [key for key, _, _ in self.pushes]


def context(ti: TaskInstance | None = None, *, store: bool = True) -> Any:
    """Return the part of a task's context that the operators use.

    :param store: Add a task state store, as in Airflow 3.3 and later.
    """
    return {"ti": ti or TaskInstance(), **({"task_state_store": TaskStateStore()} if store else {})}


def calls(sandbox: SandboxServer) -> dict[str, int]:
    """Return the number of requests that arrived, by API."""
    return dict(Counter({api: counted.total for api, counted in sandbox.state.journal.calls.items()}))


def planted(sandbox: SandboxServer, kind: Kind | str, number: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Create messages of the default organisation and return their receipts."""
    kind, conversation = Kind(kind), more.get("open_conversation_id")
    keys = create_messages(sandbox.state, CreateMessages(kind=kind.value, count=number, **more))["keys"]
    sent_at = iso(sandbox.state.time() - more.get("age_seconds", 0))
    made = [receipt_for(kind, key, sent_at=sent_at, conversation=conversation).to_json() for key in keys]
    return [{**receipt, "version": 1} for receipt in made]


def key_of(receipt: dict[str, Any]) -> str:
    return str(receipt[message_type(receipt["kind"]).key_field])


def is_recalled(sandbox: SandboxServer, receipt: dict[str, Any]) -> bool:
    """Return True if a message is recalled in the sandbox."""
    key = key_of(receipt)
    found = sandbox.state.messages[int(key) if receipt["kind"] == "work_notification" else key]
    return found.recalled_at is not None


def everything_said(error: BaseException) -> str:
    """Return all texts of an error, its arguments and attributes, and of its causes and contexts."""
    told: list[str] = []
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        told += [str(current), repr(current), repr(current.args), repr(vars(current))]
        queue += [current.__cause__, current.__context__]
    return "\n".join([*told, "".join(traceback.format_exception(error))])
