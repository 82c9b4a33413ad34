"""Rollback and sweep operators: source of the messages, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import Environment

from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator, DingTalkSweepOperator
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, calls, context, is_recalled, planted
from tests.support.connections import Connect
from tests.support.operators import GOOD, GROUP, WORK, BadInput, check_refused, numbered, rollback, run, sweep
from tests.support.runs import SINCE, RollbackOfRuns

pytestmark = pytest.mark.usefixtures("hook")


def test_receipts_of_send_tasks_are_found_even_of_failed_and_mapped_ones(sandbox: SandboxServer) -> None:
    first, second, third, fourth = planted(sandbox, "oto", 4)
    xcoms: dict[tuple[str, str], list[Any]] = {
        ("send", "receipts_0"): [[first]],
        ("mapped", "receipts_0"): [[second], None, [third]],
        ("mapped", "receipts_1"): [[fourth]],
    }
    for tasks in (["send", "mapped", "silent"], '["send", "mapped"]'):
        report = run(rollback(from_tasks=tasks), TaskInstance("rollback", xcoms=xcoms))
        assert report["counts"]["total"] == 4
    assert run(rollback(from_tasks="send"), TaskInstance("rollback", xcoms=xcoms))["counts"]["total"] == 1


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


BAD_RECEIPTS: list[tuple[Any, str]] = [
    ("no json", "receipts"),
    ("{'kind': 'oto'}", "receipts"),
    ("5", "receipts"),
    ('"text"', "receipts"),
    ("[" * 100_000, "receipts"),
    ("[" * 900 + "]" * 900, "receipts"),
    ("", "receipts"),
    (5, "receipts"),
    (1.5, "receipts"),
    (True, "receipts"),
    (b"[]", "receipts"),
    (bytearray(b"x"), "receipts"),
    (object(), "receipts"),
    ({1, 2}, "receipts"),
    ([5], "receipts[0]"),
    ([GOOD, [GOOD, 5]], "receipts[1][1]"),
    ([GOOD, "k"], "receipts[1]"),
    ([b"k"], "receipts[0]"),
    (nested(9), "receipts"),
    ({}, "receipts.kind"),
    ([{}], "receipts[0].kind"),
    ([{"process_query_key": "k"}], "receipts[0].kind"),
    ([{**GOOD, "kind": "sms"}], "receipts[0].kind"),
    ([{**GOOD, "kind": None}], "receipts[0].kind"),
    ([{**GOOD, "kind": ["oto"]}], "receipts[0].kind"),
    ([{**GOOD, "kind": {}}], "receipts[0].kind"),
    ([{**GOOD, "kind": 1}], "receipts[0].kind"),
    ([{**GOOD, "kind": "x" * 100_000}], "receipts[0].kind"),
    ([{**GOOD, "version": 3}], "receipts[0].version"),
    ([{**GOOD, "version": "1"}], "receipts[0].version"),
    ([{**GOOD, "version": None}], "receipts[0].version"),
    ([{**GOOD, "process_query_key": None}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": ""}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "  "}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": 5}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": ["k"]}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": b"k"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "k\n2"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "\ud800"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "k" * 513}], "receipts[0].process_query_key"),
    ([{"kind": "oto", "process_query_key": "k"}], "receipts[0].robot_code"),
    ([{**GOOD, "robot_code": " "}], "receipts[0].robot_code"),
    ([{**GOOD, "robot_code": 7}], "receipts[0].robot_code"),
    ([{**GOOD, "kind": "group"}], "receipts[0].open_conversation_id"),
    ([{**GOOD, "kind": "private_chat"}], "receipts[0].open_conversation_id"),
    ([{**GOOD, "kind": "ding"}], "receipts[0].open_ding_id"),
    ([{**GOOD, "kind": "work_notification"}], "receipts[0].task_id"),
    ([{**WORK, "task_id": "five"}], "receipts[0].task_id"),
    ([{**WORK, "task_id": True}], "receipts[0].task_id"),
    ([{**WORK, "task_id": -1}], "receipts[0].task_id"),
    ([{**WORK, "task_id": 10**30}], "receipts[0].task_id"),
    ([{**WORK, "task_id": 1.5}], "receipts[0].task_id"),
    ([{**WORK, "task_id": "²"}], "receipts[0].task_id"),
    ([{**WORK, "agent_id": "mine"}], "receipts[0].agent_id"),
    ([{"kind": "work_notification", "task_id": 5}], "receipts[0].agent_id"),
    ([{**GOOD, "sent_at": "yesterday"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "2026-13-01T00:00:00Z"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "P1D"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": 1_780_000_000}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": []}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "9" * 50}], "receipts[0].sent_at"),
    ([GOOD, {**GOOD, "robot_code": "dingother"}], "receipts"),
    ([GROUP, {**GROUP, "open_conversation_id": "cid2"}], "receipts"),
]


BAD_ROLLBACK: BadInput = [
    *[(lambda value=value: rollback(value), field) for value, field in BAD_RECEIPTS],
    (lambda: rollback(from_tasks=5), "from_tasks"),
    (lambda: rollback(from_tasks=[5]), "from_tasks[0]"),
    (lambda: rollback(from_tasks=""), "from_tasks"),
    (lambda: rollback(from_tasks={"send": 1}), "from_tasks"),
    *[
        (lambda value=value: rollback([GOOD], only_if_failed=value), "only_if_failed")
        for value in ([], "", 5, {"a": 1})
    ],
    *[(lambda value=value: sweep(rollbacks=value), "rollbacks") for value in ([], None, 5)],
    *[(lambda value=value: DingTalkSweepOperator(task_id="s", dag_ids=value), "dag_ids") for value in ([], "None", 5)],
    (lambda: sweep(receipts=[]), "receipts"),
    (lambda: sweep(from_run="a run"), "from_run"),
    (lambda: sweep(from_dag="a DAG"), "from_dag"),
    (lambda: sweep(from_tasks=[]), "from_tasks"),
    (lambda: sweep(since="2026-11-21T09:00:00Z"), "since"),
    (lambda: rollback([GOOD], older_than=60, newer_than=60), "newer_than"),
    (lambda: rollback([GOOD], only_if_failed=5), "only_if_failed"),
    (lambda: sweep(rollbacks=5), "rollbacks"),
    (lambda: sweep(until="2026-11-21T09:00:00Z"), "until"),
]


@pytest.mark.parametrize(**numbered(BAD_ROLLBACK))
def test_bad_input_of_rollback_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)


@pytest.mark.parametrize("nothing", ["", "None", "null", None])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "from_run"),
        ({}, "since"),
        ({}, "from_tasks"),
        ({"from_tasks": ["send"]}, "from_run"),
        ({"from_tasks": ["send"]}, "from_dag"),
        ({"from_run": "a run"}, "from_dag"),
        ({"from_run": "a run"}, "from_tasks"),
    ],
)
def test_a_template_that_renders_to_nothing_is_refused_by_name(
    sandbox: SandboxServer, connect: Connect, nothing: Any, arguments: dict[str, Any], name: str
) -> None:
    """It would select the messages of this run or DAG instead, more of them, or none."""

    def make() -> Any:
        operator = rollback(**arguments, **{name: "{{ params.nothing }}"})
        inside = {**context(), "params": {"nothing": nothing}}
        operator.render_template_fields(inside, Environment())
        return operator

    check_refused(sandbox, connect, make, name)


def test_of_a_field_for_a_run_and_one_for_a_time_one_may_be_empty(sandbox: SandboxServer) -> None:
    operator = rollback(
        "{{ params.receipts }}", from_run="{{ params.nothing }}", since="", until="{{ params.nothing }}"
    )
    params = {"nothing": None, "receipts": json.dumps(planted(sandbox, "oto"))}
    operator.render_template_fields({**context(), "params": params}, Environment())
    assert run(operator)["counts"]["recalled"] == 1


# ── only if something failed ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("send", r"from_tasks\[0\]: is 'send', no task of this DAG; 'group.send' is"),
        (["group.send", "sent"], r"from_tasks\[1\]: is 'sent', no task of this DAG"),
    ],
)
def test_a_task_that_is_none_of_the_dag_is_refused_although_nothing_failed(
    sandbox: SandboxServer, named: Any, told: str
) -> None:
    from airflow.sdk import DAG, BaseOperator, TaskGroup

    with DAG("dag", schedule=None):
        with TaskGroup("group"):
            BaseOperator(task_id="send")
        undo = rollback(from_tasks=named, only_if_failed=True)
    with pytest.raises(AirflowFailException, match=told):
        run(undo)
    assert calls(sandbox) == {}


def test_a_misspelt_task_does_not_keep_the_messages_of_the_others(sandbox: SandboxServer) -> None:
    from airflow.sdk import DAG, BaseOperator

    xcoms: dict[tuple[str, str], list[Any]] = {("send", "receipts_0"): [planted(sandbox, "oto")]}
    with DAG("dag", schedule=None):
        send = BaseOperator(task_id="send")
        send >> (undo := rollback(from_tasks=["sned", "send"], only_if_failed=["send"]))
    ti = TaskInstance("rollback", xcoms=xcoms, states={"send": "failed"})
    with pytest.raises(AirflowFailException, match=r"from_tasks\[0\]: is 'sned', no task of this DAG"):
        run(undo, ti)
    assert calls(sandbox)["robot/otoMessages/batchRecall"] == 1


@pytest.mark.parametrize(("state", "recalls"), [("success", 0), ("failed", 1)])
def test_a_misspelt_task_to_watch_is_told_whether_the_others_failed_or_not(
    sandbox: SandboxServer, state: str, recalls: int
) -> None:
    from airflow.sdk import DAG, BaseOperator

    xcoms: dict[tuple[str, str], list[Any]] = {("send", "receipts_0"): [planted(sandbox, "oto")]}
    with DAG("dag", schedule=None):
        send = BaseOperator(task_id="send")
        send >> (undo := rollback(from_tasks="send", only_if_failed=["checks", "send"]))
    ti = TaskInstance("rollback", xcoms=xcoms, states={"send": state})
    with pytest.raises(AirflowFailException, match=r"only_if_failed\[0\]: is 'checks', no task of this DAG"):
        run(undo, ti)
    assert calls(sandbox).get("robot/otoMessages/batchRecall", 0) == recalls


def test_one_task_to_watch_needs_no_list(sandbox: SandboxServer) -> None:
    ti = TaskInstance("rollback", states={"check": "failed"})
    assert run(rollback(planted(sandbox, "oto"), only_if_failed="check"), ti)["counts"]["recalled"] == 1


@pytest.mark.parametrize(
    ("states", "recalls"),
    [
        ({"send": "success", "check": "success"}, False),
        ({"send": "success", "check": "failed"}, True),
        ({"send": "failed", "check": "upstream_failed"}, True),
        ({"send": "success", "check": "skipped"}, False),
        ({"send": "success", "check": "success", "other": "failed"}, False),
        ({"send": "success", "check_0": "success", "check_1": "failed"}, True),
        ({"send": "success", "check_list": "failed"}, False),
        ({}, False),
    ],
)
def test_only_if_failed_looks_at_the_tasks_upstream(
    sandbox: SandboxServer, states: dict[str, str], recalls: bool
) -> None:
    from airflow.sdk import DAG

    receipts = planted(sandbox, "oto")
    with DAG("rolled_back", schedule=None):
        send, check = (
            DingTalkSendOTOMessagesOperator(task_id=name, user_ids=["u"], text="x") for name in ("send", "check")
        )
        undo = rollback(receipts, only_if_failed=True)
        send >> check >> undo
    ti = TaskInstance("rollback", states=states)
    if recalls:
        assert run(undo, ti)["counts"]["recalled"] == 1
    else:
        assert run(undo, ti) == {"kept": 0}
        assert calls(sandbox) == {}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("en", "Recalling messages, because these tasks failed: {} and 2 more."),
        ("zh", "正在撤回消息，因为以下任务失败：{} 等 12 个。"),
    ],
)
def test_the_tasks_that_failed_are_named_in_the_language_of_the_option(
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    told: str,
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    names = [f"work{number:02}" for number in range(12)]
    run(rollback([], only_if_failed=names), TaskInstance("rollback", states=dict.fromkeys(names, "failed")))
    assert told.format(", ".join(names[:10])) in capsys.readouterr().out


def watching(receipts: Any, only_if_failed: Any) -> Any:
    """A rollback in a DAG with the tasks ``send`` and ``check``."""
    from airflow.sdk import DAG, BaseOperator

    with DAG("rolled_back", schedule=None):
        undo = rollback(receipts, only_if_failed=only_if_failed)
        BaseOperator(task_id="send") >> BaseOperator(task_id="check") >> undo
    return undo


@pytest.mark.parametrize("watched", ["check", ["check"], ("send", "check"), '["check"]'])
def test_one_task_or_several_are_watched(sandbox: SandboxServer, watched: Any) -> None:
    undo = watching(planted(sandbox, "oto"), watched)
    ti = TaskInstance("rollback", states={"send": "success", "check": "success"})
    assert run(undo, ti) == {"kept": 0}
    assert ti.pushed("kept") == 0
    ti = TaskInstance("rollback", states={"send": "success", "check": "failed"})
    assert run(undo, ti)["counts"]["recalled"] == 1


@pytest.mark.parametrize(("watched", "recalls"), [("cheque", 0), (["cheque"], 0), (["check", "cheque"], 1)])
def test_a_watched_task_that_is_none_of_the_dag_is_an_error_and_not_a_success(
    sandbox: SandboxServer, watched: Any, recalls: int
) -> None:
    ti = TaskInstance("rollback", states={"send": "success", "check": "failed"})
    with pytest.raises(AirflowFailException, match=r"only_if_failed\[\d\]: is 'cheque', no task of this DAG"):
        run(watching(planted(sandbox, "oto"), watched), ti)
    assert calls(sandbox).get("robot/otoMessages/batchRecall", 0) == recalls


@pytest.mark.parametrize(
    ("argument", "value"), [("max_messages", "many"), ("max_readers", "few"), ("fail_on", {"lost"})]
)
def test_a_mistake_is_told_although_nothing_failed_and_a_sweep_learns_that(
    sandbox: SandboxServer, argument: str, value: Any
) -> None:
    xcoms: dict[tuple[str, str], list[Any]] = {("send", "receipts_count"): [3]}
    ti = TaskInstance("rollback", xcoms=xcoms, states={"send": "success"})
    with pytest.raises(AirflowFailException, match=f"^{argument}"):
        run(rollback(from_tasks="send", only_if_failed=["send"], **{argument: value}), ti)
    assert ti.pushed("kept_before_error") == 3
    assert calls(sandbox) == {}


# ── messages of other runs ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"from_run": ["godo", "good"]}, "from_run: is 'godo', no run of 'revenue'"),
        ({"from_run": "good", "from_tasks": ["sned", "send"]}, "from_tasks: holds 'sned', no task of the run 'good'"),
        ({"since": iso(SINCE), "from_tasks": ["sned", "send"]}, "from_tasks: holds 'sned', no task of any run"),
    ],
)
def test_a_misspelt_run_or_task_does_not_keep_the_messages_of_others(
    sandbox: SandboxServer, arguments: dict[str, Any], told: str
) -> None:
    ti = RollbackOfRuns({"good": {("send", -1): "success", ("other", -1): "success"}})
    ti.xcoms["good", "send", -1, "receipts_0"] = planted(sandbox, "oto")
    with pytest.raises(AirflowFailException, match=told):
        rollback(from_dag="revenue", **arguments).execute({"ti": ti})
    assert ti.pushes["report"]["counts"]["recalled"] == 1


@pytest.mark.parametrize("nothing", ["", "None", None])
def test_the_end_of_a_time_may_be_an_empty_field_of_a_form(sandbox: SandboxServer, nothing: Any) -> None:
    ti = RollbackOfRuns({"run": {("send", -1): "success"}})
    ti.xcoms["run", "send", -1, "receipts_0"] = planted(sandbox, "oto")
    operator = rollback(from_dag="revenue", since=iso(SINCE), until="{{ params.nothing }}")
    operator.render_template_fields({"ti": ti, "params": {"nothing": nothing}}, Environment())
    operator.execute({"ti": ti})
    assert ti.pushes["report"]["counts"]["recalled"] == 1


def test_from_tasks_limits_a_window_too(sandbox: SandboxServer) -> None:
    ti = RollbackOfRuns({"run": {("send", -1): "success", ("other", -1): "success"}})
    wanted, kept = planted(sandbox, "oto", 2)
    ti.xcoms["run", "send", -1, "receipts_0"], ti.xcoms["run", "other", -1, "receipts_0"] = [wanted], [kept]
    rollback(from_dag="revenue", since=iso(SINCE), from_tasks="send").execute({"ti": ti})
    assert ti.pushes["report"]["recalled"] == [wanted["process_query_key"]]
    assert not is_recalled(sandbox, kept)
