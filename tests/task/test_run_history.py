"""Questions of a task to Airflow about DAGs, runs and tasks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.task.rollback_source import of_run, of_unfinished, of_window
from airflow_provider_dingtalk.task.run_history import Tasks
from tests.support.runs import DAG, SINCE, Runs, keys


def test_a_task_whose_name_looks_like_a_mapped_one_is_not_taken_for_it():
    ti = Runs({"run": {("send_1", -1): "failed", ("send", -1): "success"}})
    assert not Tasks({"ti": ti}, ["send"], dag_id=DAG, run_id="run").failed()
    assert Tasks({"ti": ti}, ["send_1"], dag_id=DAG, run_id="run").failed()


@pytest.mark.parametrize(
    "look",
    [
        lambda ti: of_window({"ti": ti}, DAG, SINCE, None),
        lambda ti: of_unfinished({"ti": ti}, DAG, ["rollback"]),
    ],
    ids=["window", "sweep"],
)
def test_a_dag_that_airflow_does_not_know_is_refused_and_one_that_never_ran_is_not(look: Any):
    ti = Runs({})
    assert look(ti) == []
    ti.is_unknown = True
    with pytest.raises(InvalidInputError, match=f"is '{DAG}'; Airflow knows no DAG"):
        look(ti)


def test_so_it_is_in_dag_test_where_airflow_s_answer_comes_as_it_is():
    class Tested(Runs):
        def get_dag(self, dag_id: str) -> str:
            request = httpx.Request("GET", "http://in-process.invalid/dags/x")
            raise httpx.HTTPStatusError("not found", request=request, response=httpx.Response(404, request=request))

    with pytest.raises(InvalidInputError, match="Airflow knows no DAG"):
        of_window({"ti": Tested({})}, DAG, SINCE, None)


def test_an_airflow_that_fails_otherwise_is_not_a_dag_that_is_gone():
    class Broken(Runs):
        def get_dag(self, dag_id: str) -> str:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}))

    with pytest.raises(AirflowRuntimeError):
        of_window({"ti": Broken({})}, DAG, SINCE, None)


def test_a_sweep_of_a_dag_without_its_rollback_is_refused():
    ti = Runs({"run": {("send", -1): "success", ("undo", -1): "success"}})
    with pytest.raises(InvalidInputError, match=r"^rollbacks: is \['rollback'\]; no run of 'revenue' has a task"):
        of_unfinished({"ti": ti}, DAG, ["rollback"])
    assert of_unfinished({"ti": ti}, DAG, ["undo"]) == []


def test_a_task_that_a_run_does_not_have_is_refused():
    ti = Runs({"run": {("send", -1): "success", ("each", 0): "success", ("never", -1): None}})
    errors: list[DingTalkError] = []
    ti.sent("run", "send", "first")
    assert keys([of_run({"ti": ti}, DAG, "run", ["send", "each", "never"], errors=errors)]) == {"run": ["first"]}
    assert not errors
    assert keys([of_run({"ti": ti}, DAG, "run", ["send", "sned"], errors=errors)]) == {"run": ["first"]}
    assert [error.message for error in errors] == ["from_tasks: holds 'sned', no task of the run 'run'"]


def test_a_cleared_task_that_has_not_begun_again_is_not_forgotten():
    """Airflow deletes its XComs when it begins."""
    ti = Runs({"run": {("send", -1): None, ("mapped", 0): "scheduled", ("mapped", 1): "success"}})
    ti.sent("run", "send", "first")
    ti.sent("run", "mapped", "second", index=0)
    ti.sent("run", "mapped", "third", index=1)
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["first", "second", "third"]}
