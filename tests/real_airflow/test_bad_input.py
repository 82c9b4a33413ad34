"""Invalid input: the task fails at once and names the argument, and nothing is sent."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import DagRun, Environment

#: Text that the log of each task must contain.
SAYS = {
    "key_is_none": "process_query_keys[1]: must be text, not NoneType",
    "keys_are_a_word": "process_query_keys: is a string that is not JSON",
    "keys_are_a_dict": "process_query_keys: must be a list, not dict",
    "key_is_blank": "process_query_keys[1]: is blank",
    "key_is_a_number": "open_ding_ids[0]: must be text, not int",
    "task_id_is_a_word": "msg_task_id[0]: must be a number as DingTalk gave it",
    "no_conversation": "open_conversation_id: is missing",
    "another_kind": "receipts[0].kind: is oto; this task is about group only",
    "unknown_kind": "receipts[1].kind: is 'fax'; use one of",
    "half_a_receipt": "receipts[0].robot_code: is missing; a receipt of kind oto needs it",
    "too_deep": "receipts: is nested deeper than 8 lists",
    "no_connection": "dingtalk_conn_id: cannot read the connection 'dingtalk_nowhere'",
    "no_secret": "password: is empty; it must be the app's Client Secret",
    "no_robot": "robot_code: is missing",
    "no_text": "text: ",
    "no_key": "process_query_key: is missing",
}


@pytest.fixture(scope="module")
def run(environment: Environment) -> DagRun:
    environment.dingtalk.empty()
    return environment.trigger_and_wait("real_bad_input")


def test_every_task_fails_without_a_retry(run: DagRun):
    assert run.state == "failed"
    assert run.states() == dict.fromkeys(SAYS, "failed")
    assert run.tries() == dict.fromkeys(SAYS, 1)


@pytest.mark.parametrize("task", SAYS)
def test_the_log_names_the_argument(run: DagRun, task: str):
    log = run.log(task)
    assert SAYS[task] in log
    assert not [word for word in ("KeyError", "TypeError", "AttributeError") if word in log]


def test_not_one_byte_reaches_dingtalk(run: DagRun, environment: Environment):
    assert environment.dingtalk.calls() == {}
