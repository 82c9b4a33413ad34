"""Messages of a task: workers and commands find the same, with any other XComs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import pytest

from airflow_provider_dingtalk.cli.airflow_api import AirflowRest
from airflow_provider_dingtalk.cli.run_receipts import messages_of_run
from airflow_provider_dingtalk.exceptions import AirflowUnreachableError, MissingReceiptsError
from airflow_provider_dingtalk.task.rollback_source import of_run
from airflow_provider_dingtalk.task.run_history import Tasks, tasks_of_run
from airflow_provider_dingtalk.task.sent_messages import holds_receipts
from tests.cli.fake_airflow import FakeAirflow, running_airflow
from tests.task.test_rollback_source import DAG, Runs

RUN = "run"


def receipt(key: str, **more: Any) -> dict[str, Any]:
    return {"version": 1, "kind": "oto", "robot_code": "robot", "process_query_key": key, **more}


@dataclass
class History:
    """One run, as seen by a worker and by the REST API."""

    ti: Runs
    airflow: FakeAirflow
    find: Callable[[History], list[str]]
    states: dict[tuple[str, int], str] = field(default_factory=dict)

    def push(self, task: str, key: str, value: Any, index: int = -1) -> None:
        self.states.setdefault((task, index), "success")
        self.ti.xcoms[RUN, task, index, key] = value
        self.airflow.push(DAG, RUN, task, key, value, index)

    @property
    def keys(self) -> list[str]:
        return self.find(self)


def by_worker(history: History) -> list[str]:
    found = of_run({"ti": history.ti}, DAG, RUN)
    if found.missing:
        raise MissingReceiptsError(str(found.missing), code="", next_step="")
    return [one.key for one in found.receipts]


def by_command(history: History) -> list[str]:
    with AirflowRest.at(history.airflow.url) as airflow:
        return [one.key for one in messages_of_run(airflow, DAG, RUN).receipts]


@pytest.fixture(params=[by_worker, by_command])
def history(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    monkeypatch.delenv("AIRFLOW_API_TOKEN", raising=False)
    with running_airflow() as airflow:
        airflow.needs_login = False
        airflow.add_run(DAG, RUN, end_date="2026-11-21T00:10:00+00:00")
        states: dict[tuple[str, int], str] = {}
        yield History(Runs({RUN: states}), airflow, request.param, states)


def test_what_is_registered_is_found_in_all_its_pieces(history: History):
    for number in range(3):
        history.push("send", f"receipts_{number}", [receipt(f"{number}-a"), receipt(f"{number}-b")])
    history.push("send", "receipts_count", 6)
    assert history.keys == ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b"]


@pytest.mark.parametrize(
    "returned",
    [
        [receipt("a"), receipt("b")],
        {"first": receipt("a"), "rest": {"deep": [[receipt("b")], None, 3, "text"]}},
        [[receipt("a")], [], [[receipt("b")]]],
        # By hand, without a version.
        [{"kind": "oto", "robot_code": "robot", "process_query_key": key} for key in "ab"],
    ],
    ids=["list", "dict", "mapped", "by hand"],
)
def test_what_is_only_returned_is_found_in_any_shape(history: History, returned: Any):
    history.push("own", "return_value", returned)
    assert history.keys == ["a", "b"]


def test_what_a_task_registered_counts_and_not_what_it_passes_on(history: History):
    """Ignore receipts that the task only looked up, e.g. those of the day before."""
    history.push("send", "receipts_0", [receipt("today")])
    history.push("send", "receipts_count", 1)
    history.push("send", "return_value", [receipt("today"), receipt("yesterday")])
    assert history.keys == ["today"]


def test_instances_that_did_not_register_are_not_forgotten_beside_those_that_did(history: History):
    """As when the package is updated while a mapped task runs."""
    history.push("send", "return_value", [receipt("old")], 0)
    history.push("send", "receipts_0", [receipt("new")], 1)
    history.push("send", "receipts_count", 1, 1)
    history.push("send", "return_value", [receipt("new")], 1)
    assert history.keys == ["new", "old"]


FOREIGN: list[Any] = [
    {"version": 1, "kind": "oto", "robot_code": "robot", "process_query_key": "bad\nkey"},
    {"version": 1, "kind": "oto", "process_query_key": "no robot"},
    {"version": 99, "kind": "oto", "robot_code": "robot", "process_query_key": "later"},
    {"version": {}, "kind": "group", "process_query_key": ["a", "list"]},
    {"version": 1, "kind": "work_notification", "agent_id": "x" * 600, "task_id": -1},
    {"version": 1, "kind": "oto", "robot_code": "robot", "process_query_key": "k", "sent_at": "yesterday"},
]


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize("key", ["return_value", "receipts_0"])
def test_what_is_no_receipt_costs_only_itself_with_a_warning_that_names_the_task(
    history: History, value: Any, key: str, caplog: pytest.LogCaptureFixture
):
    history.push("stranger", key, [value, receipt("good")])
    history.push("send", "receipts_0", [receipt("other")])
    with caplog.at_level(logging.WARNING, "airflow_provider_dingtalk"):
        assert sorted(history.keys) == ["good", "other"]
    assert "stranger" in caplog.text


NOTHING: list[Any] = [
    None,
    0,
    [],
    {},
    "text",
    [[[[[[[[[[[[]]]]]]]]]]]],
    {"kind": "group"},
    {"kind": ["oto"], "version": 1},
    {"kind": {}, "version": 1},
    {"version": 1, "kind": "oto", "process_query_key": None},
    [1, None, {"a": [2]}],
    float("inf"),
]


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("key", ["return_value", "receipts_count", "recalled_0", "report", "sending"])
def test_values_of_any_shape_are_nobody_s_business(history: History, value: Any, key: str):
    history.push("stranger", "return_value", value)
    history.push("stranger", key, value)
    history.push("send", "receipts_0", [receipt("good")])
    assert history.keys == ["good"]


@pytest.mark.parametrize(
    ("items", "count"),
    [([receipt("a"), {"kind": "oto"}], 2), ([receipt(str(number)) for number in range(100)], 150)],
    ids=["one of a chunk", "a chunk"],
)
def test_a_registered_receipt_that_cannot_be_read_is_missing_and_not_nothing(
    history: History, items: list[Any], count: int
):
    history.push("send", "receipts_0", items)
    history.push("send", "receipts_count", count)
    with pytest.raises((MissingReceiptsError, AirflowUnreachableError), match="send"):
        history.find(history)


def test_what_is_missing_is_looked_for_in_the_return_value(history: History):
    history.push("send", "receipts_0", [receipt("a"), {"kind": "oto"}])
    history.push("send", "receipts_count", 2)
    history.push("send", "return_value", [receipt("a"), receipt("b")])
    assert history.keys == ["a", "b"]


def test_the_same_key_twice_is_one_message_and_nothing_is_missing(history: History):
    history.push("send", "receipts_0", [receipt("a"), receipt("a")])
    history.push("send", "receipts_count", 2)
    assert history.keys == ["a"]


def test_a_return_value_of_a_class_that_is_not_here_costs_only_itself(caplog: pytest.LogCaptureFixture):
    class Picky(Runs):
        def xcom_pull(self, *, task_ids: list[str], key: str, **more: Any) -> list[Any]:
            if task_ids == ["frame"] and key == "return_value":
                raise ImportError("pandas was not found in allow list for deserialization imports")
            return super().xcom_pull(task_ids=task_ids, key=key, **more)

    ti = Picky({RUN: {("frame", -1): "success", ("own", -1): "success"}})
    ti.xcoms[RUN, "own", -1, "return_value"] = receipt("a")
    assert [one.key for one in tasks_of_run({"ti": ti}, DAG, RUN).sent().receipts] == ["a"]
    assert "frame" in caplog.text


def test_an_airflow_that_is_away_is_not_an_empty_return_value():
    class Away(Runs):
        def xcom_pull(self, *, task_ids: list[str], key: str, **more: Any) -> list[Any]:
            if key == "return_value":
                raise ConnectionError("the object store is away")
            return super().xcom_pull(task_ids=task_ids, key=key, **more)

    with pytest.raises(ConnectionError):
        of_run({"ti": Away({RUN: {("own", -1): "success"}})}, DAG, RUN)


def test_calls_that_may_have_sent_are_told_beside_the_receipts(history: History, caplog: pytest.LogCaptureFixture):
    history.push("send", "receipts_0", [receipt("a")])
    history.push("send", "receipts_count", 1)
    history.push("send", "unknown", [{"to": ["user1"], "code": "no_answer", "message": "", "next_step": ""}])
    with caplog.at_level(logging.WARNING):
        assert history.keys == ["a"]
    if history.find is by_worker:
        assert of_run({"ti": history.ti}, DAG, RUN).in_doubt == {"send": 1}
    else:
        assert "At most 1 sends put a message into a chat and left no receipt: send (1)" in caplog.text


def test_a_send_that_was_cut_off_is_in_doubt_and_one_under_way_is_not():
    ti = Runs({RUN: {("killed", -1): "failed", ("sends", -1): "running", ("ended", -1): "failed"}})
    for task, is_over in (("killed", False), ("sends", False), ("ended", True)):
        ti.xcoms[RUN, task, -1, "sending"] = {"is_over": is_over, "rollbacks": []}
    assert of_run({"ti": ti}, DAG, RUN).in_doubt == {"killed": 1}


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, 1),  # of an older version
        ({"at_a_time": 20, "calls": 600, "receipts": 0}, 20),
        ({"at_a_time": 20, "calls": 7, "receipts": 0}, 5),
        ({"at_a_time": 20, "calls": 2, "receipts": 0}, 0),
        ({"at_a_time": 20, "calls": 2, "receipts": 1}, 1),
        ({"at_a_time": "20", "calls": None, "receipts": 0}, 1),
    ],
)
def test_a_killed_send_leaves_at_most_what_it_had_begun_in_doubt(limits: dict[str, Any], most: int):
    ti = Runs({RUN: {("send", -1): "failed"}})
    ti.xcoms[RUN, "send", -1, "receipts_0"] = [receipt("a"), receipt("b")]
    # Of a process that the task forked, whose calls are not among these.
    ti.xcoms[RUN, "send", -1, "receipts_late"] = [receipt("c")]
    ti.xcoms[RUN, "send", -1, "sending"] = {"is_over": False, "rollbacks": ["rollback"], **limits}
    assert of_run({"ti": ti}, DAG, RUN).in_doubt == ({"send": most} if most else {})


def test_alerts_belong_to_a_run_and_not_to_the_rollback_of_a_block(history: History):
    history.push("send", "alert_receipts", [receipt("alert")])
    assert history.keys == ["alert"]
    assert Tasks({"ti": history.ti}, ["send"], dag_id=DAG, run_id=RUN).sent().receipts == []


@pytest.mark.parametrize(
    ("stored", "holds"),
    [
        (receipt("a"), True),
        ({"sent": [[receipt("a")]]}, True),
        ({"__classname__": "builtins.tuple", "__version__": 1, "__data__": [receipt("a")]}, True),
        ([[[[[[[[[[[receipt("a")]]]]]]]]]]], True),
        ({"kept": 3, "kind": "oto", "keys": ["a"]}, False),
        ([1, "oto", None, {"kind": 7}], False),
        (reduce(lambda inner, _: [inner], range(5_000), "deep"), False),
    ],
    ids=range(7),
)
def test_a_stored_value_that_holds_a_receipt_is_known_in_any_shape(stored: Any, holds: bool):
    assert holds_receipts(stored) is holds
