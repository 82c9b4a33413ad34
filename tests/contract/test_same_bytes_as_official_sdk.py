"""Contract tests: DingTalk's official SDK and this package send the same bytes for the same inputs.

The SDK has no API of the legacy host; the tables and samples of DingTalk's pages take its place there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import msgspec
import pytest

from airflow_provider_dingtalk.client.auth import App, InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import (
    ENDPOINTS,
    Endpoint,
    GetWorkNotificationResult,
    Host,
    fields_of,
)
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.messages.message_types import message_type, send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey
from tests.contract.recorder import TOKEN, Recorded, Recorder, recording
from tests.sandbox.seed_pages import pages

oauth = pytest.importorskip("alibabacloud_dingtalk.oauth2_1_0.client")
oauth_models = pytest.importorskip("alibabacloud_dingtalk.oauth2_1_0.models")
robot = pytest.importorskip("alibabacloud_dingtalk.robot_1_0.client")
models = pytest.importorskip("alibabacloud_dingtalk.robot_1_0.models")
openapi = pytest.importorskip("alibabacloud_tea_openapi.models")
runtime = pytest.importorskip("alibabacloud_tea_util.models")

SAMPLES = Path(__file__).parents[1] / "samples"

KEYS = ["Xy9+aB/cD0==", "plain", "a b&c=d?e#f%41", "钥匙"]
ROBOT, CHAT, COOL = "ding+robot/1=", "cid+chat/2==", "COOLAPP-1-+/="
TEXT = 'a "quoted" text, \\ 反斜杠, \n & < > + / ='
PARAM = {"content": TEXT}
INTERNAL = InternalApp(client_id="ding-app", client_secret="secret+/=")
THIRD = ThirdPartyApp(suite_key="suite", suite_secret="secret+/=", corp_id="corp", suite_ticket=lambda: "ticket+/=")


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """One server for all."""
    with recording() as running:
        yield running


def ours(recorder: Recorder, call: Endpoint[Any] | None, app: App = INTERNAL) -> Recorded:
    """Record what this package sends; without a call, to get a token."""

    async def send() -> None:
        client = DingTalkClient(app, hosts_at(recorder.url))
        try:
            await (client.call(call) if call else client.authenticate())
        finally:
            await client.aclose()

    anyio.run(send)
    return recorder.last()


def theirs(recorder: Recorder, method: str, model: str, fields: dict[str, Any]) -> Recorded:
    """Record what the SDK's robot client sends."""
    config = openapi.Config(protocol="http", endpoint=recorder.url.removeprefix("http://"))
    headers = getattr(models, f"{model}Headers")(x_acs_dingtalk_access_token=TOKEN)
    request = getattr(models, f"{model}Request")(**fields)
    getattr(robot.Client(config), f"{method}with_options")(request, headers, runtime.RuntimeOptions())
    return recorder.last()


def assert_same(mine: Recorded, sdks: Recorded) -> None:
    """Method, path, query, JSON body and the header with the token."""
    assert (mine.method, mine.path) == (sdks.method, sdks.path)
    assert mine.query == sdks.query
    assert mine.body == sdks.body
    assert mine.token == sdks.token
    if mine.raw:
        assert mine.content_type == sdks.content_type == "application/json;charset=utf-8"


def batch(kind: Kind, keys: list[str]) -> Endpoint[Any]:
    """A recall as the recall job plans it."""
    return message_type(kind).recall_request(group(kind), keys)


def group(kind: Kind) -> SenderKey:
    has_chat = kind in (Kind.GROUP, Kind.PRIVATE_CHAT)
    return SenderKey(kind, robot_code=ROBOT, open_conversation_id=CHAT if has_chat else None)


def send_request(kind: str, **arguments: Any) -> Endpoint[Any]:
    """A send as operators make it out of their arguments."""
    (only,) = send_requests_for(kind, robot_code=ROBOT, **arguments)
    return only.call


IN_CHAT = {"robot_code": ROBOT, "open_conversation_id": CHAT}
SAMPLE_TEXT = {"msg_key": "sampleText", "msg_param": json.dumps(PARAM, ensure_ascii=False, separators=(",", ":"))}

