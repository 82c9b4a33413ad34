"""Guards of a rollback, its results for other tasks, and waits for interrupted sends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_dingtalk.exceptions import CheckpointError, DingTalkError
from airflow_provider_dingtalk.operators import (
    DingTalkRecallOTOMessagesOperator,
    DingTalkRollbackOperator,
    rollback_on_failure,
)
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.run_history import LAST_BREATH, Tasks
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context, is_recalled, key_of, planted

pytestmark = pytest.mark.usefixtures("hook")

STATUS = "robot/oToMessages/readStatus"
RECALL = "robot/otoMessages/batchRecall"


def roll_back(receipts: Any, ti: TaskInstance | None = None, **arguments: Any) -> Any:
    return DingTalkRollbackOperator(task_id="rollback", receipts=receipts, **arguments).execute(
        context(ti or TaskInstance("rollback"))
    )


@pytest.mark.parametrize("dry_run", [True, "True"])
def test_a_dry_run_calls_nobody_and_names_what_is_too_old(sandbox: SandboxServer, dry_run: Any):
    fresh, old = planted(sandbox, "oto", 2), planted(sandbox, "oto", age_seconds=25 * 3600)
    ti = TaskInstance("rollback")
    plan = roll_back(fresh + old, ti, dry_run=dry_run)
    assert plan == ti.pushed("plan")
    assert set(plan["would_recall"]) == set(map(key_of, fresh))
    assert plan["expired"] == [key_of(old[0])]
    assert plan["counts"] == {"oto": 2, "total": 2, "expired": 1}
    assert calls(sandbox) == {}


@pytest.mark.parametrize("most", [2, "2"])
def test_more_messages_than_allowed_fail_without_a_call(sandbox: SandboxServer, most: Any):
    receipts = planted(sandbox, "oto", 3)
    with pytest.raises(AirflowFailException, match="There are 3 messages to recall, max_messages is 2"):
        roll_back(receipts, max_messages=most)
    assert calls(sandbox) == {}
    assert roll_back(receipts + receipts, max_messages=3)["counts"]["recalled"] == 3


@pytest.mark.parametrize(
    ("guard", "stays"),
    [
        ({"older_than": timedelta(hours=1)}, {"too_young": 1}),
        ({"older_than": "3600"}, {"too_young": 1}),
        ({"newer_than": 3600}, {"too_old": 1}),
    ],
)
def test_messages_of_the_wrong_age_stay(sandbox: SandboxServer, guard: dict[str, Any], stays: dict[str, int]):
    young, old = planted(sandbox, "oto")[0], planted(sandbox, "oto", age_seconds=2 * 3600)[0]
    report = roll_back([young, old], **guard)
    assert report["kept"] == stays
    assert (is_recalled(sandbox, young), is_recalled(sandbox, old)) == (
        "too_old" in stays,
        "too_young" in stays,
    )


def test_a_message_of_unknown_age_stays_where_age_matters(sandbox: SandboxServer):
    (receipt,) = planted(sandbox, "oto")
    receipt.pop("sent_at")
    assert roll_back([receipt], newer_than=3600)["kept"] == {"not_known": 1}
    assert not is_recalled(sandbox, receipt)


@pytest.mark.parametrize(
    ("guard", "gone"),
    [({"only_unread": True}, [0]), ({"only_unread": "True"}, [0]), ({"max_readers": 1}, [0, 1])],
)
def test_messages_that_more_people_have_read_stay_and_the_asking_is_counted(
    sandbox: SandboxServer, guard: dict[str, Any], gone: list[int]
):
    receipts = [planted(sandbox, "oto", readers=number, user_ids=["a", "b"])[0] for number in range(3)]
    report = roll_back(receipts, **guard)
    assert [number for number in range(3) if is_recalled(sandbox, receipts[number])] == gone
    assert report["kept"] == {"read": 3 - len(gone)}
    assert report["readers_api_calls"] == calls(sandbox)[STATUS] == 3
    assert calls(sandbox)[RECALL] == 1


def test_of_a_ding_nobody_can_say_whether_it_was_read_so_it_stays(sandbox: SandboxServer):
    (ding,) = planted(sandbox, "ding")
    report = roll_back([ding], only_unread=True)
    assert (report["kept"], report["counts"]["total"]) == ({"not_known": 1}, 0)
    assert not is_recalled(sandbox, ding)


def test_readers_are_kept_for_a_correction_only_when_asked_for(sandbox: SandboxServer):
    first = planted(sandbox, "group", readers=2)[0]
    second = planted(sandbox, "group", readers=3)[0]
    ti = TaskInstance("rollback")
    report = roll_back([first, second], ti, with_readers=True)
    assert report["counts"]["recalled"] == 2
    assert {key: len(who) for key, who in report["readers"].items()} == {key_of(first): 2, key_of(second): 3}
    people = ti.pushed("readers")
    assert len(people) == len(set(people)) == len({who for readers in report["readers"].values() for who in readers})
    quiet = TaskInstance("rollback")
    assert "readers" not in roll_back(planted(sandbox, "group", readers=1), quiet)
    assert "readers" not in quiet.keys


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_messages", 0),
        ("max_messages", "many"),
        ("max_messages", True),
        ("max_messages", 1.5),
        ("max_readers", -1),
        ("max_readers", "few"),
        ("older_than", "yesterday"),
        ("older_than", -1),
        ("older_than", float("nan")),
        ("newer_than", timedelta(seconds=-1)),
        ("newer_than", [1]),
        ("dry_run", "perhaps"),
        ("only_unread", 1),
        ("with_readers", None),
        ("since", "yesterday"),
        ("since", 5),
        ("from_run", {"a": 1}),
        ("from_dag", ["a", "b"]),
        ("from_tasks", 5),
    ],
)
def test_a_bad_argument_is_named_and_nobody_is_called(sandbox: SandboxServer, field: str, value: Any):
    with pytest.raises(AirflowFailException, match=f"^{field}"):
        roll_back(planted(sandbox, "oto"), **{field: value})
    assert calls(sandbox) == {}


@pytest.mark.parametrize("arguments", [{"from_dag": "revenue"}, {"until": "2026-11-21T09:00:00Z"}])
def test_half_a_question_is_refused(sandbox: SandboxServer, arguments: dict[str, Any]):
    with pytest.raises(AirflowFailException, match=r"^since: is missing"):
        roll_back(planted(sandbox, "oto"), **arguments)
    assert calls(sandbox) == {}


def test_only_unread_and_some_readers_contradict_each_other(sandbox: SandboxServer):
    with pytest.raises(AirflowFailException, match=r"^max_readers: contradicts only_unread"):
        roll_back(planted(sandbox, "oto"), only_unread=True, max_readers=3)


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


@pytest.mark.parametrize(("over_after", "waited"), [(0, 0), (3, 3), (None, LAST_BREATH)])
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
        EmptyOperator(task_id="send") >> EmptyOperator(task_id="work")
    watcher = dag.get_task("rollback_watcher")
    told = context(TaskInstance("rollback_watcher", states=states))
    if named is None:
        watcher.execute(told)
    else:
        with pytest.raises(AirflowFailException, match=f"{named}\\.$"):
            watcher.execute(told)


# ── one broken message ──


def in_three_healthy_chats_and_one_broken(sandbox: SandboxServer, code: str) -> list[dict[str, Any]]:
    """Four messages; the status of the first cannot be polled."""
    first = planted(sandbox, "group", readers=1, open_conversation_id=GROUPS[1])
    healthy = [planted(sandbox, kind, readers=1)[0] for kind in ("group", "oto", "private_chat")]
    if code == "bot.stopped":
        sandbox.state.conversations[GROUPS[1]].stopped = True
    else:
        refusal = {"type": "status", "status": 403, "code": code}
        sandbox.state.faults.add({"match": "groupMessages/query", "action": refusal})
    return first + healthy


@pytest.mark.parametrize("code", ["bot.stopped", "Forbidden.AccessDenied.AccessTokenPermissionDenied"])
@pytest.mark.parametrize("guard", [{"with_readers": True}, {"only_unread": True}, {"max_readers": 1}])
def test_a_message_that_cannot_be_asked_for_does_not_keep_the_others(
    sandbox: SandboxServer, code: str, guard: dict[str, Any]
) -> None:
    receipts = in_three_healthy_chats_and_one_broken(sandbox, code)
    ti = TaskInstance("rollback")
    # Whether DingTalk recalls a message of a stopped robot is not the matter here.
    report = roll_back(receipts, ti, fail_on=set(), **guard)
    assert report == ti.pushed("report")
    asked = [receipt for receipt in receipts if code == "bot.stopped" or receipt["kind"] != "group"]
    healthy = [receipt for receipt in asked if receipt is not receipts[0]]
    if "max_readers" in guard:
        assert all(is_recalled(sandbox, receipt) for receipt in healthy)
        assert report["kept"] == {"not_known": 4 - len(healthy)}
    elif "only_unread" in guard:
        assert report["kept"] == {"not_known": 4 - len(healthy), "read": len(healthy)}
    else:
        assert set(report["readers"]) >= set(map(key_of, healthy)), "readers of those that DingTalk tells of"
        assert key_of(receipts[0]) not in report["readers"]
        assert report["counts"]["total"] == 4
        assert all(is_recalled(sandbox, receipt) for receipt in receipts[1:])


# ── a report, even so ──


@pytest.mark.parametrize(
    "argument",
    [
        {"max_messages": 0},
        {"max_readers": -1},
        {"older_than": "yesterday"},
        {"fail_on": {"lost"}},
        {"on_empty": "skipp"},
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


@pytest.mark.parametrize("argument", [{"fail_on": {"lost"}}, {"on_empty": "skipp"}])
def test_so_does_a_recall_of_one_kind(sandbox: SandboxServer, argument: dict[str, Any]) -> None:
    ti = TaskInstance()
    operator = DingTalkRecallOTOMessagesOperator(task_id="t", receipts=planted(sandbox, "oto"), **argument)
    with pytest.raises(AirflowFailException):
        operator.execute(context(ti))
    assert ti.pushed("report")["counts"]["total"] == 0


def test_too_many_messages_are_reported_each_with_the_reason(sandbox: SandboxServer) -> None:
    ti = TaskInstance("rollback")
    receipts = planted(sandbox, "oto", 3)
    with pytest.raises(AirflowFailException, match="max_messages"):
        roll_back(receipts, ti, max_messages=2)
    failed = ti.pushed("report")["failed"]
    assert set(failed) == set(map(key_of, receipts))
    assert {reason["code"] for reason in failed.values()} == {"too_many_messages"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"type": "status", "status": 400, "code": "invalidClientIdOrSecret"}, AirflowFailException),
        ({"type": "status", "status": 500}, DingTalkError),
    ],
)
def test_a_guard_that_cannot_ask_at_all_reports_each_message_and_recalls_none(
    sandbox: SandboxServer, fault: dict[str, Any], error: type[Exception]
) -> None:
    ti = TaskInstance("rollback")
    receipts = planted(sandbox, "oto", 3)
    sandbox.state.faults.add({"match": "readStatus", "action": fault})
    with pytest.raises(error):
        roll_back(receipts, ti, only_unread=True)
    report = ti.pushed("report")
    assert report["counts"]["failed"] == report["counts"]["total"] == 3
    assert not any(is_recalled(sandbox, receipt) for receipt in receipts)
    assert report["api_calls"]["total"] > 0


# ── places that fail ──


class NoXComs(TaskInstance):
    """Task instance whose XCom pushes fail."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise RuntimeError("API_SERVER_ERROR")


