"""``rollback_on_failure`` in Airflow's special cases: exactly the wrong messages are recalled."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE
from tests.real_airflow.fixtures import TIMEOUT, DagRun, Environment, classes, wait_until

SEND_API = "robot/groupMessages/send"
NOWHERE = ["cidgroup1", "cidnowhere", "cidgroup3"]
BLOCK, RETRIED, FAIL_FAST = "real_rollback", "real_send_retried", "real_rollback_fail_fast"
BRANCHES, EACH = "real_rollback_branches", "real_rollback_each"
#: Configurations of runs of the block, by label: targets of the sends, and the end of the work.
CONF: dict[str, dict[str, Any]] = {
    "all well": {},
    "work failed": {"work": "fail"},
    "send failed": {"groups": NOWHERE},
    "mapped failed": {"mapped": NOWHERE},
    "second try": {"work": "fail once"},
    "worker killed": {"work": "killed"},
    "cleared": {"work": "fail until cleared"},
    "marked": {"work": "wait"},
    "killed": {"mapped": ["cidgroup2"]},
    "sending": {"mapped": ["cidgroup2"]},
}
#: Other runs by label: DAG and configuration.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mapped killed": (RETRIED, {}),
    "send killed": (RETRIED, {}),
    "fail fast": (FAIL_FAST, {"groups": ["cidgroup2", "cidgroup3", "cidgroup1"]}),
    "arm chosen": (BRANCHES, {}),
    "no arm": (BRANCHES, {"choice": None}),
    "branch well": (BRANCHES, {"choice": None, "fail": False}),
    "each": (EACH, {}),
}
RUNS = {label: (BLOCK, conf) for label, conf in CONF.items()} | OTHERS
#: Runs whose tasks must run at the same time.
TIMED = ("sending", "fail fast")
#: Delayed sends by label of the run: their numbers among its sends, and seconds before their effect.
DELAYS = {
    "killed": ([4, 5], 60),
    "mapped killed": ([2], 60),
    "send killed": ([4], 60),
    "sending": ([4, 5], 4),
    "fail fast": ([3], 8),
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


class Runs:
    """All runs, side by side: started, killed, marked and cleared where their test says so, and waited for."""

    def __init__(self, environment: Environment) -> None:
        environment.dingtalk.server.faults(*(_delay(label, *delay) for label, delay in DELAYS.items()))
        self._environment = environment
        self._by_label: dict[str, DagRun] = {}
        # Those that are killed come first, because they take longest.
        self._trigger(*(label for label in sorted(RUNS, key=lambda label: label not in DELAYS) if label not in TIMED))
        interruptions = [
            partial(self._kill, "mapped killed", "mapped", 1, 0),
            partial(self._kill, "killed", "send", 1),
            partial(self._kill, "send killed", "send", 2),
            partial(self._mark, "marked", lambda run: run.states().get("work") == "running"),
            self._clear,
        ]
        self._interrupt(interruptions)
        self._wait()
        # These depend on what happens at the same time, so few runs are beside them.
        self._trigger(*TIMED)
        self._interrupt([partial(self._mark, "sending", lambda run: run.xcom("send", "receipts_count") == 1)])
        self._wait()

    def _trigger(self, *labels: str) -> None:
        self._by_label |= {
            label: self._environment.trigger(RUNS[label][0], label=label, **RUNS[label][1]) for label in labels
        }

    def _interrupt(self, interruptions: list[Callable[[], bool]]) -> None:
        """Poll until each of some runs was interrupted."""
        left = list(interruptions)

        def is_done() -> bool:
            left[:] = [interrupt for interrupt in left if not interrupt()]
            return not left

        wait_until("all runs are where they are interrupted", is_done, 2 * TIMEOUT)

    def _wait(self) -> None:
        for run in self._by_label.values():
            run.wait()

    def _kill(self, label: str, task: str, receipts: int, map_index: int = -1) -> bool:
        """Kill the process of a task if it has pushed this many receipts; the other calls are delayed."""
        run = self[label]
        if len(run.xcom(task, "receipts_0", map_index) or ()) < receipts:
            return False
        os.kill(pid_of(run, task), signal.SIGKILL)
        return True

    def _mark(self, label: str, is_ready: Callable[[DagRun], bool]) -> bool:
        """Mark a run as failed, as a user does, if it is ready for it."""
        run = self[label]
        if not is_ready(run):
            return False
        run.airflow.patch(f"/dags/{run.dag_id}/dagRuns/{run.run_id}", {"state": "failed"})
        return True

    def _clear(self) -> bool:
        """Clear the run "cleared" when it has failed; keep what was before."""
        run = self["cleared"]
        if run.state != "failed":
            return False
        keys = sent(self._environment, "cleared")
        self.before_clear = (run.states()["rollback"], keys, self._environment.dingtalk.gone([*keys]))
        run.airflow.post(f"/dags/{run.dag_id}/dagRuns/{run.run_id}/clear", {"dry_run": False})
        wait_until("it runs again", lambda: run.state != "failed")
        return True

    def __getitem__(self, label: str) -> DagRun:
        return self._by_label[label]


def _delay(label: str, nth: list[int], seconds: float) -> dict[str, Any]:
    action = {"type": "delay", "seconds": seconds}
    return {"match": SEND_API, "body": f'"{label}', "nth": nth, "when": "before", "action": action}


def pid_of(run: DagRun, task: str) -> int:
    found = run.airflow.task_instances(run.dag_id, run.run_id)
    return int(next(one["pid"] for one in found if one["task_id"] == task))


@pytest.fixture(scope="module")
def runs(environment: Environment) -> Runs:
    environment.dingtalk.empty()
    return Runs(environment)


def gone(environment: Environment, label: str) -> set[str]:
    """Return the keys of recalled messages of a run's block."""
    return environment.dingtalk.gone([*sent(environment, label)])