CASES: list[tuple[Endpoint[Any], str, str, dict[str, Any]]] = [
    (batch(Kind.GROUP, KEYS), "org_group_recall_", "OrgGroupRecall", {**IN_CHAT, "process_query_keys": KEYS}),
    (
        batch(Kind.GROUP, [f"key{n}" for n in range(20)]),
        "org_group_recall_",
        "OrgGroupRecall",
        {**IN_CHAT, "process_query_keys": [f"key{n}" for n in range(20)]},
    ),
    (
        batch(Kind.OTO, KEYS),
        "batch_recall_oto",
        "BatchRecallOTO",
        {"robot_code": ROBOT, "process_query_keys": KEYS},
    ),
    (
        batch(Kind.PRIVATE_CHAT, KEYS),
        "batch_recall_private_chat_",
        "BatchRecallPrivateChat",
        {**IN_CHAT, "process_query_keys": KEYS},
    ),
    (
        batch(Kind.DING, KEYS[:1]),
        "robot_recall_ding_",
        "RobotRecallDing",
        {"robot_code": ROBOT, "open_ding_id": KEYS[0]},
    ),
    *[
        (
            message_type(kind).status_request(group(kind), key, size, cursor),
            method,
            model,
            {
                **IN_CHAT,
                "process_query_key": key,
                "max_results": size,
                **({"next_token": cursor} if cursor else {}),
            },
        )
        for kind, method, model in (
            (Kind.GROUP, "org_group_query_", "OrgGroupQuery"),
            (Kind.PRIVATE_CHAT, "private_chat_query_", "PrivateChatQuery"),
        )
        for key, size, cursor in ((KEYS[0], 200, None), (KEYS[1], 1, "cursor+/="), (KEYS[2], 1, None))
    ],
    *[
        (
            message_type(Kind.OTO).status_request(group(Kind.OTO), key),
            "batch_otoquery_",
            "BatchOTOQuery",
            {"robot_code": ROBOT, "process_query_key": key},
        )
        for key in KEYS
    ],
    (
        send_request("group", open_conversation_id=CHAT, text=TEXT),
        "org_group_send_",
        "OrgGroupSend",
        {**IN_CHAT, **SAMPLE_TEXT},
    ),
    (
        send_request("group", open_conversation_id=CHAT, text=TEXT, cool_app_code=COOL),
        "org_group_send_",
        "OrgGroupSend",
        {**IN_CHAT, **SAMPLE_TEXT, "cool_app_code": COOL},
    ),
    (
        send_request(
            "group", open_conversation_id=CHAT, msg_key="sampleMarkdown", msg_param={"title": "t", "text": "#"}
        ),
        "org_group_send_",
        "OrgGroupSend",
        {**IN_CHAT, "msg_key": "sampleMarkdown", "msg_param": '{"title":"t","text":"#"}'},
    ),
    (
        send_request("oto", user_ids=["user+1", "用户2"], text=TEXT),
        "batch_send_oto",
        "BatchSendOTO",
        {"robot_code": ROBOT, "user_ids": ["user+1", "用户2"], **SAMPLE_TEXT},
    ),
    (
        send_request("private_chat", open_conversation_id=CHAT, cool_app_code=COOL, text=TEXT),
        "private_chat_send_",
        "PrivateChatSend",
        {**IN_CHAT, **SAMPLE_TEXT, "cool_app_code": COOL},
    ),
    *[
        (
            send_request("ding", user_ids=["user1", "user2"], text=TEXT, remind_type=name, **voice),
            "robot_send_ding_",
            "RobotSendDing",
            {
                "robot_code": ROBOT,
                "remind_type": number,
                "receiver_user_id_list": ["user1", "user2"],
                "content": TEXT,
                **voice,
            },
        )
        for name, number, voice in (
            ("app", 1, {}),
            ("sms", 2, {}),
            ("phone", 3, {"call_voice": "Standard_Female_Voice"}),
        )
    ],
]


