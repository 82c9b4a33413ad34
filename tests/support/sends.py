"""Send requests of each kind to the default organisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.sandbox.default import AGENT_ID, COOL_APP_CODE, GROUPS, PRIVATE_CHAT, ROBOT_CODE
from tests.support.local_dingtalk import LocalDingTalk

USERS = [f"user{number:03d}" for number in range(1, 46)]
#: Required arguments of each kind.
PLAIN: dict[Kind, dict[str, Any]] = {
    Kind.GROUP: {"open_conversation_id": GROUPS[0], "robot_code": ROBOT_CODE, "text": "hi"},
    Kind.OTO: {"user_ids": USERS[:2], "robot_code": ROBOT_CODE, "text": "hi"},
    Kind.PRIVATE_CHAT: {
        "open_conversation_id": PRIVATE_CHAT,
        "robot_code": ROBOT_CODE,
        "cool_app_code": COOL_APP_CODE,
        "text": "hi",
    },
    Kind.WORK_NOTIFICATION: {"agent_id": AGENT_ID, "user_ids": USERS[:2], "text": "hi"},
    Kind.DING: {"user_ids": USERS[:2], "robot_code": ROBOT_CODE, "text": "hi"},
}

SEND_API = {kind: send_requests_for(kind, **arguments)[0].call.name for kind, arguments in PLAIN.items()}


def send_requests(kind: Kind, **changes: Any) -> list[SendRequest]:
    return send_requests_for(kind, **{**PLAIN[kind], **changes})


async def sent(dingtalk: LocalDingTalk, some: Sequence[SendRequest], **options: Any) -> Send:
    job = Send(some, clock=dingtalk.clock, **options)
    await job.run(dingtalk.client())
    accounted = len(job.receipts) + len(job.unknown) + len(job.failed) + job.not_attempted
    assert accounted == len(some), "every call is in one class"
    return job
