"""A recall that its task's time limit cuts off."""

from __future__ import annotations

from tests.real_airflow.fixtures import RECALL_API, Environment, classes, codes

KEYS = 800
BATCH = 20
ANSWERED = 3


def test_a_recall_that_is_cut_off_leaves_an_exact_report(environment: Environment):
    environment.dingtalk.empty()
    keys = environment.dingtalk.create_messages("group", KEYS)
    begun = list(range(ANSWERED + 1, KEYS))
    # Three calls are answered. The others hang, some before their effect, some after it.
    hang = {"type": "delay", "seconds": 60}
    environment.dingtalk.server.faults(
        {"match": RECALL_API["group"], "nth": begun[:5], "when": "before", "action": hang},
        {"match": RECALL_API["group"], "nth": begun[5:], "when": "after", "action": hang},
    )
    run = environment.trigger_and_wait("real_slow_recall", keys=keys)
    assert run.state == "failed"
    assert run.states() == {"recall": "failed"}
    assert "AirflowTaskTimeout" in run.log("recall")
    report = run.report("recall")
    assert report is not None, "the report is there although the task was cut off"
    by_class = classes(report)
    assert set().union(*by_class.values()) == set(keys)
    calls = environment.dingtalk.recall_calls()["group"]
    assert ANSWERED < calls < KEYS / BATCH, "it stops: some calls were under way, and some never began"
    # Answered calls are recalled, calls in flight are in doubt, calls not begun changed nothing.
    gone = environment.dingtalk.gone(keys)
    assert len(by_class["recalled"]) == ANSWERED * BATCH
    assert by_class["recalled"] <= gone
    assert len(by_class["unknown"]) == (calls - ANSWERED) * BATCH
    assert set(codes(report, "unknown").values()) == {"no_answer"}
    assert set(codes(report, "failed").values()) == {"not_attempted"}
    assert not by_class["failed"] & gone
    # Of the calls in flight some took effect and some did not.
    assert by_class["unknown"] & gone
    assert by_class["unknown"] - gone
    assert report["api_calls"]["recall"] == calls
