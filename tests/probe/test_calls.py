"""Calls for the probe only, against the sandbox."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL, QueryOtoMessage
from airflow_provider_dingtalk.exceptions import AuthenticationError, InvalidRequestError
from airflow_provider_dingtalk.probe.calls import RecallTooManyGroupMessages, call_with_invalid_token
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import GROUPS, ROBOT_CODE
from tests.support.local_dingtalk import LocalDingTalk


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_invalid_token_is_refused():
    transport = httpx.ASGITransport(app=create_app(LocalDingTalk().state))
    query = QueryOtoMessage(robot_code=ROBOT_CODE, process_query_key="k")
    with pytest.raises(AuthenticationError):
        await call_with_invalid_token(transport, "http://127.0.0.1:1", query)


@pytest.mark.anyio
async def test_one_key_over_the_limit_reaches_dingtalk():
    dingtalk = LocalDingTalk()
    keys = [f"k{number}" for number in range(MAX_KEYS_PER_RECALL + 1)]
    recall = RecallTooManyGroupMessages(open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE, process_query_keys=keys)
    with pytest.raises(InvalidRequestError) as caught:
        await dingtalk.client().call(recall)
    assert caught.value.code == "invalidParameter.processQueryKeys.overMax"
