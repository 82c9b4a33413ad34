"""Unusual DAG ids and task ids: the file is parsed, the rollback works, and the log has its event."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_dingtalk.task.asset_events import rollback_log
from tests.real_airflow.fixtures import Environment, classes, wait_until
from tests.real_airflow.test_commands import Shell

CHINESE = "每日营收"


def sent(environment: Environment, text: str) -> set[str]:
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == text}


class Runs:
    """A run whose work failed, and two good ones that another DAG rolls back, side by side."""

    def __init__(self, environment: Environment) -> None:
        begin = environment.trigger
        self.failed = begin(CHINESE, work="fail", text="坏数字")
        self.well, self.once_more = begin(CHINESE, text="好数字"), begin(CHINESE, text="又一次")
        others, some, tasks = "real_rollback_of_others", "real_rollback_of_tasks", "group.每群"
        self.undo = begin(others, dag=CHINESE, run=self.well.wait().run_id)
        self.undo_tasks = begin(some, dag=CHINESE, run=self.once_more.wait().run_id, tasks=tasks)
        for run in (self.failed, self.undo, self.undo_tasks):
            run.wait()


@pytest.fixture(scope="module")
def runs(environment: Environment) -> Runs:
    environment.dingtalk.empty()
    return Runs(environment)


def test_the_dag_and_its_neighbour_in_the_file_are_there(environment: Environment):
    assert environment.airflow.knows_dag("real_chinese_ids")
    wait_until("the DAG with the Chinese id is read", lambda: environment.airflow.knows_dag(CHINESE))
    assert not [error for error in environment.airflow.import_errors() if "chinese" in error]


def test_its_rollback_takes_back_what_the_block_sent(runs: Runs, environment: Environment):
    failed = runs.failed
    assert failed.state == "failed"
    states = failed.states()
    assert (states["撤回"], states["撤回_watcher"], states["group.核对"]) == ("success", "failed", "failed")
    wrong = sent(environment, "坏数字")
    beside = sent(environment, "坏数字，块外")
    assert (len(wrong), len(beside)) == (4, 1)
    assert classes(failed.report("撤回"))["recalled"] == wrong == environment.dingtalk.gone([*wrong, *beside])
    assert [event["extra"]["recalled"] for event in environment.rollback_log(CHINESE, failed)] == [4]


def test_another_dag_takes_back_by_its_id_and_leaves_an_event(runs: Runs, environment: Environment, tmp_path: Path):
    well, undo = runs.well, runs.undo
    assert well.state == undo.state == "success"
    right = sent(environment, "好数字") | sent(environment, "好数字，块外")
    assert len(right) == 5
    assert classes(undo.report("undo"))["recalled"] == right == environment.dingtalk.gone([*right])
    # Airflow's scheduler lists an asset of an alias at its next clean-up.
    wait_until("the event is there", lambda: bool(environment.rollback_log(CHINESE, undo)))
    assert [event["extra"]["run_id"] for event in environment.rollback_log(CHINESE, undo)] == [well.run_id]
    assert rollback_log(CHINESE).name.isascii()
    # The command's plan leaves out what the other DAG recalled.
    status, plan = Shell(environment, tmp_path).run("rollback", "--run", CHINESE, well.run_id, "--dry-run")
    assert (status, plan["total"]) == (0, 0)


def test_the_same_by_tasks_of_it(runs: Runs, environment: Environment):
    mapped = {key for index in (0, 1) for key in keys(runs.once_more.xcom("group.每群", map_index=index))}
    everything = sent(environment, "又一次") | sent(environment, "又一次，块外")
    assert classes(runs.undo_tasks.report("undo"))["recalled"] == mapped == environment.dingtalk.gone([*everything])
    assert (len(mapped), len(everything)) == (2, 5)


def keys(receipts: list[dict[str, str]]) -> list[str]:
    return [receipt["process_query_key"] for receipt in receipts]
