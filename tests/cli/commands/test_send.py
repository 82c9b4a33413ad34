"""Command ``send``: its receipts are what the other commands take."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.cli.terminal import Terminal


def test_what_send_prints_is_what_status_and_rollback_take(terminal: Terminal):
    sent = terminal.run("send", "--group", *GROUPS[:2], "--user", "user001", "--text", "-", stdin="Wrong figures.")
    assert sent.status == 0
    assert {message.text for message in terminal.sandbox.state.messages.values()} == {"Wrong figures."}
    assert [receipt["kind"] for receipt in sent.json] == ["group", "group", "oto"]
    keys = [receipt["process_query_key"] for receipt in sent.json]
    terminal.sandbox.state.read(terminal.sandbox.state.messages[keys[0]], ["user001", "user002"])

    before = terminal.run("status", "--keys", "-", "--json", stdin=sent.out)
    assert before.status == 0
    assert [state["send_status"] for state in before.json["messages"]] == ["SUCCESS"] * 3
    assert before.json["messages"][0]["readers"] == ["user001", "user002"]

    assert terminal.run("rollback", "--keys", "-", "--yes", stdin=sent.out).status == 0
    assert terminal.gone() == set(keys)
    after = terminal.run("status", "--keys", "-", "--no-readers", stdin=sent.out)
    assert after.out.count("RECALLED") == 3


def test_a_send_that_stops_half_way_prints_the_receipts_it_got(terminal: Terminal):
    done = terminal.run("send", "--group", GROUPS[0], "cidnowhere", "--text", "x", "--json")
    assert done.status == 1
    assert [receipt["open_conversation_id"] for receipt in done.json["receipts"]] == [GROUPS[0]]
    assert done.json["failed"][0]["to"] == ["cidnowhere"]
    assert done.json["failed"][0]["code"] == "invalid.openConversationId"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--group", "cidgroup1"], "exactly one"),
        (["--text", "x"], "at least one"),
        (["--group", "cidgroup1", "--text", "x", "--markdown", "y"], "exactly one"),
        (["--group", "cidgroup1", "--text", "x", "--title", "y"], "--markdown only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_calls_no_api(terminal: Terminal, arguments: list[str], problem: str):
    done = terminal.run("send", *arguments)
    assert (done.status, done.out, terminal.calls()) == (2, "", 0)
    assert problem in done.err
