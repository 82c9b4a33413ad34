"""Command ``status``: the error of one message does not hide the others."""

from __future__ import annotations

from tests.cli.terminal import Terminal


def test_a_status_that_is_not_to_be_had_does_not_hide_the_others(terminal: Terminal):
    (key,) = terminal.create_messages("oto")
    done = terminal.run("status", "--keys", f"nobody-knows,{key}", "--kind", "oto", "--json")
    assert done.status == 1
    unknown, known = done.json["messages"]
    assert unknown["error"]["code"] == "invalid.processQueryKey"
    assert known["send_status"] == "SUCCESS"
