"""Rollbacks inside a task: clears, cut-off sends, watcher, report, failing places."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.operators import (
    DingTalkRecallOTOMessagesOperator,
    DingTalkRollbackOperator,
    rollback_on_failure,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.run_history import FAILED_TASK_GRACE, Tasks
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, TaskStateStore, context, is_recalled, key_of, planted
from tests.support.rollbacks import roll_back

pytestmark = pytest.mark.usefixtures("hook")


# ── across clears ──


def test_what_was_recalled_before_a_clear_is_not_recalled_again(sandbox: SandboxServer):
    """The sends sent again: the rollback has more to do than before, and some of it is done."""
    store, ti = TaskStateStore(), TaskInstance("rollback")
    old, new = planted(sandbox, "oto", 3), planted(sandbox, "oto", 2)
    told = {**context(ti), "task_state_store": store}
    DingTalkRollbackOperator(task_id="rollback", receipts=old).execute(told)
    ti.max_tries = 1
    report = DingTalkRollbackOperator(task_id="rollback", receipts=old + new).execute(told)
    assert report["counts"]["recalled"] == 5
    asked = [found.recalls for found in sandbox.state.messages.values()]
    assert asked == [1] * 5


# ── a send that was cut off ──


@pytest.mark.parametrize(("over_after", "waited"), [(0, 0), (3, 3), (None, FAILED_TASK_GRACE)])
def test_it_waits_until_a_send_that_was_cut_off_has_ended_or_must_have(over_after: int | None, waited: float):
    xcoms: dict[tuple[str, str], list[Any]] = {("send", "sending"): [{"is_over": over_after == 0, "rollbacks": []}]}
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == over_after:
            xcoms["send", "sending"] = [{"is_over": True, "rollbacks": []}]

    Tasks(context(TaskInstance("rollback", xcoms=xcoms)), ["send", "check"]).wait_for_sends(sleep=sleep)
    assert sum(slept) == waited


# ── the watcher ──


@pytest.mark.parametrize(
    ("states", "named"),
    [
        ({"send": "success", "work": "skipped"}, None),
        ({"send": "failed", "work": "skipped"}, "send"),
        ({"send_0": "success", "send_1": "failed", "work": "upstream_failed"}, "send_1, work"),
        ({"send": "success", "elsewhere": "failed"}, None),
    ],
)
def test_the_watcher_fails_if_a_task_of_the_block_did_and_names_it(states: dict[str, str], named: str | None):
    with DAG("watched", schedule=None) as dag, rollback_on_failure():
        BaseOperator(task_id="send") >> BaseOperator(task_id="work")
    watcher = dag.get_task("rollback_watcher")
    told = context(TaskInstance("rollback_watcher", states=states))
    if named is None:
        watcher.execute(told)
    else:
        with pytest.raises(AirflowFailException, match=f": {named}\\. DAG .+：{named}。$"):
            watcher.execute(told)


# ── a report, even so ──


@pytest.mark.parametrize(
    "argument",
    [
        {"max_readers": -1},
        {"older_than": "yesterday"},
        {"from_tasks": 5},
        {"dry_run": "perhaps"},
        {"receipts": "nonsense"},
    ],
)
def test_a_rollback_that_fails_before_it_knows_its_messages_reports_nothing(
    sandbox: SandboxServer, argument: dict[str, Any]
) -> None:
    ti = TaskInstance("rollback")
    with pytest.raises(AirflowFailException):
        roll_back(**{"receipts": planted(sandbox, "oto"), "ti": ti, **argument})
    assert ti.pushed("report")["counts"]["total"] == 0


BAD_OUTCOMES = [
    ({"on_empty": "maybe"}, "on_empty: is 'maybe'"),
    ({"on_empty": None}, "on_empty: is "),
    ({"fail_on": {"lost"}}, "fail_on: holds 'lost'"),
    ({"fail_on": "recalled"}, "fail_on: holds 'recalled'"),
    ({"fail_on": 5}, "fail_on: must be a set"),
    ({"fail_on": None}, "fail_on: must be a set"),
    ({"fail_on": [["failed"]]}, "fail_on: must be a set"),
    ({"fail_on": {"lost", 5, None}}, "fail_on: holds "),
]


@pytest.mark.parametrize(("argument", "told"), BAD_OUTCOMES)
@pytest.mark.parametrize("operator", [DingTalkRollbackOperator, DingTalkRecallOTOMessagesOperator])
def test_an_option_of_the_result_that_is_invalid_fails_the_task_after_the_recall(
    sandbox: SandboxServer, operator: Any, argument: dict[str, Any], told: str
) -> None:
    ti = TaskInstance("rollback")
    task = operator(task_id="rollback", receipts=planted(sandbox, "oto", 3), **argument)
    with pytest.raises(AirflowFailException, match=f"^{told}"):
        task.execute(context(ti))
    counts = ti.pushed("report")["counts"]
    assert (counts["recalled"], counts["total"]) == (3, 3)


# ── places that fail ──


class NoXComs(TaskInstance):
    """Task instance whose XCom pushes fail."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise RuntimeError("API_SERVER_ERROR")