@pytest.mark.parametrize(
    ("call", "method", "model", "fields"), CASES, ids=[f"{call.name}-{n}" for n, (call, *_) in enumerate(CASES)]
)
def test_the_sdk_sends_the_same(
    recorder: Recorder, call: Endpoint[Any], method: str, model: str, fields: dict[str, Any]
) -> None:
    mine = ours(recorder, call)
    assert_same(mine, theirs(recorder, method, model, fields))
    assert mine.token == TOKEN
    assert TOKEN not in mine.target


def test_a_key_in_the_query_is_quoted_to_the_last_character(recorder: Recorder) -> None:
    for key in KEYS:
        target = ours(recorder, message_type(Kind.OTO).status_request(group(Kind.OTO), key)).target
        query = urlsplit(target).query
        assert re.fullmatch(r"[A-Za-z0-9_.~%+&=-]+", query), target
        assert dict(parse_qsl(query)) == {"robotCode": ROBOT, "processQueryKey": key}


@pytest.mark.parametrize("app", ["internal", "third_party"])
def test_the_sdk_asks_for_a_token_in_the_same_way(recorder: Recorder, app: str) -> None:
    client = oauth.Client(openapi.Config(protocol="http", endpoint=recorder.url.removeprefix("http://")))
    if app == "internal":
        mine = ours(recorder, None)
        client.get_access_token(oauth_models.GetAccessTokenRequest(app_key="ding-app", app_secret="secret+/="))
    else:
        mine = ours(recorder, None, THIRD)
        suite = {"suite_key": "suite", "suite_secret": "secret+/=", "suite_ticket": "ticket+/="}
        client.get_corp_access_token(oauth_models.GetCorpAccessTokenRequest(auth_corp_id="corp", **suite))
    assert_same(mine, recorder.last())
    assert mine.token is None


def test_every_api_has_a_contract_test() -> None:
    seen = {type(call) for call, *_ in CASES} | {type(call) for call, _ in OLD_HOST}
    named = {cls.__name__ for cls in ENDPOINTS} - {cls.__name__ for cls in seen}
    assert named == {"GetAccessToken", "GetCorpAccessToken"}, "these two have a test of their own"


def test_each_field_of_each_api_is_seen_set_and_where_it_may_be_left_out_unset() -> None:
    calls = [call for call, *_ in CASES] + [call for call, _ in OLD_HOST]
    for cls in {type(call) for call in calls}:
        sent = [set(fields_of(call)) for call in calls if type(call) is cls]
        wire_names = set(cls.__struct_encode_fields__)
        assert set.union(*sent) == wire_names, cls
        optional = {name for name in wire_names if any(name not in fields for fields in sent)}
        required = {
            encoded
            for encoded, default in zip(cls.__struct_encode_fields__, required_flags(cls), strict=True)
            if default
        }
        # Queries always name robot and conversation, although the page calls them optional, and ask for a size.
        assert wire_names - required - optional <= {"openConversationId", "robotCode", "maxResults"}, cls


def required_flags(cls: type[Endpoint[Any]]) -> list[bool]:
    """List for each field if it is required."""
    return [field.required for field in msgspec.structs.fields(cls)]


# ── the old host, which the SDK lacks ────────────────────────────────────────────────────────────────


def work(**arguments: Any) -> Endpoint[Any]:
    (only,) = send_requests_for("work_notification", agent_id="123", **arguments)
    return only.call


WORK_GROUP = SenderKey(Kind.WORK_NOTIFICATION, agent_id="123")
OLD_HOST: list[tuple[Endpoint[Any], dict[str, str]]] = [
    (GetWorkNotificationResult(agent_id=123, task_id=456), {"agent_id": "123", "task_id": "456"}),
    (
        message_type(Kind.WORK_NOTIFICATION).recall_request(WORK_GROUP, ["256271667526"]),
        {"agent_id": "123", "msg_task_id": "256271667526"},
    ),
    (message_type(Kind.WORK_NOTIFICATION).status_request(WORK_GROUP, "456"), {"agent_id": "123", "task_id": "456"}),
    (
        work(user_ids=["u1", "用户2"], text=TEXT),
        {
            "agent_id": "123",
            "userid_list": "u1,用户2",
            "msg": json.dumps({"msgtype": "text", "text": {"content": TEXT}}),
        },
    ),
    (
        work(dept_ids=[123, "456"], text="x"),
        {
            "agent_id": "123",
            "dept_id_list": "123,456",
            "msg": json.dumps({"msgtype": "text", "text": {"content": "x"}}),
        },
    ),
    (
        work(to_all_user=True, text="x"),
        {
            "agent_id": "123",
            "to_all_user": "true",
            "msg": json.dumps({"msgtype": "text", "text": {"content": "x"}}),
        },
    ),
]


