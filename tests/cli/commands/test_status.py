"""Command ``status``: the error of one message does not hide the others."""

from __future__ import annotations

import json

from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.terminal import Terminal


def test_a_status_that_is_not_to_be_had_does_not_hide_the_others(terminal: Terminal):
    (key,) = terminal.create_messages("oto")
    done = terminal.run("status", "--keys", f"nobody-knows,{key}", "--kind", "oto", "--json")
    assert done.status == 1
    unknown, known = done.json["messages"]
    assert unknown["error"]["code"] == "invalid.processQueryKey"
    assert known["send_status"] == "SUCCESS"


def test_receipts_of_another_connection_need_no_default_one(terminal: Terminal):
    (key,) = terminal.create_messages("oto")
    receipt = {"kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key, "conn_id": "dingtalk_prod"}
    connection = json.dumps(terminal.sandbox.connection())
    env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": None, "AIRFLOW_CONN_DINGTALK_PROD": connection}
    done = terminal.run("status", "--keys", json.dumps([receipt]), "--json", env=env)
    assert (done.status, done.json["messages"][0]["send_status"]) == (0, "SUCCESS")
    done = terminal.run("status", "--keys", key, "--kind", "oto", env=env)
    assert (done.status, "cannot read the connection 'dingtalk_default'" in done.err) == (3, True)
