"""docs/migrate_from_dingding.md: what it says of this provider runs, and what it says of the other one is complete."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_dingtalk.operators.base import SendOperator
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, GROUPS, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.operators import run

PAGE = (Path(__file__).parents[1] / "docs" / "migrate_from_dingding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {
    "<Client ID>": CLIENT_ID,
    "<Client Secret>": CLIENT_SECRET,
    "<robot code>": ROBOT_CODE,
    "cid…": GROUPS[0],
}
#: Arguments of DingdingOperator and DingdingHook at version 3.10, as in Airflow's repository.
ARGUMENTS = {"dingding_conn_id", "message_type", "message", "at_mobiles", "at_all"}
TYPES = {"text", "link", "markdown", "actionCard", "feedCard"}


def filled(code: str) -> str:
    for placeholder, value in PLACEHOLDERS.items():
        code = code.replace(placeholder, value)
    return code


def of_python(word: str) -> list[str]:
    return [code for language, code in BLOCKS if language == "python" and word in code]


def run_block(word: str) -> dict[str, Any]:
    (code,) = of_python(word)
    names: dict[str, Any] = {}
    exec(compile(filled(code), word, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def connected(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (after,) = [code for language, code in BLOCKS if language == "json" and '"dingtalk"' in code]
    monkeypatch.setenv(
        "AIRFLOW_CONN_DINGTALK_DEFAULT", json.dumps({**json.loads(filled(after)), "host": sandbox.connection()["host"]})
    )


def texts(sandbox: SandboxServer) -> list[str]:
    return [message["text"] for message in sandbox.snapshot()["messages"]]


def test_the_operators_send_with_the_connection_of_the_page(sandbox: SandboxServer) -> None:
    with DAG("migrated", schedule=None) as dag:
        run_block("DingTalkSendGroupMessageOperator")
    assert all(isinstance(task, SendOperator) for task in dag.tasks)
    for task in dag.tasks:
        task.render_template_fields({"ds": "2026-11-29"})
        run(task)
    rows = "2026-11-29: 42 rows"
    assert sorted(texts(sandbox)) == sorted([rows, rows, "Report · ## Report\n\nAll is well.", "Report · It is ready."])


def test_the_notifier_sends(sandbox: SandboxServer, english: None) -> None:
    run_block("DingTalkNotifier")["failure_callback"]({})
    assert texts(sandbox) == ["A DAG: needs a look"]


def test_the_hook_sends(sandbox: SandboxServer) -> None:
    assert run_block("DingTalkHook")["tell"]()[0]["kind"] == "group"
    assert texts(sandbox) == ["42 rows"]


def test_each_argument_and_message_type_of_dingding_is_explained() -> None:
    _, _, table = PAGE.partition("\n## Arguments\n")
    old = "\n".join(line.split("|")[1] for line in table.partition("\n## ")[0].splitlines() if line.startswith("|"))
    assert set(re.findall(r"`([a-z_]+)(?:=.*?)?`", old)) >= ARGUMENTS
    assert set(re.findall(r'message_type="(\w+)"', old)) == TYPES


def test_the_code_before_calls_dingding_as_it_is() -> None:
    calls = [node for code in of_python("airflow.providers.dingding") for node in ast.walk(ast.parse(code))]
    given = {
        word.arg
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"DingdingOperator", "DingdingHook"}
        for word in call.keywords
    }
    assert given == {*ARGUMENTS, "task_id"}
