"""Accounts of the cluster's scenarios: each kind of wrong report is seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.accounts import (
    BATCH,
    IN_FLIGHT,
    SENDS_BEGUN,
    Row,
    block_account,
    failures,
    hold,
    recall_account,
    send_account,
    summary,
    waited,
)


def message(key: str, recalls: int = 1) -> dict[str, Any]:
    return {"key": key, "recalled_at": 5.0 if recalls else None, "recalls": recalls}


def report(**classes: list[str]) -> dict[str, Any]:
    return {**classes, "counts": {name: len(keys) for name, keys in classes.items()}}


def row(**figures: int) -> Row:
    return Row(name="row", figures=figures)


GONE = [message("a"), message("b"), message("other", 7)]
RECALL = {"asked": 2, "lost": 0, "false": 0, "twice": 0, "left": 0}


@pytest.mark.parametrize(
    ("said", "messages", "expected"),
    [
        (report(recalled=["a", "b"]), GONE, {}),
        (report(recalled=["a"]), GONE, {"lost": 1}),
        (None, GONE, {"lost": 2}),
        (report(recalled=["a", "b"]), [message("a"), message("b", 0)], {"false": 1, "left": 1}),
        (report(recalled=["a"], failed=["b"]), GONE, {"false": 1}),
        (report(recalled=["a"], failed=["b"]), [message("a"), message("b", 0)], {"left": 1}),
        (report(recalled=["a", "b"]), [message("a", 3), message("b")], {"twice": 2}),
    ],
)
def test_a_recall_is_compared_with_the_messages(said, messages, expected):
    account = recall_account(["a", "b"], said, messages)
    assert {name: account[name] for name in RECALL} == RECALL | expected


SEND = {"lost": 0, "false": 0, "twice": 0, "without_trace": 0}


@pytest.mark.parametrize(
    ("receipts", "unknown", "sent", "expected"),
    [
        ("abc", 0, "abc", {}),
        ("ab", 1, "ab", {}),
        ("ab", 1, "abc", {}),
        ("ab", 0, "ab", {"lost": 1}),
        ("ab", 0, "abc", {"lost": 1, "without_trace": 1}),
        ("abx", 0, "ab", {"false": 1}),
        ("abc", 1, "abcd", {"twice": 1}),
    ],
)
def test_a_send_is_compared_with_the_messages(receipts, unknown, sent, expected):
    account = send_account(3, set(receipts), unknown, [message(key) for key in sent])
    assert {name: account[name] for name in SEND} == SEND | expected


def test_a_block_must_name_what_it_leaves():
    left = [message("a"), message("b", 0), message("c", 0)]
    assert block_account(report(recalled=["a"], unknown=["b"]), left)["without_trace"] == 1
    assert block_account(report(recalled=["a"], unknown=["b"], failed=["c"]), left)["without_trace"] == 0
    in_doubt = {**report(recalled=["a"], unknown=["b"]), "sends_in_doubt": {"send": 1}}
    assert block_account(in_doubt, left)["without_trace"] == 0
    assert block_account(None, left)["without_trace"] == 2


def test_a_right_account_holds():
    right = row(**RECALL)
    hold(right, tries=1, allowed=1)
    assert right.wrong == []
    assert right.line().startswith("holds  row: asked=2")


@pytest.mark.parametrize("name", ["lost", "false", "left", "without_trace", "twice"])
def test_a_wrong_account_does_not_hold(name):
    wrong = row(**RECALL | {name: 1})
    hold(wrong, tries=1, allowed=1)
    assert len(wrong.wrong) == 1
    assert wrong.line().startswith("WRONG")


def test_more_tries_than_allowed_do_not_hold():
    wrong = row(**RECALL)
    hold(wrong, tries=2, allowed=1)
    assert wrong.wrong == ["2 tries, expected 1 at most"]


def test_what_was_in_flight_may_be_recalled_again_but_not_sent_again():
    recall, send = row(**RECALL | {"twice": IN_FLIGHT * BATCH}), row(people=9, twice=1, unknown=SENDS_BEGUN)
    hold(recall, tries=2, allowed=2)
    hold(send, tries=2, allowed=2)
    assert recall.wrong == []
    assert send.wrong == ["twice is 1, expected 0 at most"]


@pytest.mark.parametrize(
    ("times", "airflow", "expected"), [([1, 14, 12], 0, 2.0), ([1, 14], 3, 1.0), ([1, 14], 30, 0.0), ([1], 0, None)]
)
def test_only_time_after_the_fault_and_beyond_airflow_counts(times, airflow, expected):
    assert waited(times, 10, airflow) == expected


@pytest.mark.parametrize(
    ("wrong", "slow", "verdict", "fails", "fails_by_account"),
    [
        (False, False, "holds", False, False),
        (False, True, "SLOW", True, False),
        (True, False, "WRONG", True, True),
        (True, True, "WRONG", True, True),
    ],
)
def test_a_slow_machine_changes_no_account(wrong, slow, verdict, fails, fails_by_account):
    one = row(lost=0)
    one.must(not wrong, "messages are left")
    one.goal(not slow, "over 30 ms")
    assert one.line().startswith(verdict)
    assert ("messages are left" in one.line(), "over 30 ms" in one.line()) == (wrong, slow)
    assert bool(failures([one], accounts_only=False)) is fails
    assert bool(failures([one], accounts_only=True)) is fails_by_account
    assert summary([one])["held"] == (not fails)
