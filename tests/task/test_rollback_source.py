"""Selection of messages for a rollback, with several runs, mapped tasks and blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.task.rollback_source import of_run, of_unfinished, of_window
from airflow_provider_dingtalk.task.run_history import Tasks, tasks_of_run

DAG = "revenue"


class Runs:
    """The ``ti`` of a task of another DAG; XComs and states are by run, task and index.

    :param states: ``{run: {(task, index): state}}``; the index of a task that is not mapped is -1.
    """

    dag_id, run_id, map_index = "sweeper", "today", -1
    is_unknown = False

    def __init__(self, states: dict[str, dict[tuple[str, int], str]]) -> None:
        self._states = states
        self.xcoms: dict[tuple[str, str, int, str], Any] = {}
        self.running: set[str] = set()

    def sent(self, run: str, task: str, *keys: str, index: int = -1, block: str = "") -> None:
        receipts = [{"kind": "oto", "robot_code": "robot", "process_query_key": key} for key in keys]
        self.xcoms[run, task, index, "receipts_0"] = receipts
        if block:
            self.xcoms[run, task, index, "sending"] = {"is_over": True, "rollbacks": [block]}

    def xcom_pull(
        self, *, task_ids: list[str], key: str, dag_id: str, run_id: str, map_indexes: Iterable[int] | None = None
    ) -> list[Any]:
        assert dag_id == DAG
        return [
            value
            for (run, task, index, name), value in self.xcoms.items()
            if (run, name) == (run_id, key) and task in task_ids and (map_indexes is None or index in map_indexes)
        ] or [None]

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str] | None, run_ids: list[str] | None
    ) -> dict[str, dict[str, str]]:
        assert dag_id == DAG
        return {
            run: {
                task if index < 0 else f"{task}_{index}": state
                for (task, index), state in states.items()
                if task_ids is None or task in task_ids
            }
            for run, states in self._states.items()
            if run_ids is None or run in run_ids
        }

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        ended = ("success", "failed", "skipped", "upstream_failed", "removed")
        return [
            {"task_id": task, "map_index": index}
            for (task, index), state in self._states[run_id].items()
            if state in ended
        ]

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        return "running" if run_id in self.running else "failed"

    def get_dr_count(self, *, dag_id: str) -> int:
        assert dag_id == DAG
        return len(self._states)

    def get_dag(self, dag_id: str) -> str:
        assert dag_id == DAG
        if self.is_unknown:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))
        return dag_id


def keys(found: Iterable[Any]) -> dict[str, list[str]]:
    return {one.run_id: sorted(receipt.key for receipt in one.receipts) for one in found}


def test_a_sweep_takes_back_what_the_blocks_sent_whose_rollback_did_not_succeed():
    ti = Runs(
        {
            "late": {("send", -1): "success", ("outside", -1): "success", ("rollback", -1): "skipped"},
            "well": {("send", -1): "success", ("rollback", -1): "success"},
            "broken": {("send", -1): "failed", ("rollback", -1): "failed"},
            "swept": {("send", -1): "success", ("rollback", -1): "skipped"},
            "alive": {("send", -1): "running", ("rollback", -1): "scheduled"},
        }
    )
    ti.running.add("alive")
    for run in ("late", "well", "broken", "swept", "alive"):
        ti.sent(run, "send", f"{run}-1", f"{run}-2", block="rollback")
    ti.sent("late", "outside", "late-3")
    # The failed rollback had recalled one of two messages.
    ti.xcoms["broken", "rollback", -1, "recalled_0"] = ["broken-1"]
    found = of_unfinished({"ti": ti}, DAG, ["rollback"], {"swept"})
    assert keys(found) == {"late": ["late-1", "late-2"], "broken": ["broken-2"]}


def test_a_sweep_tells_blocks_and_instances_of_a_mapped_one_apart():
    ti = Runs(
        {
            "run": {
                ("each.send", 0): "success",
                ("each.send", 1): "success",
                ("each.rollback", 0): "success",
                ("each.rollback", 1): "skipped",
                ("send", -1): "success",
                ("rollback", -1): "success",
                ("group.send", -1): "success",
                ("group.rollback", -1): "skipped",
            }
        }
    )
    ti.sent("run", "each.send", "first", index=0, block="each.rollback")
    ti.sent("run", "each.send", "second", index=1, block="each.rollback")
    ti.sent("run", "send", "third", block="rollback")
    ti.sent("run", "group.send", "fourth", block="group.rollback")
    rollbacks = ["rollback", "each.rollback", "group.rollback"]
    assert keys(of_unfinished({"ti": ti}, DAG, rollbacks, ())) == {"run": ["fourth", "second"]}


def test_a_whole_run_is_what_its_tasks_sent_however_they_ended():
    ti = Runs(
        {
            "run": {
                ("failed", -1): "failed",
                ("mapped", 0): "success",
                ("mapped", 1): "failed",
                ("name_7", -1): "success",
                ("running", 3): "running",
                ("waiting", -1): "deferred",
                ("never", -1): "scheduled",
            }
        }
    )
    for task, index in (
        ("failed", -1),
        ("mapped", 0),
        ("mapped", 1),
        ("name_7", -1),
        ("running", 3),
        ("waiting", -1),
    ):
        ti.sent("run", task, f"{task}{index}", index=index)
    everything = ["failed-1", "mapped0", "mapped1", "name_7-1", "running3", "waiting-1"]
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": everything}
    assert keys([of_run({"ti": ti}, DAG, "run", ["mapped"])]) == {"run": ["mapped0", "mapped1"]}
    ti.xcoms["run", "name_7", -1, "recalled_0"] = ["mapped0", "failed-1"]
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["mapped1", "name_7-1", "running3", "waiting-1"]}


def test_thousands_of_receipts_and_of_recalled_keys_are_read_in_their_numbered_pieces():
    ti = Runs({"run": {("send", -1): "success"}})
    for number in range(101):
        ti.xcoms["run", "send", -1, f"receipts_{number}"] = [
            {"kind": "oto", "robot_code": "robot", "process_query_key": f"{number}-{at}"} for at in range(100)
        ]
    for number in range(10):
        ti.xcoms["run", "send", -1, f"recalled_{number}"] = [
            f"{10 * number + tens}-{at}" for tens in range(10) for at in range(100)
        ]
    assert len(of_run({"ti": ti}, DAG, "run").receipts) == 100
    assert len(tasks_of_run({"ti": ti}, DAG, "run").recalled()) == 10_000


def test_a_task_whose_name_looks_like_a_mapped_one_is_not_taken_for_it():
    ti = Runs({"run": {("send_1", -1): "failed", ("send", -1): "success"}})
    assert not Tasks({"ti": ti}, ["send"], dag_id=DAG, run_id="run").has_failed()
    assert Tasks({"ti": ti}, ["send_1"], dag_id=DAG, run_id="run").has_failed()


def test_a_run_that_somebody_mistyped_is_refused_by_its_name():
    with pytest.raises(InvalidInputError, match=r"^from_run: is 'yesterday', no run of 'revenue'"):
        of_run({"ti": Runs({"yesterday": {}})}, DAG, "yesterday", must_be=True)


# ── what cannot be seen ──

SINCE = 1_795_000_000.0
UNTIL = SINCE + 3600


def test_a_window_finds_runs_without_a_rollback_and_messages_of_unknown_age():
    ti = Runs({"old": {("send", -1): "success"}, "new": {("send", -1): "failed"}, "queued": {("send", -1): "queued"}})
    for run, key, moment in (("old", "early", SINCE - 1), ("new", "late", SINCE + 1), ("new", "later", UNTIL + 1)):
        ti.sent(run, "send", key)
        ti.xcoms[run, "send", -1, "receipts_0"][0]["sent_at"] = iso(moment)
        ti.xcoms[run, f"more_{key}", -1, "receipts_0"] = ti.xcoms[run, "send", -1, "receipts_0"]
        ti._states[run][f"more_{key}", -1] = "success"
    ti.sent("new", "undated", "undated")
    ti._states["new"]["undated", -1] = "success"
    found = of_window({"ti": ti}, DAG, SINCE, UNTIL)
    assert keys(found) == {"old": [], "new": ["late", "undated"]}


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [(SINCE, SINCE, "^until: .*not later than since"), (9e9, None, "^since: .* yet to come")],
)
def test_an_empty_window_is_refused(since: float, until: float | None, said: str):
    with pytest.raises(InvalidInputError, match=said):
        of_window({"ti": Runs({"run": {("send", -1): "success"}})}, DAG, since, until)


@pytest.mark.parametrize(
    "look",
    [
        lambda ti: of_window({"ti": ti}, DAG, SINCE, None),
        lambda ti: of_unfinished({"ti": ti}, DAG, ["rollback"], ()),
    ],
    ids=["window", "sweep"],
)
def test_a_dag_that_airflow_does_not_know_is_refused_and_one_that_never_ran_is_not(look: Any):
    ti = Runs({})
    assert look(ti) == []
    ti.is_unknown = True
    with pytest.raises(InvalidInputError, match=f"is '{DAG}'; Airflow knows no DAG"):
        look(ti)


def test_so_it_is_in_dag_test_where_airflow_s_answer_comes_as_it_is():
    class Tested(Runs):
        def get_dag(self, dag_id: str) -> str:
            request = httpx.Request("GET", "http://in-process.invalid/dags/x")
            raise httpx.HTTPStatusError("not found", request=request, response=httpx.Response(404, request=request))

    with pytest.raises(InvalidInputError, match="Airflow knows no DAG"):
        of_window({"ti": Tested({})}, DAG, SINCE, None)


def test_an_airflow_that_fails_otherwise_is_not_a_dag_that_is_gone():
    class Broken(Runs):
        def get_dag(self, dag_id: str) -> str:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}))

    with pytest.raises(AirflowRuntimeError):
        of_window({"ti": Broken({})}, DAG, SINCE, None)


def test_a_sweep_of_a_dag_without_its_rollback_is_refused():
    ti = Runs({"run": {("send", -1): "success", ("undo", -1): "success"}})
    with pytest.raises(InvalidInputError, match=r"^rollbacks: is \['rollback'\]; no run of 'revenue' has a task"):
        of_unfinished({"ti": ti}, DAG, ["rollback"], ())
    assert of_unfinished({"ti": ti}, DAG, ["undo"], ()) == []


def test_a_task_that_a_run_does_not_have_is_refused():
    ti = Runs({"run": {("send", -1): "success", ("each", 0): "success", ("never", -1): None}})
    assert keys([of_run({"ti": ti}, DAG, "run", ["send", "each", "never"], must_be=True)]) == {"run": []}
    with pytest.raises(InvalidInputError, match=r"^from_tasks: holds 'sned', no task of the run 'run'"):
        of_run({"ti": ti}, DAG, "run", ["send", "sned"], must_be=True)


def test_a_cleared_task_that_has_not_begun_again_is_not_forgotten():
    """Airflow deletes its XComs when it begins."""
    ti = Runs({"run": {("send", -1): None, ("mapped", 0): "scheduled", ("mapped", 1): "success"}})
    ti.sent("run", "send", "first")
    ti.sent("run", "mapped", "second", index=0)
    ti.sent("run", "mapped", "third", index=1)
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["first", "second", "third"]}


def test_an_id_that_ends_in_a_digit_of_another_script_is_no_instance_of_a_mapped_task():
    ti = Runs({"run": {("发送_²", -1): "failed", ("发送", -1): "success", ("x_٣", -1): "running"}})
    ti.sent("run", "x_٣", "third")
    assert not Tasks({"ti": ti}, ["发送"], dag_id=DAG, run_id="run").has_failed()
    assert Tasks({"ti": ti}, ["发送_²"], dag_id=DAG, run_id="run").has_failed()
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["third"]}
