"""Unusual DAG ids and task ids: the file is parsed, the rollback works, and the log has its event."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.task.asset_events import rollback_log
from tests.real_airflow.fixtures import DagRun, Environment, classes, wait_until

CHINESE = "每日营收"


def sent(environment: Environment, text: str) -> set[str]:
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == text}


@pytest.fixture(scope="module")
def failed(environment: Environment) -> DagRun:
    """A run whose work failed."""
    environment.dingtalk.empty()
    return environment.trigger_and_wait(CHINESE, work="fail", text="坏数字")


def test_the_dag_and_its_neighbour_in_the_file_are_there(environment: Environment):
    assert environment.airflow.knows_dag("real_chinese_ids")
    wait_until("the DAG with the Chinese id is read", lambda: environment.airflow.knows_dag(CHINESE))
    assert not [error for error in environment.airflow.import_errors() if "chinese" in error]


def test_its_rollback_takes_back_what_the_block_sent(failed: DagRun, environment: Environment):
    assert failed.state == "failed"
    states = failed.states()
    assert (states["撤回"], states["撤回_watcher"], states["group.核对"]) == ("success", "failed", "failed")
    wrong = sent(environment, "坏数字")
    assert len(wrong) == 4
    assert classes(failed.report("撤回"))["recalled"] == wrong == environment.dingtalk.gone()
    assert [event["extra"]["recalled"] for event in environment.rollback_log(CHINESE, failed)] == [4]


def test_another_dag_takes_back_by_its_id_and_leaves_an_event(failed: DagRun, environment: Environment):
    well = environment.trigger_and_wait(CHINESE, text="好数字")
    assert well.state == "success"
    undo = environment.trigger_and_wait("real_rollback_of_others", dag=CHINESE, run=well.run_id)
    assert undo.state == "success"
    right = sent(environment, "好数字") | sent(environment, "好数字，块外")
    assert len(right) == 5
    assert classes(undo.report("undo"))["recalled"] == right
    # Airflow's scheduler lists an asset of an alias at its next clean-up.
    wait_until("the event is there", lambda: bool(environment.rollback_log(CHINESE, undo)))
    assert [event["extra"]["run_id"] for event in environment.rollback_log(CHINESE, undo)] == [well.run_id]
    assert rollback_log(CHINESE).name.isascii()


def test_the_same_by_tasks_of_it(failed: DagRun, environment: Environment):
    well = environment.trigger_and_wait(CHINESE, text="又一次")
    undo = environment.trigger_and_wait("real_rollback_of_others", dag=CHINESE, run=well.run_id, tasks="group.每群")
    mapped = {key for index in (0, 1) for key in keys(well.xcom("group.每群", map_index=index))}
    assert classes(undo.report("undo"))["recalled"] == mapped
    assert len(mapped) == 2


def keys(receipts: list[dict[str, str]]) -> list[str]:
    return [receipt["process_query_key"] for receipt in receipts]
