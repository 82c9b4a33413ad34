"""Guards of a rollback, its results for other tasks, and waits for interrupted sends."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, calls, is_recalled, key_of, planted
from tests.support.rollbacks import roll_back

pytestmark = pytest.mark.usefixtures("hook")


STATUS = "robot/oToMessages/readStatus"
RECALL = "robot/otoMessages/batchRecall"


@pytest.mark.parametrize("dry_run", [True, "True"])
def test_a_dry_run_calls_nobody_and_names_what_is_too_old(sandbox: SandboxServer, dry_run: Any):
    fresh, old = planted(sandbox, "oto", 2), planted(sandbox, "oto", age_seconds=25 * 3600)
    ti = TaskInstance("rollback")
    plan = roll_back(fresh + old, ti, dry_run=dry_run)
    assert plan == ti.pushed("plan")
    assert set(plan["would_recall"]) == set(map(key_of, fresh))
    assert plan["expired"] == [key_of(old[0])]
    assert plan["counts"] == {"oto": 2, "total": 2, "expired": 1}
    [place] = plan["conversations"]
    assert (place["kind"], place["messages"], plan["more_conversations"]) == ("oto", 2, 0)
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
    [place] = roll_back(planted(sandbox, "group", readers=2), ti, dry_run=True, with_readers=True)["conversations"]
    assert place["readers"] == 2
    quiet = TaskInstance("rollback")
    assert "readers" not in roll_back(planted(sandbox, "group", readers=1), quiet)
    assert "readers" not in quiet.keys


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_readers", -1),
        ("max_readers", "few"),
        ("older_than", "yesterday"),
        ("older_than", -1),
        ("older_than", float("nan")),
        ("newer_than", timedelta(seconds=-1)),
        ("newer_than", [1]),
        ("dry_run", "perhaps"),
        ("only_unread", 1),
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


NO_NUMBER = "max_messages: must be a whole number, 1 or more"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        *[({"max_messages": value}, NO_NUMBER) for value in ("many", "-1", "2.5", 0, -1, 2.5, True)],
        ({"with_readers": "perhaps"}, "with_readers: is 'perhaps'; use True or False"),
        ({"with_readers": None}, "with_readers: is 'None'; use True or False"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_invalid_argument_that_chooses_no_message_fails_the_task_after_recall_or_plan(
    sandbox: SandboxServer, argument: dict[str, Any], told: str, dry_run: bool
) -> None:
    ti, receipts = TaskInstance("rollback"), planted(sandbox, "oto", 3)
    with pytest.raises(AirflowFailException, match=f"^{told}"):
        roll_back(receipts, ti, dry_run=dry_run, **argument)
    counts = ti.pushed("plan" if dry_run else "report")["counts"]
    assert (counts["total"], counts.get("recalled")) == (3, None if dry_run else 3)
    assert [is_recalled(sandbox, receipt) for receipt in receipts] == [not dry_run] * 3


def test_an_invalid_limit_does_not_hide_an_invalid_filter(sandbox: SandboxServer) -> None:
    with pytest.raises(AirflowFailException, match=r"^max_readers"):
        roll_back(planted(sandbox, "oto"), max_messages="many", max_readers="few")
    assert calls(sandbox) == {}


@pytest.mark.parametrize("arguments", [{"from_dag": "revenue"}, {"until": "2026-11-21T09:00:00Z"}])
def test_half_a_question_is_refused(sandbox: SandboxServer, arguments: dict[str, Any]):
    with pytest.raises(AirflowFailException, match=r"^since: is missing"):
        roll_back(planted(sandbox, "oto"), **arguments)
    assert calls(sandbox) == {}


def test_only_unread_and_some_readers_contradict_each_other(sandbox: SandboxServer):
    with pytest.raises(AirflowFailException, match=r"^max_readers: contradicts only_unread"):
        roll_back(planted(sandbox, "oto"), only_unread=True, max_readers=3)


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


@pytest.mark.parametrize("dry_run", [False, True])
def test_readers_that_are_only_recorded_keep_no_message_in_the_chat(sandbox: SandboxServer, dry_run: bool) -> None:
    receipts = planted(sandbox, "oto", 12)
    sandbox.state.faults.add({"match": "readStatus", "action": {"type": "status", "status": 500}})
    found = roll_back(receipts, with_readers=True, dry_run=dry_run)
    assert (found["readers"], found["counts"]["total"]) == ({}, 12)
    assert [is_recalled(sandbox, receipt) for receipt in receipts] == [not dry_run] * 12


@pytest.mark.parametrize(("option", "lines"), [("en", 2), ("zh", 2), ("both", 4)])
def test_the_plan_in_the_log_is_in_the_language_of_the_option(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, option: str, lines: int
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    receipts = [*planted(sandbox, "oto", 2), *planted(sandbox, "oto", age_seconds=25 * 3600)]
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task"):
        roll_back(receipts, dry_run=True)
    plan = caplog.messages[-1]
    english = (
        "Dry run: 2 messages, to an unknown number of people, would be recalled in about 1 API calls; "
        "1 messages are too old.\n  one-on-one messages: 2 to"
    )
    assert plan.startswith(english) is (option != "zh")
    chinese = "计划：将撤回 2 条消息，接收人数未知，约需 1 次 API 调用；1 条已过期。\n  单聊消息：2 条，接收人数未知，"
    assert (chinese in plan) is (option != "en")
    assert len(plan.splitlines()) == lines


@pytest.mark.parametrize("option", ["zh", "both"])
def test_an_empty_rollback_and_its_error_are_told_in_chinese(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task"):
        roll_back([])
        with pytest.raises(AirflowFailException, match=r"receipts：没有需要撤回的消息：已查看 0 次运行；.*，0 条保留$"):
            roll_back([], dry_run=True, on_empty="fail")
    assert caplog.messages[0].endswith("没有需要撤回的消息：已查看 0 次运行；0 条此前已撤回，0 条保留。")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("en", "Kept: 2 too_young."),
        ("zh", "保留：2 时长不足。"),
        ("both", "Kept: 2 too_young. 保留：2 时长不足。"),
    ],
)
def test_what_is_kept_is_told_in_the_language_of_the_option(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, option: str, told: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task"):
        roll_back(planted(sandbox, "oto", 2), older_than=3600)
    assert told in caplog.messages