def test_when_all_is_well_nothing_happens(runs: Runs, environment: Environment):
    run = runs["all well"]
    assert run.state == "success"
    others = dict.fromkeys(("send", "work", "rollback", "rollback_watcher"), "success")
    assert shape(run) == {**MAPPED, **others}
    assert run.xcom("rollback") == {"kept": 6}
    assert len(sent(environment, "all well")) == 6
    assert gone(environment, "all well") == set()


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
    runs: Runs, environment: Environment, label: str, states: dict[str, str], numbers: set[int]
):
    run = runs[label]
    assert run.state == "failed"
    assert shape(run) == {**states, "rollback": "success", "rollback_watcher": "failed"}
    wrong = sent(environment, label)
    assert len(wrong) in numbers
    assert classes(run.report("rollback"))["recalled"] == wrong == gone(environment, label)


def test_a_second_try_that_succeeds_leaves_the_messages(runs: Runs, environment: Environment):
    run = runs["second try"]
    assert (run.state, run.tries()["work"]) == ("success", 2)
    assert run.xcom("rollback") == {"kept": 6}
    assert gone(environment, "second try") == set()


@pytest.mark.parametrize("label", sorted(CONF.keys() - {"cleared"}))
def test_what_the_block_did_not_send_stays(runs: Runs, environment: Environment, label: str):
    stays = other(environment, label)
    assert len(stays) == 1
    assert environment.dingtalk.gone([*stays]) == set()


# ── branches and mapped groups ──


def test_a_branch_does_not_skip_the_rollback(runs: Runs, environment: Environment):
    for label, arm in (("arm chosen", "success"), ("no arm", "skipped")):
        states = runs[label].states()
        assert runs[label].state == "failed"
        assert (states["arm"], states["other"], states["after"]) == (arm, "skipped", "skipped")
        assert (states["work"], states["rollback"]) == ("failed", "success")
    assert (len(sent(environment, "arm")), len(sent(environment, "first"))) == (1, 3)
    well = runs["branch well"]
    assert (well.state, well.xcom("rollback")) == ("success", {"kept": 1})
    everything = sent(environment, "arm") | sent(environment, "first")
    assert environment.dingtalk.gone([*everything]) == everything - set(well.keys("send"))


