"""Defaults of a type of message."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_provider_dingtalk.client.endpoints import SendGroupMessage, SendResult
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.conditions import Condition, Target
from airflow_provider_dingtalk.messages.read_status import StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey
from tests.support.local_dingtalk import LocalDingTalk

pytestmark = pytest.mark.anyio


class Postcard(MessageType):
    """A type of which only facts are known."""

    kind = Kind.GROUP
    plural = "postcards"
    receiver_fields = ("open_conversation_id",)

    def undelivered(self, answer: object) -> dict[str, str]:
        return {"user002": "invalid"}


CALL = SendGroupMessage(msg_key="sampleText", msg_param="{}", open_conversation_id="cid", robot_code="robot")
TARGET = Target(SenderKey(Kind.GROUP, "robot"), "key", recipients=2)


@pytest.mark.parametrize(("asked", "left"), [(None, None), (2, 1), (1, 0), (0, 0)])
def test_a_receipt_counts_those_who_got_the_message(asked: int | None, left: int | None) -> None:
    receipt = Postcard().receipt(Postcard().send_request(CALL, ("cid",), asked), SendResult(process_query_key="k"), 0.0)
    assert (receipt.key, receipt.robot_code, receipt.recipients) == ("k", "robot", left)
    assert receipt.open_conversation_id is None, "only the fields of the sender are in it"
    assert receipt.sent_at == "1970-01-01T00:00:00.000Z"


def test_all_requested_keys_are_recalled_by_an_answer_without_lists() -> None:
    assert Postcard().recall_lists(["a", "b"], object()) == (["a", "b"], {})


async def test_without_a_way_to_poll_a_status_is_refused_by_the_name_of_the_type() -> None:
    query = StatusQuery(readers=False, now=0.0, used=Counter())
    with pytest.raises(InvalidInputError, match="postcards cannot be asked for their state"):
        await Postcard().read_status(LocalDingTalk().client(), TARGET, query)


@pytest.mark.parametrize(("condition", "code"), [
    (Condition(), None),
    (Condition(min_readers=2), None),
    (Condition(min_readers=3), "condition_unreachable"),
    (Condition(min_readers=3, send_statuses=frozenset({"RECALLED"})), None),
])  # fmt: skip
def test_more_readers_than_recipients_are_an_obstacle(condition: Condition, code: str | None) -> None:
    found = Postcard().obstacle(TARGET, condition)
    assert (found and found.code) == code


def test_a_type_must_say_how_it_sends_and_recalls() -> None:
    with pytest.raises(NotImplementedError):
        MessageType().send_requests()
    with pytest.raises(NotImplementedError):
        MessageType().recall_request(TARGET.sender_key, ["key"])
