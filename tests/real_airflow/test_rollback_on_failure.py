"""``rollback_on_failure`` in Airflow's special cases: exactly the wrong messages are recalled."""

from __future__ import annotations

import os
import signal

import pytest

from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE
from tests.real_airflow.fixtures import DagRun, Environment, classes, wait_until

SEND_API = "robot/groupMessages/send"
NOWHERE = ["cidgroup1", "cidnowhere", "cidgroup3"]
#: Configurations of runs that end by themselves, by label: targets of the sends, and the end of the work.
CONF = {
    "all well": {},
    "work failed": {"work": "fail"},
    "send failed": {"groups": NOWHERE},
    "mapped failed": {"mapped": NOWHERE},
    "second try": {"work": "fail once"},
    "worker killed": {"work": "killed"},
}


def sent(environment: Environment, label: str) -> set[str]:
    """Return the keys of the messages of a run's block."""
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == label}


def other(environment: Environment, label: str) -> set[str]:
    """Return the keys of the messages that the run sent outside of the block."""
    return sent(environment, f"{label}, not of the block")


def shape(run: DagRun) -> dict[str, str | None]:
    """Return the states of the relevant tasks."""
    plain = ("bystander", "more.targets", "targets")
    return {task: state for task, state in run.states().items() if task not in plain}


MAPPED = {f"more.send[{index}]": "success" for index in range(3)}


@pytest.fixture(scope="module")
def runs(environment: Environment) -> dict[str, DagRun]:
    """All runs, in parallel."""
    environment.dingtalk.empty()
    begun = {label: environment.trigger("real_rollback", label=label, **conf) for label, conf in CONF.items()}
    return {label: run.wait() for label, run in begun.items()}


def test_when_all_is_well_nothing_happens(runs: dict[str, DagRun], environment: Environment):
    run = runs["all well"]
    assert run.state == "success"
    others = dict.fromkeys(("send", "work", "rollback", "rollback_watcher"), "success")
    assert shape(run) == {**MAPPED, **others}
    assert run.xcom("rollback") == {"kept": 6}
    assert len(sent(environment, "all well")) == 6
    assert environment.dingtalk.gone() & sent(environment, "all well") == set()


@pytest.mark.parametrize(
    ("label", "states", "numbers"),
    [
        ("work failed", {"send": "success", **MAPPED, "work": "failed"}, {6}),
        # Three and one, or two, because its sends are in flight at the same time.
        ("send failed", {"send": "failed", **MAPPED, "work": "upstream_failed"}, {4, 5}),
        (
            "mapped failed",
            {"send": "upstream_failed", **MAPPED, "more.send[1]": "failed", "work": "upstream_failed"},
            {2},
        ),
        ("worker killed", {"send": "success", **MAPPED, "work": "failed"}, {6}),
    ],
)
def test_what_the_block_sent_is_gone_and_the_run_is_failed(
    runs: dict[str, DagRun], environment: Environment, label: str, states: dict[str, str], numbers: set[int]
):
    run = runs[label]
    assert run.state == "failed"
    assert shape(run) == {**states, "rollback": "success", "rollback_watcher": "failed"}
    wrong = sent(environment, label)
    assert len(wrong) in numbers
    assert classes(run.report("rollback"))["recalled"] == wrong == environment.dingtalk.gone([*wrong])


def test_a_second_try_that_succeeds_leaves_the_messages(runs: dict[str, DagRun], environment: Environment):
    run = runs["second try"]
    assert (run.state, run.tries()["work"]) == ("success", 2)
    assert run.xcom("rollback") == {"kept": 6}
    assert environment.dingtalk.gone() & sent(environment, "second try") == set()


def test_what_the_block_did_not_send_stays(runs: dict[str, DagRun], environment: Environment):
    for label in CONF:
        stays = other(environment, label)
        assert len(stays) == 1
        assert environment.dingtalk.gone([*stays]) == set()


# ── branches and mapped groups ──


def test_a_branch_does_not_skip_the_rollback(environment: Environment):
    environment.dingtalk.empty()
    chosen = environment.trigger("real_rollback_branches")
    nothing = environment.trigger("real_rollback_branches", choice=None)
    well = environment.trigger("real_rollback_branches", choice=None, fail=False)
    for run, arm in ((chosen.wait(), "success"), (nothing.wait(), "skipped")):
        states = run.states()
        assert run.state == "failed"
        assert (states["arm"], states["other"], states["after"]) == (arm, "skipped", "skipped")
        assert (states["work"], states["rollback"]) == ("failed", "success")
    texts = sorted(message["text"] for message in environment.dingtalk.messages().values())
    assert texts == ["arm", "first", "first", "first"]
    well.wait()
    assert (well.state, well.xcom("rollback")) == ("success", {"kept": 1})
    stays = set(well.keys("send"))
    assert environment.dingtalk.gone() == set(environment.dingtalk.messages()) - stays


