"""Sends without an operator: they are registered with their task and rolled back with its block."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE
from tests.real_airflow.fixtures import VERSION, DagRun, Environment, classes

#: Texts by the task that sends them, with their number of messages.
SENT = {
    "sync": {"sync": 1},
    "asynchronous": {"asynchronous": 2},
    "nested": {"nested": 1},
    "several": {"several, first": 1, "several, second": 1},
    "silent": {"silent": 1},
    "raising": {"raising": 1},
    "killed": {"killed": 1},
    "second_try_without_a_send": {"first try": 1},
    "by_hand": {"by hand, first": 1, "by hand, second": 1},
    "telling": {"callback": 1},
}
if VERSION < (3, 2):  # it runs no async task
    del SENT["asynchronous"]
#: Airflow deletes the receipts of a try when the next one starts; before 3.3 it has no other place for them.
LOST = {} if HAS_TASK_STATE_STORE else SENT.pop("second_try_without_a_send")
TEXTS = {text: number for texts in SENT.values() for text, number in texts.items()} | {"mapped": 3}


@pytest.fixture(scope="module")
def run(environment: Environment) -> DagRun:
    environment.dingtalk.empty()
    return environment.trigger("real_hook_sends").wait(180)


def texts_of(environment: Environment, keys: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in keys:
        text = environment.dingtalk.messages()[key]["text"]
        found[text] = found.get(text, 0) + 1
    return found


def registered(run: DagRun, task: str, map_index: int = -1) -> set[str]:
    return {receipt["process_query_key"] for receipt in run.xcom(task, "receipts_0", map_index) or []}


@pytest.mark.parametrize("task", SENT)
def test_each_form_of_sending_is_registered_with_its_task(run: DagRun, environment: Environment, task: str):
    assert texts_of(environment, registered(run, task)) == SENT[task]
    assert run.xcom(task, "receipts_count") == sum(SENT[task].values())


def test_mapped_tasks_register_with_their_own_instance(run: DagRun, environment: Environment):
    keys = [registered(run, "mapped", index) for index in range(3)]
    assert [len(some) for some in keys] == [1, 1, 1]
    assert len(set.union(*keys)) == 3


def test_an_alert_of_the_failure_is_registered_and_stays(run: DagRun, environment: Environment):
    [receipt] = run.xcom("alerting", "alert_receipts")
    assert texts_of(environment, {receipt["process_query_key"]}) == {"alert": 1}
    assert run.xcom("alerting", "receipts_0") is None


def test_all_else_is_taken_back(run: DagRun, environment: Environment):
    assert run.state == "failed"
    assert run.states()["rollback"] == "success"
    everything = set(environment.dingtalk.messages())
    assert texts_of(environment, everything) == TEXTS | LOST | {"alert": 1}
    stays = [*LOST, "alert"]
    found = {key for key in everything if environment.dingtalk.messages()[key]["text"] not in stays}
    assert classes(run.report("rollback"))["recalled"] == found == environment.dingtalk.gone()
