"""Journal of requests: order, counts, times and secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from airflow_provider_dingtalk.sandbox.journal import JOURNAL_SIZE, Calls, Journal, hashed
from airflow_provider_dingtalk.sandbox.responses import ApiResponse, json_response
from tests.sandbox.raw_client import RawClient, action_of, rule


def test_journal_has_no_secrets(client: RawClient) -> None:
    client.recall("oto", ["a", "b"])
    client.work("recall", {"agent_id": 1000001, "msg_task_id": 1})
    text = client.http.get("/_sandbox/journal").text
    assert client.token not in text and "sandbox-secret" not in text
    login, recall, work = client.control("GET", "journal")["requests"]
    assert (login["api"], login["code"], login["token"]) == ("oauth2/accessToken", "ok", None)
    assert (recall["keys"], recall["status"], recall["code"]) == (2, 400, "invalid.processQueryKey")
    assert (work["code"], work["token"]) == ("400002", recall["token"])
    assert client.control("GET", f"journal?since={recall['seq']}")["requests"] == [work]


def test_journal_is_bounded() -> None:
    journal = Journal()
    for _ in range(JOURNAL_SIZE + 5):
        journal.write(journal.arrive("a", 0), json_response({}))
    assert (len(journal.entries), journal.entries[0].seq) == (JOURNAL_SIZE, 6)
    assert journal.calls["a"].total == JOURNAL_SIZE + 5


ERROR = ApiResponse(400, b"", "bad")
THROTTLED = ApiResponse(403, b"", "QpsLimit")


def _wait_until_arrived(client: RawClient) -> None:
    while not client.control("GET", "faults")["faults"][0]["fired"]:
        pass  # The request has arrived once its fault is counted.


def test_entry_has_the_time_of_the_request(client: RawClient) -> None:
    began = client.clock.time
    client.faults(rule(action=action_of("delay", seconds=0.2)))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.query, "group", "k")
        _wait_until_arrived(client)
        client.clock.time = began + 100
        answer.result(10)
    [_, entry] = client.control("GET", "journal")["requests"]
    assert (entry["time"], entry["faults"]) == (began, ["delay"])


def test_request_during_a_reset_stays_in_the_old_journal(client: RawClient) -> None:
    old = client.sandbox.state.journal
    client.faults(rule(match="query", action=action_of("delay", seconds=0.2)))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.query, "group", "k")
        _wait_until_arrived(client)
        client.control("POST", "reset")
        answer.result(10)
    assert client.control("GET", "journal")["requests"] == []
    assert [entry.api for entry in old.entries] == ["oauth2/accessToken", "robot/groupMessages/query"]


def test_calls_are_counted_by_their_end() -> None:
    journal = Journal()
    for response, truncated in ((json_response({}), False), (ERROR, False), (THROTTLED, True), (None, False)):
        journal.write(journal.arrive("a", 1.0), response, truncated=truncated)
    assert journal.calls["a"] == Calls(total=4, throttled=1, refused=2, cut=2)
    assert [(entry.seq, entry.status, entry.code) for entry in journal.entries] == [
        (1, 200, "ok"),
        (2, 400, "bad"),
        (3, 403, "QpsLimit"),
        (4, 0, "cut"),
    ]


def test_hash_tells_tokens_apart() -> None:
    assert hashed("a") == hashed("a") != hashed("b")
    assert hashed(None) is None
    assert "secret-token" not in str(hashed("secret-token"))
