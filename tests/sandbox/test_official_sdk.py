"""DingTalk's official SDK against the sandbox. Others wrote it, so it does not share our mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.raw_client import GROUP, HOUR, PRIVATE, ROBOT, RawClient

oauth = pytest.importorskip("alibabacloud_dingtalk.oauth2_1_0.client")
oauth_models = pytest.importorskip("alibabacloud_dingtalk.oauth2_1_0.models")
robot = pytest.importorskip("alibabacloud_dingtalk.robot_1_0.client")
models = pytest.importorskip("alibabacloud_dingtalk.robot_1_0.models")
openapi = pytest.importorskip("alibabacloud_tea_openapi.models")
runtime = pytest.importorskip("alibabacloud_tea_util.models")

TEXT = {"msg_key": "sampleText", "msg_param": '{"content": "hello"}', "robot_code": ROBOT}
IN_GROUP = {"robot_code": ROBOT, "open_conversation_id": GROUP}
IN_PRIVATE = {"robot_code": ROBOT, "open_conversation_id": PRIVATE}


class Sdk:
    """The SDK's two clients, pointed at a sandbox."""

    def __init__(self, client: RawClient) -> None:
        config = openapi.Config(protocol="http", endpoint=client.sandbox.url.removeprefix("http://"))
        self.robot = robot.Client(config)
        self.oauth = oauth.Client(config)
        self.token = client.token

    def __call__(self, method: str, model: str, **fields: Any) -> Any:
        """Call ``method`` with a request of ``model``; gives the body of the answer."""
        headers = getattr(models, f"{model}Headers")(x_acs_dingtalk_access_token=self.token)
        request = getattr(models, f"{model}Request")(**fields)
        return getattr(self.robot, f"{method}with_options")(request, headers, runtime.RuntimeOptions()).body

    def error(self, method: str, model: str, **fields: Any) -> str:
        """The code of the exception that a call raises."""
        with pytest.raises(Exception) as raised:
            self(method, model, **fields)
        return str(getattr(raised.value, "code", None))


@pytest.fixture
def sdk(client: RawClient) -> Sdk:
    """The SDK against an empty sandbox."""
    return Sdk(client)


def test_tokens(sdk: Sdk, client: RawClient) -> None:
    request = oauth_models.GetAccessTokenRequest(app_key=ROBOT, app_secret="sandbox-secret")
    body = sdk.oauth.get_access_token(request).body
    assert (body.access_token, body.expire_in) == (client.token, 7200)
    suite = {"suite_key": "suitesandbox", "suite_secret": "suite-secret", "suite_ticket": "sandbox-ticket"}
    corp = oauth_models.GetCorpAccessTokenRequest(auth_corp_id="dingcorp", **suite)
    assert sdk.oauth.get_corp_access_token(corp).body.expire_in == 7200
    wrong = oauth_models.GetAccessTokenRequest(app_key=ROBOT, app_secret="wrong")
    with pytest.raises(Exception) as raised:
        sdk.oauth.get_access_token(wrong)
    assert getattr(raised.value, "code", None) == "invalidClientIdOrSecret"


def test_group(sdk: Sdk, client: RawClient) -> None:
    key = sdk("org_group_send_", "OrgGroupSend", open_conversation_id=GROUP, **TEXT).process_query_key
    client.control("POST", "read", {"key": key, "user_ids": ["user009"]})
    page = sdk("org_group_query_", "OrgGroupQuery", process_query_key=key, max_results=200, **IN_GROUP)
    assert (page.send_status, page.read_user_ids, page.has_more) == ("SUCCESS", ["user009"], False)
    body = sdk("org_group_recall_", "OrgGroupRecall", process_query_keys=[key], **IN_GROUP)
    assert (body.success_result, body.failed_result) == ([key], {})
    page = sdk("org_group_query_", "OrgGroupQuery", process_query_key=key, **IN_GROUP)
    assert page.send_status == "RECALLED"


