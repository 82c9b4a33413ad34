"""Any value in the task state store: the task succeeds or raises one of our errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendGroupMessageOperator
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.strategies import ANY_STORED, FUZZ, near
from tests.support.airflow_seams import TaskInstance, TaskStateStore, context, planted

pytestmark = pytest.mark.usefixtures("hook")

#: Work of a task, given a sandbox; it is made anew for each try, of the same request.
Make = Callable[[SandboxServer], Callable[[], Any]]


def rollback(sandbox: SandboxServer) -> Callable[[], Any]:
    receipts = planted(sandbox, "group", 3) + planted(sandbox, "oto", 2) + planted(sandbox, "work_notification")
    return lambda: DingTalkRollbackOperator(task_id="t", receipts=receipts, fail_on=set())


def send(_sandbox: SandboxServer) -> Callable[[], Any]:
    return lambda: DingTalkSendGroupMessageOperator(
        task_id="t", open_conversation_id=list(GROUPS[:2]), text="hello", on_cleared_send="keep"
    )


#: The state of sends belongs to another module; it is listed here to be tested in the same way.
WORK: dict[str, Make] = {"rollback": rollback, "send": send}


def run(make: Callable[[], Any], store: TaskStateStore, max_tries: int) -> None:
    """Run a try; it must succeed or raise one of our errors."""
    ti = TaskInstance("t")
    ti.max_tries = max_tries
    try:
        make().execute({**context(ti), "task_state_store": store})
    except (DingTalkError, AirflowFailException) as error:
        cause = error.__cause__ if isinstance(error, AirflowFailException) else error
        assert isinstance(cause, DingTalkError), f"a raw error: {cause!r}"


@pytest.mark.parametrize("name", WORK)
@settings(FUZZ, max_examples=60)
@given(data=st.data(), max_tries=st.sampled_from([0, 1]))
def test_any_json_under_any_key_is_taken_without_a_raw_error(
    sandbox: SandboxServer, name: str, data: st.DataObject, max_tries: int
) -> None:
    store, make = TaskStateStore(), WORK[name](sandbox)
    run(make, store, 0)
    # The names hold hashes of random keys, and differ in length.
    written = sorted(store._values, key=len)
    assert written
    for key in data.draw(st.lists(st.sampled_from(written), min_size=1, max_size=3, unique=True)):
        value = near(json.loads(store._values[key])) | ANY_STORED
        store.set(key, data.draw(value.filter(lambda drawn: drawn is not None)))
    run(make, store, max_tries)
