"""The probe against sandboxes of every behaviour: what it writes makes another sandbox behave the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from airflow_provider_dingtalk.exceptions import AuthenticationError, DingTalkError
from airflow_provider_dingtalk.probe.calls import call_with_invalid_token
from airflow_provider_dingtalk.probe.observed import Observed, Question, read_observed
from airflow_provider_dingtalk.probe.probe import Probe
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, GROUPS, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.observed import switches_of
from tests.support.local_dingtalk import LocalDingTalk

PERSON = "user001"
BASE = "http://127.0.0.1:1"
#: Each behaviour that the probe can tell from others; the first of each group is the default.
BEHAVIOURS: list[dict[str, Any]] = [
    {},
    {"dead_token_status": 401, "dead_token_code": "InvalidToken"},
    {"already_recalled": "success"},
    {"already_recalled": "failed", "already_recalled_reason": "SYSTEM_ERROR"},
    {"already_recalled": "failed", "already_recalled_reason": "message.already.recalled"},
    {"already_recalled": "omitted"},
    {"already_recalled": "not_revoke_all"},
    {"already_recalled": "refused", "already_recalled_reason": "invalid.processQueryKey"},
    {"failed_result_form": "list", "unfit_keys": "per_key"},
    {"failed_result_form": "list", "already_recalled": "failed"},
    {"unfit_keys": "whole_batch", "unknown_key_code": "invalid.processQueryKey"},
    {"unfit_keys": "whole_batch", "unknown_key_code": "resource.not.found"},
    {"unfit_keys": "per_key", "unknown_key_code": "invalid.processQueryKey"},
    {"unfit_keys": "per_key", "unknown_key_code": "SYSTEM_ERROR"},
    {"unknown_robot_code": "invalidParameter.robotCode"},
    {"unknown_robot_code": "invalidParameter.robotCode.notExsit"},
    {"unknown_robot_code": "not.allowed.robotCode"},
    {"max_keys": 20},
    {"max_keys": 21},
    {"max_keys": 21, "unfit_keys": "per_key"},
    {"recall_too_early_seconds": 0.0},
    {"recall_too_early_seconds": 2.0},
    {"recall_too_early_seconds": 5.0},
    # What is said of a young message must not be taken for what is said of any.
    {"recall_too_early_seconds": 5.0, "unfit_keys": "per_key", "unknown_key_code": "invalid.processQueryKey"},
    {"status_delay_seconds": 5.0, "processing_seconds": 5.0, "readers_after_recall": "gone"},
    {"status_delay_seconds": 0.0},
    {"status_delay_seconds": 2.0, "processing_seconds": 2.0},
    {"status_delay_seconds": 2.0, "processing_seconds": 5.0},
    {"processing_seconds": 2.0},
    {"status_after_recall": "recalled"},
    {"status_after_recall": "unchanged"},
    {"status_after_recall": "no_status"},
    {"readers_after_recall": "kept"},
    {"readers_after_recall": "gone"},
    {"query_scope": "required"},
    {"query_scope": "optional"},
    {"duplicate_keys": "once"},
    {"duplicate_keys": "twice"},
    {"duplicate_keys": "refused", "duplicate_keys_code": "invalidParameter.param.invalid"},
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Tenant:
    """A sandbox of some behaviour, and a probe of it on a clock that takes no time."""

    def __init__(self, behaviour: Behaviour, *, reads: bool = True, secret: str = CLIENT_SECRET) -> None:
        self.dingtalk = LocalDingTalk()
        self.state = self.dingtalk.state
        self.state.behaviour = behaviour
        self.said: list[str] = []
        self._reads = reads
        transport = httpx.ASGITransport(app=create_app(self.state))
        self.job = Probe(
            client=self.dingtalk.client(secret),
            call_with_invalid_token=partial(call_with_invalid_token, transport, BASE),
            group=GROUPS[0],
            user=PERSON,
            robot_code=ROBOT_CODE,
            wait_for_reader=self._read,
            print_step=self.said.append,
            clock=self.dingtalk.clock,
        )

    async def _read(self) -> None:
        if self._reads:
            message = list(self.state.messages.values())[-1]
            self.state.read(message, [PERSON])

    async def probe(self) -> Observed:
        return await self.job.run("cn")

    def left(self) -> list[str]:
        return [str(key) for key, message in self.state.messages.items() if message.recalled_at is None]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "switches", BEHAVIOURS, ids=lambda switches: " ".join(map(str, switches.values())) or "default"
)
async def test_what_it_writes_makes_a_sandbox_behave_the_same(switches: dict[str, Any], tmp_path: Path):
    tenant = Tenant(Behaviour().changed(switches))
    first = await tenant.probe()
    file = tmp_path / "observed.json"
    first.write(file)
    found = switches_of(read_observed(file))
    assert {name: found.get(name) for name in switches} == switches
    # All else is as it is by default, and said so.
    assert Behaviour().changed(found) == tenant.state.behaviour

    again = await Tenant(Behaviour().changed(found)).probe()
    assert again.seen == first.seen
    assert again.api_calls == first.api_calls


@pytest.mark.anyio
@pytest.mark.parametrize(
    "switches", BEHAVIOURS, ids=lambda switches: " ".join(map(str, switches.values())) or "default"
)
async def test_it_takes_back_what_it_sent_and_costs_what_it_says(switches: dict[str, Any]):
    tenant = Tenant(Behaviour().changed(switches))
    observed = await tenant.probe()
    assert len(tenant.state.messages) == 3
    assert tenant.left() == []
    calls = sum(calls.total for calls in tenant.state.journal.calls.values())
    assert observed.api_calls == calls <= 20


@pytest.mark.anyio
async def test_every_question_is_answered():
    observed = await Tenant(Behaviour()).probe()
    assert set(observed.seen) == set(Question)
    assert observed.api_calls == 17


@pytest.mark.anyio
@pytest.mark.parametrize(
    "switches", BEHAVIOURS, ids=lambda switches: " ".join(map(str, switches.values())) or "default"
)
async def test_the_file_names_nobody(switches: dict[str, Any]):
    tenant = Tenant(Behaviour().changed(switches))
    text = msgspec.json.encode(await tenant.probe()).decode()
    for name in (
        GROUPS[0],
        PERSON,
        ROBOT_CODE,
        CLIENT_SECRET,
        *tenant.state.tokens,
        *map(str, tenant.state.messages),
    ):
        assert name not in text


@pytest.mark.anyio
async def test_a_reason_that_quotes_a_key_is_cleaned():
    tenant = Tenant(Behaviour(already_recalled="failed", already_recalled_reason=f"no message of {ROBOT_CODE}"))
    observed = await tenant.probe()
    assert observed.seen[Question.SECOND_RECALL].failed == ["no message of …"]


@pytest.mark.anyio
async def test_without_a_reader_nothing_is_claimed_about_readers():
    observed = await Tenant(Behaviour(readers_after_recall="gone"), reads=False).probe()
    assert "readers_after_recall" not in switches_of(observed)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 502])
async def test_an_answer_that_says_nothing_settles_nothing(status: int):
    tenant = Tenant(Behaviour())
    garbage = {"type": "body", "status": status, "text": "garbage"}
    tenant.state.faults.replace(
        [
            {"match": "groupMessages/recall", "nth": [2, 3, 4, 5], "action": garbage},
            {"match": "groupMessages/query", "nth": [2, 3, 4, 5, 6, 7], "action": garbage},
            {"match": "oToMessages/readStatus", "action": garbage},
        ]
    )
    found = switches_of(await tenant.probe())
    # The young recall and the first look were answered, and so was the recall of the one-on-one message.
    assert found == {
        "recall_too_early_seconds": 0.0,
        "status_delay_seconds": 0.0,
        "processing_seconds": 0.0,
        "duplicate_keys": "once",
    }
    assert tenant.left() == []


@pytest.mark.anyio
async def test_a_state_that_never_comes_is_not_taken_for_one_that_is_gone():
    found = switches_of(await Tenant(Behaviour(status_delay_seconds=3600)).probe())
    assert not {"status_after_recall", "status_delay_seconds", "readers_after_recall"} & set(found)


@pytest.mark.anyio
async def test_a_refused_app_sends_nothing():
    tenant = Tenant(Behaviour(), secret="another")
    with pytest.raises(AuthenticationError):
        await tenant.probe()
    assert tenant.state.messages == {}


@pytest.mark.anyio
async def test_it_stops_and_cleans_up_when_a_send_is_refused():
    tenant = Tenant(Behaviour())
    action = {"type": "status", "status": 400, "code": "send.too.fast"}
    tenant.state.faults.replace([{"match": "oToMessages/batchSend", "action": action}])
    with pytest.raises(DingTalkError):
        await tenant.probe()
    assert len(tenant.state.messages) == 2
    assert tenant.left() == []