def plain(form: dict[str, str]) -> dict[str, Any]:
    """A form with its one JSON field decoded: blanks and the order of its keys are no matter."""
    return {name: json.loads(value) if name == "msg" else value for name, value in form.items()}


@pytest.mark.parametrize(("call", "form"), OLD_HOST, ids=[f"{call.name}-{n}" for n, (call, _) in enumerate(OLD_HOST)])
def test_the_old_host_gets_a_form_and_the_token_in_the_query(
    recorder: Recorder, call: Endpoint[Any], form: dict[str, str]
) -> None:
    mine = ours(recorder, call)
    assert call.http.host is Host.OAPI
    assert (mine.method, mine.path) == ("POST", call.http.path)
    assert mine.query == [("access_token", TOKEN)]
    assert urlsplit(mine.target).query == "access_token=a1b2%2Bc3%2Fd4%3D"
    assert mine.token is None
    assert mine.content_type.split(";")[0] == "application/x-www-form-urlencoded"
    assert plain(mine.form) == plain(form)


@pytest.mark.parametrize("api", ["asyncsend_v2", "getsendprogress", "getsendresult", "recall"])
def test_each_field_that_goes_to_the_old_host_stands_in_the_pages_own_request(api: str) -> None:
    sample = json.loads((SAMPLES / f"topapi_message_corpconversation_{api}.json").read_text(encoding="utf-8"))
    request = sample["request"]
    calls = [call for call, _ in OLD_HOST if call.http.path == request["path"]]
    assert calls and request["method"] == "POST"
    assert request["headers"]["Content-Type"].startswith("application/x-www-form-urlencoded")
    documented = set(request["form"]) - {"access_token"}
    assert set().union(*(fields_of(call) for call in calls)) == documented


def parameter_table(page: str, heading: str) -> dict[str, tuple[str, bool]]:
    """Type and necessity of each parameter under a heading of a page, whose cells have run together."""
    section = page.split(f"\n{heading}\n", 1)[1].split("\n\nRe", 1)[0]
    rows = re.findall(r"^([a-z_]+)(String|Number|Boolean|Object)(Yes|No)", section, re.MULTILINE)
    return {name: (kind, necessary == "Yes") for name, kind, necessary in rows}


def test_the_recall_of_a_work_notification_is_as_the_seed_pages_tables_say(recorder: Recorder) -> None:
    page = pages()["004"]
    in_query, in_body = parameter_table(page, "Query parameters"), parameter_table(page, "Request body")
    assert in_query and in_body, "the page's tables were not found"
    mine = ours(recorder, message_type(Kind.WORK_NOTIFICATION).recall_request(WORK_GROUP, ["256271667526"]))
    assert {name for name, _ in mine.query} == {name for name, (_, needed) in in_query.items() if needed}
    assert set(mine.form) == {name for name, (_, needed) in in_body.items() if needed}
    for name, (kind, _) in in_body.items():
        assert kind != "Number" or mine.form[name].isdigit()
    assert re.search(r"HTTP URLhttps://oapi\.dingtalk\.io(\S+)", page)[1] == mine.path  # type: ignore[index]
    assert re.search(r"HTTP Method(\w+)", page)[1] == mine.method  # type: ignore[index]
    assert "-H 'Content-Type:application/x-www-form-urlencoded;charset=utf-8'" in page
    asked = dict(re.findall(r"^-d '(\w+)=(.*)'", page, re.MULTILINE))
    assert set(asked) - set(in_query) == set(mine.form)
