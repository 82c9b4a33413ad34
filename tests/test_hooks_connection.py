"""``test_connection`` of the hook: each cause in words."""

from __future__ import annotations

import copy
import pickle
import socket
from typing import Any

import pytest

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, CORP_ID, SUITE_KEY, SUITE_SECRET, SUITE_TICKET
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TOKEN_API, calls
from tests.support.connections import Connect

# ── test_connection ──────────────────────────────────────────────────────────────────────────────────

SENTINEL = "s3cret/+=Sentinel"


def told(hook: DingTalkHook, sandbox: SandboxServer, *secrets: str) -> tuple[bool, str]:
    """Return the result of ``test_connection``, after checks of what it must not do."""
    works, text = hook.test_connection()
    assert isinstance(works, bool) and isinstance(text, str) and text
    for secret in (CLIENT_SECRET, SENTINEL, SUITE_SECRET, SUITE_TICKET, *secrets, *sandbox.state.tokens):
        assert secret not in text
    assert set(calls(sandbox)) <= {TOKEN_API, "oauth2/corpAccessToken"}
    assert not sandbox.state.messages
    return works, text


def test_a_good_connection_is_called_good_for_one_token(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    works, text = told(hook, sandbox)
    assert works and sandbox.url in text and "Nothing was sent" in text
    assert calls(sandbox) == {TOKEN_API: 1}


def test_a_good_third_party_connection_is_called_good(sandbox: SandboxServer, connect: Connect) -> None:
    extra = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": SUITE_TICKET, "region": "cn"}
    works, text = told(connect(login=SUITE_KEY, password=SUITE_SECRET, extra=extra), sandbox)
    assert works and sandbox.url in text
    assert calls(sandbox) == {"oauth2/corpAccessToken": 1}


@pytest.mark.parametrize("change", [{"password": SENTINEL}, {"login": "dingnobody"}])
def test_a_refused_key_is_called_so_and_the_region_named_as_a_cause(
    sandbox: SandboxServer, connect: Connect, change: dict[str, str]
) -> None:
    works, text = told(connect(**change), sandbox)
    assert not works
    assert "invalidClientIdOrSecret" in text and "region" in text


def test_a_refused_ticket_is_called_so(sandbox: SandboxServer, connect: Connect) -> None:
    extra = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": SENTINEL}
    works, text = told(connect(login=SUITE_KEY, password=SUITE_SECRET, extra=extra), sandbox)
    assert (works, "invalidSuiteTicket" in text) == (False, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"password": ""}, "password"),
        ({"login": ""}, "login"),
        ({"host": f"http://u:{SENTINEL}@127.0.0.1"}, "host"),
        ({"host": "https://example.com"}, "allowed_hosts"),
        ({"extra": {"region": "eu"}}, "region"),
        ({"extra": {"app_type": "third_party"}}, "corp_id"),
        ({"extra": {"ca_file": "/no/such/file"}}, "ca_file"),
        ({"host": "https://127.0.0.1:1", "extra": {"ca_file": __file__}}, "ca_file"),
        (
            {
                "extra": {
                    "app_type": "third_party",
                    "corp_id": CORP_ID,
                    "suite_ticket_secret": "variable:never_set",
                }
            },
            "suite_ticket",
        ),
    ],
)
def test_a_bad_connection_is_told_by_its_field_without_a_call(
    sandbox: SandboxServer, connect: Connect, change: dict[str, Any], word: str
) -> None:
    works, text = told(connect(**change), sandbox)
    assert (works, word in text) == (False, True), text
    assert calls(sandbox) == {}


def test_a_missing_connection_is_told_by_its_id(sandbox: SandboxServer) -> None:
    works, text = told(DingTalkHook("nowhere"), sandbox)
    assert (works, "nowhere" in text) == (False, True)


def test_an_unreachable_dingtalk_is_told_with_what_to_check(sandbox: SandboxServer, connect: Connect) -> None:
    with socket.socket() as taken:
        # Bound but not listening, so no other process can listen on the port.
        taken.bind(("127.0.0.1", 0))
        works, text = told(connect(host=f"http://127.0.0.1:{taken.getsockname()[1]}"), sandbox)
    assert (works, "not_sent" in text, "(refused)" in text) == (False, True, True)
    assert "Is the sandbox running?" in text


def test_each_result_is_in_the_language_of_the_option(
    sandbox: SandboxServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    works, text = told(connect(), sandbox)
    assert (works, text) == (True, f"已取得 access_token（{sandbox.url}），未发送任何消息。")
    _, refused = told(connect(password=SENTINEL), sandbox)
    _, away = told(connect(host="http://127.0.0.1:1"), sandbox)
    assert refused.startswith("钉钉拒绝此应用（invalidClientIdOrSecret）。请")
    assert away.startswith("not_sent: oauth2/accessToken：无法连接 127.0.0.1:1（连接被拒绝）。沙箱是否已启动？")


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (
            {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"},
            "Forbidden",
        ),
        ({"type": "ban"}, "1111"),
        ({"type": "body", "text": f'{{"accessToken": "{SENTINEL}\\n", "expireIn": 7200}}'}, "unexpected_answer"),
        ({"type": "status", "status": 400, "code": "some.code", "message": f"no {CLIENT_SECRET}"}, "some.code"),
    ],
)
def test_an_odd_answer_is_told_by_its_code(
    sandbox: SandboxServer, hook: DingTalkHook, action: dict[str, Any], word: str
) -> None:
    sandbox.faults({"action": action})
    works, text = told(hook, sandbox)
    assert (works, word in text) == (False, True), text


def test_a_pickled_hook_holds_no_secret_and_works(sandbox: SandboxServer, connect: Connect) -> None:
    extra = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": SUITE_TICKET}
    hook = connect(login=SUITE_KEY, password=SUITE_SECRET, extra=extra)
    told(hook, sandbox)
    for copied in (pickled := pickle.dumps(hook), pickle.dumps(copy.deepcopy(hook))):
        assert SUITE_SECRET.encode() not in copied and SUITE_TICKET.encode() not in copied
    works, _ = told(pickle.loads(pickled), sandbox)
    assert works


def test_a_token_that_cannot_be_masked_is_told_without_the_error_s_text(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    class Failing(DingTalkHook):
        def client_on_loop(self) -> DingTalkClient:
            async def fail(token: str) -> None:
                raise OSError(f"{SENTINEL} {token}")

            return event_loop.client_for(self.settings(), fail)

    works, text = told(Failing(), sandbox)
    assert (works, "OSError" in text) == (False, True)
