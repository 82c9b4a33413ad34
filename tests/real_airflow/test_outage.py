"""A recall while Airflow's API server is killed, away for 13 s, and started again."""

from __future__ import annotations

import time

from tests.real_airflow.fixtures import RECALL_API, Environment, wait_until

KEYS, BATCH = 3000, 20
#: Calls that are answered before the outage.
ANSWERED = 30
#: Seconds without a server; its start takes 6 to 20 more. Without a wait, a task gives up after 8 to 11.
AWAY = 13.0


def test_a_recall_without_retries_waits_for_the_api_server_and_ends_in_the_same_try(environment: Environment):
    dingtalk, stack = environment.dingtalk, environment.stack
    dingtalk.empty()
    keys = dingtalk.create_messages("group", KEYS)
    dingtalk.server.faults({"match": RECALL_API["group"], "action": {"type": "delay", "seconds": 1}})
    run = environment.trigger("real_recall_in_outage", keys=keys)
    wait_until("the recall is under way", lambda: dingtalk.recall_calls().get("group", 0) >= ANSWERED)
    stack.processes["api-server"].kill()
    time.sleep(AWAY)
    in_outage = dingtalk.recall_calls()["group"]
    stack.start("api-server")
    wait_until("the API server is back", environment.airflow.is_healthy)
    run.wait()
    assert run.states() == {"recall": "success"}
    assert run.tries() == {"recall": 1}
    assert dingtalk.gone(keys) == set(keys)
    report, calls = run.report("recall"), dingtalk.recall_calls()["group"]
    assert report["counts"]["recalled"] == KEYS
    assert in_outage < report["api_calls"]["recall"] == calls == KEYS / BATCH, "no message is recalled twice"
    log = run.log("recall")
    assert log.count("Airflow's API server is away") == log.count("Airflow's API server answers again") == 1