def test_oto(sdk: Sdk) -> None:
    sent = sdk("batch_send_oto", "BatchSendOTO", user_ids=["user001", "nobody"], **TEXT)
    assert sent.invalid_staff_id_list == ["nobody"]
    key = sent.process_query_key
    status = sdk("batch_otoquery_", "BatchOTOQuery", robot_code=ROBOT, process_query_key=key)
    assert (status.send_status, status.message_read_info_list[0].read_status) == ("SUCCESS", "UNREAD")
    body = sdk("batch_recall_oto", "BatchRecallOTO", robot_code=ROBOT, process_query_keys=[key])
    assert body.success_result == [key]
    status = sdk("batch_otoquery_", "BatchOTOQuery", robot_code=ROBOT, process_query_key=key)
    assert status.send_status == "RECALLED"


def test_private_chat(sdk: Sdk) -> None:
    fields = {"open_conversation_id": PRIVATE, "cool_app_code": "COOLAPP-1", **TEXT}
    key = sdk("private_chat_send_", "PrivateChatSend", **fields).process_query_key
    page = sdk("private_chat_query_", "PrivateChatQuery", process_query_key=key, **IN_PRIVATE)
    assert page.send_status == "SUCCESS"
    body = sdk("batch_recall_private_chat_", "BatchRecallPrivateChat", process_query_keys=[key], **IN_PRIVATE)
    assert body.success_result == [key]


def test_ding(sdk: Sdk) -> None:
    fields = {"receiver_user_id_list": ["user001"], "content": "!", "remind_type": 1, "robot_code": ROBOT}
    ding = sdk("robot_send_ding_", "RobotSendDing", **fields).open_ding_id
    assert sdk("robot_recall_ding_", "RobotRecallDing", robot_code=ROBOT, open_ding_id=ding).open_ding_id == ding


def _old_oto(client: RawClient) -> dict[str, Any]:
    return {"robot_code": ROBOT, "process_query_keys": client.create_messages("oto", age_seconds=25 * HOUR)}


def _foreign_group(client: RawClient) -> dict[str, Any]:
    return {**IN_GROUP, "process_query_keys": client.create_messages("group", robot_code="dingother")}


REFUSALS: list[tuple[str, str, Callable[[RawClient], dict[str, Any]], str]] = [
    ("batch_recall_oto", "BatchRecallOTO", _old_oto, "robot.processQueryKey.expired"),
    ("org_group_recall_", "OrgGroupRecall", _foreign_group, "not.allowed.robotCode"),
    (
        "org_group_recall_",
        "OrgGroupRecall",
        lambda t: {**IN_GROUP, "process_query_keys": ["k"] * 21},
        "invalidParameter.processQueryKeys.overMax",
    ),
    (
        "org_group_query_",
        "OrgGroupQuery",
        lambda t: {**IN_GROUP, "process_query_key": "k", "max_results": 201},
        "invalidParameter.pageSize.invalid",
    ),
    (
        "private_chat_send_",
        "PrivateChatSend",
        lambda t: {**TEXT, "open_conversation_id": PRIVATE, "cool_app_code": "COOLAPP-9"},
        "invalidParameter.robotCode.coolApp",
    ),
    (
        "robot_recall_ding_",
        "RobotRecallDing",
        lambda t: {"robot_code": ROBOT, "open_ding_id": "none"},
        "recall.ding.exception",
    ),
]


@pytest.mark.parametrize(("method", "model", "fields", "code"), REFUSALS)
def test_refusals(
    sdk: Sdk, client: RawClient, method: str, model: str, fields: Callable[[RawClient], dict[str, Any]], code: str
) -> None:
    assert sdk.error(method, model, **fields(client)) == code


def test_dead_token_and_throttling(sdk: Sdk, client: RawClient) -> None:
    asked = {"robot_code": ROBOT, "process_query_key": "k"}
    client.faults({"action": {"type": "throttle"}, "times": 1})
    assert sdk.error("batch_otoquery_", "BatchOTOQuery", **asked) == "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    sdk.token = "dead"
    assert sdk.error("batch_otoquery_", "BatchOTOQuery", **asked) == "InvalidAuthentication"