class FailingStore(TaskStateStore):
    """A store that fails after some writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self._writes = writes

    def set(self, key: str, value: Any) -> None:
        if not self._writes:
            raise RuntimeError("API_SERVER_ERROR")
        self._writes -= 1
        super().set(key, value)


def test_xcoms_that_fail_do_not_keep_the_next_try_from_knowing_what_is_recalled(sandbox: SandboxServer) -> None:
    receipts, store, ti = planted(sandbox, "oto", 3), TaskStateStore(), TaskInstance("rollback")
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=receipts)
    with pytest.raises(RuntimeError, match="API_SERVER_ERROR"):
        operator.execute({"ti": NoXComs("rollback"), "task_state_store": store})
    # One receipt fewer makes another recall of it.
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=receipts[1:])
    operator.execute({"ti": ti, "task_state_store": store})
    assert (ti.pushed("report")["counts"]["recalled"], ti.pushed("report")["api_calls"]["total"]) == (2, 0)


def test_a_store_that_fails_does_not_keep_recalled_keys_from_the_xcoms(sandbox: SandboxServer) -> None:
    receipts, ti = planted(sandbox, "oto", 3), TaskInstance("rollback")
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=receipts)
    with pytest.raises(CheckpointError):
        operator.execute({"ti": ti, "task_state_store": FailingStore(2)})
    assert set(ti.pushed("recalled_0")) == set(map(key_of, receipts))
    assert ti.pushed("report")["counts"]["recalled"] == 3


def test_the_cause_is_seen_when_all_places_fail(sandbox: SandboxServer) -> None:
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=planted(sandbox, "oto", 3))
    with pytest.raises(CheckpointError):
        operator.execute({"ti": NoXComs("rollback"), "task_state_store": FailingStore(2)})


@pytest.mark.parametrize(("fail_on", "fails"), [({"failed", "unknown"}, True), ({"failed"}, False)])
def test_a_send_in_doubt_is_told_and_fails_the_rollback_after_all_else_is_recalled(
    sandbox: SandboxServer, fail_on: set[str], fails: bool
) -> None:
    [receipt] = planted(sandbox, "oto")
    doubt = {"to": ["user001"], "code": "no_answer", "message": "", "next_step": ""}
    xcoms = {("send", "receipts_0"): [[receipt]], ("send", "receipts_count"): [1], ("send", "unknown"): [[doubt]]}
    ti = TaskInstance("rollback", xcoms=xcoms, states={"send": "failed"})
    rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks="send", fail_on=fail_on)
    if fails:
        with pytest.raises(AirflowFailException, match=r"At most 1 sends put a message .* send \(1\)"):
            rollback.execute(context(ti))
    else:
        rollback.execute(context(ti))
    report = ti.pushed("report")
    assert (report["counts"]["recalled"], report["sends_in_doubt"]) == (1, {"send": 1})
    assert is_recalled(sandbox, receipt)