def test_in_a_mapped_group_only_the_instance_that_failed_is_taken_back(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger_and_wait("real_rollback_each")
    assert run.state == "failed"
    states = run.states()
    assert [states[f"each.work[{index}]"] for index in range(3)] == ["success", "failed", "success"]
    assert [run.xcom("each.rollback", map_index=index) for index in (0, 2)] == [{"kept": 1}] * 2
    wrong = {
        key
        for key, message in environment.dingtalk.messages().items()
        if message["open_conversation_id"] == "cidgroup2"
    }
    assert len(environment.dingtalk.messages()) == 3
    assert classes(run.report("each.rollback", 1))["recalled"] == wrong == environment.dingtalk.gone()
    noted = {event["source_map_index"]: event["extra"] for event in environment.rollback_log("real_rollback_each", run)}
    assert [noted[index].get("kept", 0) for index in range(3)] == [1, 0, 1]
    assert [noted[index]["recalled"] for index in range(3)] == [0, 1, 0]


# ── stopped from outside ──


def hold(environment: Environment, nth: list[int], seconds: float) -> None:
    """Delay some sends before their effect."""
    environment.dingtalk.server.faults(
        {"match": SEND_API, "nth": nth, "when": "before", "action": {"type": "delay", "seconds": seconds}}
    )


def mark_failed(run: DagRun) -> None:
    """Mark a run as failed, as a user does."""
    run.airflow.patch(f"/dags/{run.dag_id}/dagRuns/{run.run_id}", {"state": "failed"})


def is_in(run: DagRun, task: str, state: str) -> None:
    wait_until(f"{task} is {state}", lambda: run.states().get(task) == state)


def pid_of(run: DagRun, task: str) -> int:
    found = run.airflow.task_instances(run.dag_id, run.run_id)
    return int(next(one["pid"] for one in found if one["task_id"] == task))


def test_what_a_killed_send_had_sent_is_gone(environment: Environment):
    environment.dingtalk.empty()
    hold(environment, [4, 5], 60)
    run = environment.trigger("real_rollback", label="killed", mapped=["cidgroup2"])
    wait_until("its receipt is kept", lambda: run.xcom("send", "receipts_count") == 1)
    os.kill(pid_of(run, "send"), signal.SIGKILL)
    run.wait()
    assert run.state == "failed"
    # The call that was in flight may have sent: the rollback recalls all else, and says so.
    assert (run.states()["send"], run.states()["rollback"]) == ("failed", "failed")
    assert run.report("rollback")["sends_in_doubt"] == {"send": 1}
    assert environment.dingtalk.gone() == sent(environment, "killed")
    assert len(environment.dingtalk.gone()) == 2


@pytest.mark.parametrize(("task", "nth", "number"), [("mapped", 2, 1), ("send", 4, 3)])
def test_what_a_killed_send_with_retries_had_sent_is_gone(environment: Environment, task: str, nth: int, number: int):
    """Airflow deletes the receipts of a try when the next one starts."""
    environment.dingtalk.empty()
    hold(environment, [nth], 60)
    run = environment.trigger("real_send_retried")
    index = 0 if task == "mapped" else -1
    wait_until("a receipt is kept", lambda: (run.xcom(task, "receipts_count", index) or 0) >= 1)
    os.kill(pid_of(run, task), signal.SIGKILL)
    run.wait()
    assert run.state == "failed"
    assert len(environment.dingtalk.messages()) >= number
    assert environment.dingtalk.gone() == set(environment.dingtalk.messages())


def test_a_run_that_a_user_marks_failed_is_taken_back_and_stays_failed(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger("real_rollback", label="marked", work="wait")
    is_in(run, "work", "running")
    mark_failed(run)
    run.wait()
    assert run.states()["rollback"] == "success"
    assert environment.dingtalk.gone() == sent(environment, "marked")
    assert len(environment.dingtalk.gone()) == 6
    assert run.state == "failed"


def test_what_a_send_still_sends_after_a_user_stopped_the_run_is_gone_too(environment: Environment):
    environment.dingtalk.empty()
    hold(environment, [4, 5], 4)
    run = environment.trigger("real_rollback", label="sending", mapped=["cidgroup2"])
    wait_until("its receipt is kept", lambda: run.xcom("send", "receipts_count") == 1)
    mark_failed(run)
    run.wait()
    # Airflow calls it failed at once; its process goes on for some seconds.
    assert (run.states()["send"], run.states()["work"]) == ("failed", "skipped")
    assert environment.dingtalk.gone() == sent(environment, "sending")
    assert len(environment.dingtalk.gone()) > 2
    assert run.state == "failed"


def test_a_run_that_fails_fast_is_taken_back_and_is_failed(environment: Environment):
    environment.dingtalk.empty()
    hold(environment, [3], 8)
    run = environment.trigger_and_wait("real_rollback_fail_fast", groups=["cidgroup2", "cidgroup3", "cidgroup1"])
    states = run.states()
    assert (states["quick"], states["slow"], states["sending"]) == ("failed",) * 3
    assert (states["never"], states["rollback"]) == ("skipped", "success")
    assert environment.dingtalk.gone() == set(environment.dingtalk.messages())
    assert run.state == "failed"


def test_a_cleared_run_sends_again_where_airflow_keeps_state(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger_and_wait("real_rollback", label="cleared", work="fail until cleared")
    assert (run.state, run.states()["rollback"]) == ("failed", "success")
    wrong = sent(environment, "cleared")
    assert environment.dingtalk.gone() == wrong
    run.airflow.post(f"/dags/{run.dag_id}/dagRuns/{run.run_id}/clear", {"dry_run": False})
    wait_until("it runs again", lambda: run.state != "failed")
    run.wait()
    assert environment.dingtalk.gone() == wrong
    if HAS_TASK_STATE_STORE:
        assert (run.state, run.xcom("rollback")) == ("success", {"kept": 12})
        assert len(sent(environment, "cleared")) == 12
    else:
        assert "An earlier try may have sent already" in run.log("bystander")
        assert (run.state, sent(environment, "cleared")) == ("failed", wrong)
