"""Sensors in three modes with one result."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real_airflow.fixtures import DagRun, Environment, wait_until

MODES = ("poke", "reschedule", "deferred")
PRIVATE_QUERY = "robot/privateChatMessages/query"
#: State of a waiting task by mode.
WAITING = {"poke": "running", "reschedule": "up_for_reschedule", "deferred": "deferred"}


class Waiting:
    """Run with waiting sensors, and their states before the events."""

    def __init__(self, environment: Environment) -> None:
        dingtalk = environment.dingtalk
        # One page holds 200 readers: the one who is missing will be alone on the second.
        (self.crowd,) = dingtalk.create_messages("private_chat", readers=200)
        (self.recalled,) = dingtalk.create_messages("private_chat")
        (self.unread,) = dingtalk.create_messages("private_chat")
        (self.group,) = dingtalk.create_messages("group")
        (self.oto,) = dingtalk.create_messages("oto", user_ids=["user001", "user002"])
        (self.work,) = dingtalk.create_messages("work_notification", user_ids=["user001", "user002"])
        dingtalk.recall_behind_our_back(self.recalled)
        self.run: DagRun = environment.trigger(
            "real_sensors",
            crowd=self.crowd,
            recalled=self.recalled,
            unread=self.unread,
            group=self.group,
            oto=self.oto,
            work=self.work,
        )
        self.seen_waiting: set[tuple[str, str]] = set()
        wanted = {(f"crowd{named}_{mode}", WAITING[mode]) for mode in MODES for named in ("", "_named")}
        wait_until("all wait", lambda: self._look() >= wanted)
        self.run.wait_until_noted(*(task for task, state in wanted if state != "running"), "oto")
        dingtalk.read_by(self.crowd, "user999")
        dingtalk.read_by(self.group, "user001", "user002", "user003")
        dingtalk.read_by(self.oto, "user002")
        message = dingtalk.server.state.messages[int(self.work)]
        dingtalk.server.state.read(message, ["user002"])
        self.run.wait()

    def _look(self) -> set[tuple[str, str]]:
        self.seen_waiting |= {(task, str(state)) for task, state in self.run.states().items()}
        return self.seen_waiting


@pytest.fixture(scope="module")
def waiting(environment: Environment) -> Waiting:
    environment.dingtalk.empty()
    return Waiting(environment)


@pytest.mark.parametrize("mode", MODES)
def test_201_readers_are_counted_across_pages_and_not_named(waiting: Waiting, mode: str):
    assert waiting.run.states()[f"crowd_{mode}"] == "success"
    assert waiting.run.xcom(f"crowd_{mode}") == [{"key": waiting.crowd, "send_status": "SUCCESS", "readers": 201}]


def test_readers_are_named_in_all_modes_alike_when_asked_for(waiting: Waiting):
    states = waiting.run.states()
    assert [states[f"crowd_named_{mode}"] for mode in MODES] == ["success"] * 3
    results: list[Any] = [waiting.run.xcom(f"crowd_named_{mode}") for mode in MODES]
    assert results[0] == results[1] == results[2]
    (seen,) = results[0]
    readers = seen["read_user_ids"]
    assert len(readers) == len(set(readers)) == seen["readers"] == 201
    assert readers[-1] == "user999"


def test_nobody_is_named_in_any_xcom_unless_asked_for(waiting: Waiting):
    for task in waiting.run.states():
        if not task.startswith("crowd_named"):
            assert "user" not in str(waiting.run.xcom(task))


@pytest.mark.parametrize("mode", MODES)
def test_a_recalled_message_fails_at_once_and_for_good(waiting: Waiting, mode: str):
    assert waiting.run.states()[f"recalled_{mode}"] == "failed"
    assert waiting.run.tries()[f"recalled_{mode}"] == 1
    log = waiting.run.log(f"recalled_{mode}")
    assert f"The message {waiting.recalled} was recalled." in log
    assert "add RECALLED to send_statuses" in log


@pytest.mark.parametrize("mode", MODES)
def test_a_recalled_message_skips_a_soft_sensor(waiting: Waiting, mode: str):
    assert waiting.run.states()[f"recalled_soft_{mode}"] == "skipped"


def test_a_recalled_message_is_fine_when_wanted(waiting: Waiting):
    assert waiting.run.states()["recalled_wanted"] == "success"
    assert waiting.run.xcom("recalled_wanted")[0]["send_status"] == "RECALLED"


@pytest.mark.parametrize("mode", MODES)
def test_an_unread_message_times_out(waiting: Waiting, mode: str):
    assert waiting.run.states()[f"unread_{mode}"] == "failed"
    assert "AirflowSensorTimeout" in waiting.run.log(f"unread_{mode}")


def test_group_and_one_on_one_messages_can_be_waited_for(waiting: Waiting):
    assert waiting.run.states()["group"] == waiting.run.states()["oto"] == "success"
    assert waiting.run.xcom("group") == [{"key": waiting.group, "send_status": "SUCCESS", "readers": 3}]
    assert waiting.run.xcom("oto") == [{"key": waiting.oto, "send_status": "SUCCESS", "readers": 1}]


@pytest.mark.parametrize("mode", MODES)
def test_work_notifications_can_be_waited_for(waiting: Waiting, mode: str):
    assert waiting.run.states()[f"work_{mode}"] == "success"
    assert waiting.run.xcom(f"work_{mode}") == [{"key": waiting.work, "send_status": "SUCCESS", "readers": 1}]


@pytest.mark.parametrize("mode", MODES)
def test_a_wait_says_at_first_what_it_may_cost_and_at_last_what_it_did(waiting: Waiting, mode: str):
    log = waiting.run.log(f"crowd_{mode}")
    assert "The wait used" in log
    # A rescheduled task begins a new log for each poll.
    assert "polls × (1 messages + 0 further pages of readers)" in log or mode == "reschedule"


def test_waiting_takes_nothing_back(waiting: Waiting, environment: Environment):
    assert waiting.run.state == "failed"
    assert environment.dingtalk.recall_calls() == {}
    assert environment.dingtalk.gone() == {waiting.recalled}
    assert environment.dingtalk.calls()[PRIVATE_QUERY] > 0
