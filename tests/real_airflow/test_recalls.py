"""The recall operators of the five pages that the project began with: success, and failure of a part."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import RECALL_API, DagRun, Environment, classes, codes

KINDS = ("group", "oto", "private_chat", "work_notification")
ROBOT_KINDS = ("group", "oto", "private_chat")
NO_SUCH_KEY = "invalid.processQueryKey"
#: DingTalk's error code of a message that cannot be recalled, by kind, as a fault returns it.
REFUSED = {"group": NO_SUCH_KEY, "oto": "not.allowed.robotCode", "private_chat": NO_SUCH_KEY}


def test_messages_are_recalled_by_their_keys(environment: Environment):
    environment.dingtalk.empty()
    keys = {kind: environment.dingtalk.create_messages(kind, 23) for kind in ROBOT_KINDS}
    keys["work_notification"] = environment.dingtalk.create_messages("work_notification", 2)
    others = [key for kind in KINDS for key in environment.dingtalk.create_messages(kind, 2)]
    run = environment.trigger_and_wait("real_recall_keys", **keys)
    assert run.state == "success"
    assert run.states() == dict.fromkeys(KINDS, "success")
    for kind in KINDS:
        report = run.report(kind)
        assert classes(report)["recalled"] == set(keys[kind]) == environment.dingtalk.gone(keys[kind])
        assert report["api_calls"] == {"recall": 2, "token": 1, "total": 3}
    assert environment.dingtalk.recall_calls() == dict.fromkeys(KINDS, 2)
    assert environment.dingtalk.gone(others) == set()


class Mixture:
    """Messages that can and cannot be recalled, and the results of two DAGs."""

    def __init__(self, environment: Environment) -> None:
        self.good = {kind: environment.dingtalk.create_messages(kind, 22) for kind in ROBOT_KINDS}
        self.good["work_notification"] = environment.dingtalk.create_messages("work_notification")
        # By a fault: DingTalk names them in failedResult.
        self.refused = {kind: environment.dingtalk.create_messages(kind, 3) for kind in ROBOT_KINDS}
        # Without a fault: an unknown key has its whole batch refused, another app's message has a wrong agent.
        self.unknown = {kind: [f"nobody-knows-{kind}"] for kind in ROBOT_KINDS}
        foreign = environment.dingtalk.create_messages("work_notification", agent_id=2000002)
        self.unknown["work_notification"] = [*foreign, "123456789"]
        self.refused["work_notification"] = []
        self.old = environment.dingtalk.create_messages("oto", age_seconds=25 * 3600)
        environment.dingtalk.server.faults(
            *(
                {
                    "match": RECALL_API[kind],
                    "action": {"type": "fail_keys", "keys": self.refused[kind], "reason": REFUSED[kind]},
                }
                for kind in ROBOT_KINDS
            )
        )
        conf = {kind: self.good[kind] + self.refused[kind] + self.unknown[kind] for kind in KINDS}
        conf["oto"] = conf["oto"] + self.old
        begun = environment.trigger("real_recall_keys", **conf)
        self.strict: DagRun = begun.wait()
        self.gone_by_strict = environment.dingtalk.gone()
        self.lenient: DagRun = environment.trigger_and_wait("real_recall_keys_leniently", **conf)


@pytest.fixture(scope="module")
def mixture(environment: Environment) -> Mixture:
    environment.dingtalk.empty()
    return Mixture(environment)


def test_the_recall_of_a_part_fails_the_task_without_a_retry(mixture: Mixture):
    assert mixture.strict.state == "failed"
    assert mixture.strict.states() == dict.fromkeys(KINDS, "failed")
    assert mixture.strict.tries() == dict.fromkeys(KINDS, 1)
    assert "22 of 26 messages recalled; 4 failed." in mixture.strict.log("group")


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_splits_what_is_gone_from_what_is_not(mixture: Mixture, kind: str):
    report = mixture.strict.report(kind)
    by_class = classes(report)
    assert by_class["recalled"] == set(mixture.good[kind])
    assert by_class["recalled"] == mixture.gone_by_strict & set().union(*by_class.values())
    assert by_class["failed"] == set(mixture.refused[kind] + mixture.unknown[kind])
    assert by_class["expired"] == (set(mixture.old) if kind == "oto" else set())
    assert by_class["unknown"] == set()


@pytest.mark.parametrize("kind", ROBOT_KINDS)
def test_the_report_gives_each_key_that_failed_its_code_and_a_next_step(mixture: Mixture, kind: str):
    assert codes(mixture.strict.report(kind), "failed") == {
        **dict.fromkeys(mixture.refused[kind], REFUSED[kind]),
        **dict.fromkeys(mixture.unknown[kind], NO_SUCH_KEY),
    }
    for reason in mixture.strict.report(kind)["failed"].values():
        assert reason["next_step"].startswith(
            "Check the message key" if reason["code"] == NO_SUCH_KEY else "Recall it with the robot that sent it"
        )


def test_a_message_of_yesterday_is_called_expired(mixture: Mixture):
    assert set(codes(mixture.strict.report("oto"), "expired").values()) == {"robot.processQueryKey.expired"}


def test_a_foreign_or_unknown_work_notification_gets_dingtalk_s_number(mixture: Mixture):
    report = mixture.strict.report("work_notification")
    assert codes(report, "failed") == dict.fromkeys(mixture.unknown["work_notification"], "400002")
    assert report["api_calls"] == {"recall": 3, "token": 1, "total": 4}


def test_without_fail_on_the_same_report_makes_a_success(mixture: Mixture):
    assert mixture.lenient.state == "success"
    assert mixture.lenient.states() == dict.fromkeys(KINDS, "success")
    for kind in KINDS:
        assert mixture.lenient.report(kind) == mixture.strict.report(kind) == mixture.lenient.xcom(kind)


def test_the_log_shows_the_report_as_a_table(mixture: Mixture):
    log = mixture.strict.log("oto")
    assert "recalled 22   failed 4   expired 1   unknown 0   total 27" in log
    assert "3 failed: not.allowed.robotCode." in log


def test_each_recall_is_an_event_of_its_dag_s_rollback_log(mixture: Mixture, environment: Environment):
    events = environment.rollback_log("real_recall_keys_leniently", mixture.lenient)
    noted = {event["source_task_id"]: event["extra"] for event in events}
    assert {kind: extra["recalled"] for kind, extra in noted.items()} == {
        kind: len(mixture.good[kind]) for kind in KINDS
    }
    assert (noted["oto"]["expired"], noted["oto"]["left"]) == (1, 4)
    assert {extra["run_id"] for extra in noted.values()} == {mixture.lenient.run_id}