class NoRecalledKeys(TaskStateStore):
    """A store that fails when the keys of all recalled messages come, or from its first write on."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def set(self, key: str, value: Any) -> None:
        if key.startswith(self._prefix):
            raise RuntimeError("API_SERVER_ERROR")
        super().set(key, value)


def test_xcoms_that_fail_do_not_keep_recalled_keys_from_the_store(sandbox: SandboxServer) -> None:
    receipts, store = planted(sandbox, "oto", 3), TaskStateStore()
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=receipts)
    with pytest.raises(RuntimeError, match="API_SERVER_ERROR"):
        operator.execute({"ti": NoXComs("rollback"), "task_state_store": store})
    assert set(store.get("dingtalk-recalled-2-0")) == set(map(key_of, receipts))


def test_a_store_that_fails_does_not_keep_recalled_keys_from_the_xcoms(sandbox: SandboxServer) -> None:
    receipts, ti = planted(sandbox, "oto", 3), TaskInstance("rollback")
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=receipts)
    with pytest.raises(CheckpointError):
        operator.execute({"ti": ti, "task_state_store": NoRecalledKeys("dingtalk-recalled-")})
    assert set(ti.pushed("recalled_0")) == set(map(key_of, receipts))
    assert ti.pushed("report")["counts"]["recalled"] == 3


def test_the_cause_is_seen_when_all_places_fail(sandbox: SandboxServer) -> None:
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=planted(sandbox, "oto", 3))
    with pytest.raises(CheckpointError):
        operator.execute({"ti": NoXComs("rollback"), "task_state_store": NoRecalledKeys("")})


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
        with pytest.raises(AirflowFailException, match=r"1 sends may have put a message .* send \(1\)"):
            rollback.execute(context(ti))
    else:
        rollback.execute(context(ti))
    report = ti.pushed("report")
    assert (report["counts"]["recalled"], report["sends_in_doubt"]) == (1, {"send": 1})
    assert is_recalled(sandbox, receipt)