def test_in_a_mapped_group_only_the_instance_that_failed_is_taken_back(runs: Runs, environment: Environment):
    run = runs["each"]
    assert run.state == "failed"
    states = run.states()
    assert [states[f"each.work[{index}]"] for index in range(3)] == ["success", "failed", "success"]
    assert [run.xcom("each.rollback", map_index=index) for index in (0, 2)] == [{"kept": 1}] * 2
    messages = environment.dingtalk.messages()
    keys = sent(environment, "Each")
    wrong = {key for key in keys if messages[key]["open_conversation_id"] == "cidgroup2"}
    assert len(keys) == 3
    assert classes(run.report("each.rollback", 1))["recalled"] == wrong == gone(environment, "Each")
    noted = {event["source_map_index"]: event["extra"] for event in environment.rollback_log(EACH, run)}
    assert [noted[index].get("kept", 0) for index in range(3)] == [1, 0, 1]
    assert [noted[index]["recalled"] for index in range(3)] == [0, 1, 0]


# ── stopped from outside ──


def test_what_a_killed_send_had_sent_is_gone(runs: Runs, environment: Environment):
    run = runs["killed"]
    assert run.state == "failed"
    # The two calls that were in flight may have sent: the rollback recalls all else, and says so.
    assert (run.states()["send"], run.states()["rollback"]) == ("failed", "failed")
    assert run.report("rollback")["sends_in_doubt"] == {"send": 2}
    assert gone(environment, "killed") == sent(environment, "killed")
    assert len(gone(environment, "killed")) == 2


@pytest.mark.parametrize(("label", "number"), [("mapped killed", 1), ("send killed", 3)])
def test_what_a_killed_send_with_retries_had_sent_is_gone(
    runs: Runs, environment: Environment, label: str, number: int
):
    """Airflow deletes the receipts of a try when the next one starts."""
    assert runs[label].state == "failed"
    assert len(sent(environment, label)) >= number
    assert gone(environment, label) == sent(environment, label)


def test_a_run_that_a_user_marks_failed_is_taken_back_and_stays_failed(runs: Runs, environment: Environment):
    run = runs["marked"]
    assert run.states()["rollback"] == "success"
    assert gone(environment, "marked") == sent(environment, "marked")
    assert len(gone(environment, "marked")) == 6
    assert run.state == "failed"


def test_what_a_send_still_sends_after_a_user_stopped_the_run_is_gone_too(runs: Runs, environment: Environment):
    run = runs["sending"]
    # Airflow calls it failed at once; its process goes on for some seconds.
    assert (run.states()["send"], run.states()["work"]) == ("failed", "skipped")
    assert gone(environment, "sending") == sent(environment, "sending")
    assert len(gone(environment, "sending")) > 2
    assert run.state == "failed"


def test_a_run_that_fails_fast_is_taken_back_and_is_failed(runs: Runs, environment: Environment):
    run = runs["fail fast"]
    states = run.states()
    assert (states["quick"], states["slow"], states["sending"]) == ("failed",) * 3
    assert (states["never"], states["rollback"]) == ("skipped", "success")
    for text in ("fail fast, sent", "fail fast, sending"):
        assert gone(environment, text) == sent(environment, text)
    assert len(sent(environment, "fail fast, sent")) == 1
    assert run.state == "failed"


def test_a_cleared_run_sends_again_where_airflow_keeps_state(runs: Runs, environment: Environment):
    run = runs["cleared"]
    rollback, wrong, recalled = runs.before_clear
    assert (rollback, len(wrong), recalled) == ("success", 6, wrong)
    assert gone(environment, "cleared") == wrong
    if HAS_TASK_STATE_STORE:
        assert (run.state, run.xcom("rollback")) == ("success", {"kept": 12})
        assert len(sent(environment, "cleared")) == 12
    else:
        assert "An earlier try may have sent already" in run.log("bystander")
        assert (run.state, sent(environment, "cleared")) == ("failed", wrong)
