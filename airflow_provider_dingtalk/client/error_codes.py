"""DingTalk's error codes, each with exception, retry rule and next step.

Codes keep DingTalk's spelling, mistakes included (``notExsit``). Sources are the error tables of the pages in
:mod:`~airflow_provider_dingtalk.client.endpoints` and DingTalk's global tables,
https://open.dingtalk.com/document/development/server-api-error-codes-1
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    BannedError,
    InvalidKeyError,
    InvalidRequestError,
    PartialRecallError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RecallExpiredError,
    ResponseError,
    ServerError,
    StatusUnavailableError,
    ThrottlingError,
)


class Retry(StrEnum):
    """Retry rule for a call that DingTalk answered with this code."""

    REFRESH = "refresh"  # Get a new token and retry once. The call was not carried out.
    WAIT = "wait"  # Wait and retry. The call was not carried out.
    AGAIN = "again"  # Retry if a second call is harmless. The call may have been carried out.
    ASK = "ask"  # Recall again, then poll the status. A part of the call may have been carried out.
    LATER = "later"  # Poll again later. The status may not exist yet.
    NEVER = "never"  # Do not repeat the call unchanged.


class Scope(StrEnum):
    """Scope of a refusal of a whole batch."""

    CALL = "call"  # The call; DingTalk would refuse its other keys too.
    KEY = "key"  # One of the call's keys; the others can still be recalled.
    KEY_OR_CALL = "key_or_call"  # Call or key; DingTalk's pages differ between APIs.


class Rule(Struct, frozen=True):
    """Meaning of an error code.

    :param error: Exception class to raise.
    :param retry: Retry rule for the call.
    :param next_step: Next step for the user, in English.
    :param next_step_zh: Next step in Chinese.
    :param scope: Scope of a refused batch; default the call.
    """

    error: type[ResponseError]
    retry: Retry
    next_step: str
    next_step_zh: str
    scope: Scope = Scope.CALL


# One rule a row: exception, retry, next step in English and Chinese, then its codes.
# fmt: off
_TABLE: tuple[tuple[Rule, str], ...] = (
    (Rule(AuthenticationError, Retry.NEVER,
          "Check Client ID and Client Secret. Keys are bound to a region: a mainland app needs region 'cn', an "
          "international one 'international'.",
          "请检查 Client ID 和 Client Secret。密钥与区域绑定：国内应用的 region 为 cn，国际版为 international。"),
     "invalidClientIdOrSecret invalid.client unauthorized.client 40096 40089 invalidSuiteKey unsupported.grant.type"),
    (Rule(AuthenticationError, Retry.NEVER,
          "Check corp_id and suite_ticket: DingTalk pushes a new ticket about every five hours, and the organisation "
          "must have authorised the app.",
          "请检查 corp_id 和 suite_ticket：钉钉约每 5 小时推送一次新的 suiteTicket，且企业须已授权该应用。"),
     "invalidSuiteTicket invalidAuthInfo"),
    (Rule(AuthenticationError, Retry.REFRESH,
          "The access token is dead although it was just renewed: check that the app is enabled, and that the region "
          "of the connection is right.",
          "刷新后 access_token 仍无效：请确认应用已启用且连接的 region 正确。"),
     ("InvalidAuthentication AuthenticationFailed.MissingParameter accesstoken.expired invalidAccessToken "
      "invalidParameter.token.invalid token.notExisted 33001 40000 40001 40014 41001 42001")),
    (Rule(PermissionDeniedError, Retry.NEVER,
          "Grant the app the permission of this API in the developer console (robots: qyapi_robot_sendmsg; DING: "
          "Premium.Ding.Write) and publish the new version.",
          "请在开发者后台为应用开通该接口权限（机器人：qyapi_robot_sendmsg；DING：Premium.Ding.Write）并发布新版本。"),
     "Forbidden.AccessDenied.AccessTokenPermissionDenied auth.error unauthorized 60011"),
    (Rule(PermissionDeniedError, Retry.NEVER,
          "Add this machine's egress address to the app's IP allow-list in the developer console.",
          "请在开发者后台将本机出口 IP 加入应用的 IP 白名单。"),
     "Forbidden.AccessDenied.IpNotInWhiteList 60020 ip.not.match"),
    (Rule(ThrottlingError, Retry.WAIT,
          "Wait a second. If it goes on, lower calls_per_second of the connection: others use the same app.",
          "请等待 1 秒后重试。若持续出现，请调低连接的 calls_per_second：同一应用还有其他调用方。"),
     ("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi Forbidden.AccessDenied.QpmLimitForAppkeyAndApi "
      "Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi Forbidden.AccessDenied.QpmLimitForSuitekeyAndOrgAndApi "
      "90018 90019 system.busy systemBusy send.too.fast send.byToken.tooFast too.many.group too.many.people "
      "toomuch.msg 143103 143104 143203 143204 410100 660026")),
    (Rule(ThrottlingError, Retry.WAIT,
          "All of DingTalk's customers together call this API too often. Avoid the top of the hour.",
          "该接口被所有企业的总调用量限流，请避开整点时刻。"),
     "Forbidden.AccessDenied.QpsLimitForApi 90002"),
    (Rule(BannedError, Retry.WAIT,
          "This machine's address made more than 10,000 calls in 20 seconds and is shut out for 5 minutes. Stop every "
          "caller on it and wait.",
          "本机出口 IP 20 秒内调用超过 10000 次，已被封禁 5 分钟。请停止该 IP 上的所有调用并等待。"),
     "1111"),
    (Rule(BannedError, Retry.WAIT,
          "An HTML page came instead of an answer. That is how DingTalk shuts out an address that calls too often, "
          "for 5 minutes; a proxy in between may do the same. Wait, and see where the page comes from.",
          "返回的是 HTML 页面：可能是出口 IP 被钉钉封禁 5 分钟，也可能来自中间代理。请等待并确认来源。"),
     "html_page"),
    (Rule(QuotaExhaustedError, Retry.NEVER,
          "The organisation's API calls of this month are used up. Buy a package or a higher edition, or wait for the "
          "first of the month.",
          "企业本月 API 调用次数已用完。请购买调用包、升级版本或等到下月 1 日。"),
     "Forbidden.AccessDenied.ApiCountLimitForOrg 90020"),
    (Rule(RecallExpiredError, Retry.NEVER,
          "Older than 24 hours: it can no longer be recalled. Send a correction.",
          "消息已超过 24 小时，无法撤回。请发送更正消息。", Scope.KEY),
     "robot.processQueryKey.expired"),
    (Rule(StatusUnavailableError, Retry.LATER,
          "Ask again in a while if the message is young; if it is older than a day there is no status any more.",
          "若消息刚发送，请稍后再查；若已超过一天，则不再有状态数据。", Scope.KEY),
     "processQueryKey.expireTime"),
    (Rule(PartialRecallError, Retry.ASK,
          "Some of the messages may still be there: run the recall again.",
          "部分消息可能仍未撤回：请再次执行撤回。", Scope.KEY),
     "notRevoke.all.messages"),
    (Rule(InvalidKeyError, Retry.NEVER,
          "Check the message key: it must come from the answer to the send, and from the same kind of message.",
          "请检查消息 ID：它必须来自同一类消息发送接口的返回值。", Scope.KEY),
     "invalid.processQueryKey"),
    # DingTalk's page names no cause, so it may be the key or a failure at DingTalk.
    (Rule(ServerError, Retry.ASK,
          "Look whether the DING is still there; then check its id and its robot, or run the recall again.",
          "请确认该 DING 是否仍在；再检查 openDingId 与机器人，或重新执行撤回。", Scope.KEY),
     "recall.ding.exception"),
    # DingTalk's text is "the message was not sent by the robot" for one-on-one messages, and "unauthorized
    # robotCode" for groups.
    (Rule(InvalidKeyError, Retry.NEVER,
          "Recall it with the robot that sent it: robot_code must be that of the send.",
          "请使用发送该消息的机器人撤回：robot_code 必须与发送时一致。", Scope.KEY_OR_CALL),
     "not.allowed.robotCode"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check agent_id and the task id: both must be those of the send, which must be younger than 24 hours.",
          "请检查 agent_id 与任务 ID 是否与发送时一致，且消息未超过 24 小时。"),
     "400002 40035 40056 41052 885001 885006 invalidAgentId"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check robot_code: the robot must exist, be published with its app, be installed in the conversation, and "
          "belong to the app of this connection.",
          "请检查 robot_code：机器人须存在、已随应用发布、已安装到该会话，且属于此连接的应用。"),
     ("invalidParameter.robotCode invalidParameter.robotCode.notExsit invalidParameter.robotCode.missing "
      "invalidParameter.robotCode.invalid invalidParameter.robotCode.empty invalidParameter.robotCode.auth "
      "miss.chatbotId invalid.chatbotId resource.not.found resource.unavailable robot.oto.notExist "
      "chatbotId.notAllow.sendOTO sendMessage.model.notMatch invalidParameter.invalid")),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check cool_app_code: it must be the cool app that the robot is bound to, used in this conversation.",
          "请检查 cool_app_code：必须是绑定该机器人且已在该会话中使用的酷应用。"),
     "invalidParameter.robotCode.coolApp"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check open_conversation_id: it must be that of the send, in this organisation, of this kind of chat.",
          "请检查 open_conversation_id：必须与发送时一致，属于本企业且会话类型正确。"),
     ("invalid.openConversationId miss.openConversationId openConversationId.notExisted conversation.org.dismatch "
      "conversation.org.notMatch session.expired session.notExisted group.disbanded")),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Enable the robot again, in the group's settings or in the developer console.",
          "请在群设置或开发者后台重新启用机器人。"),
     "bot.stopped bot.forbidden.sendMessage send.forbidden template.stopped"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "There is no such robot any more: add it to the group again, or send with another robot_code.",
          "机器人模板已不存在：请重新将机器人添加到群，或使用其他 robot_code 发送。"),
     "template.not.existed"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check the receivers: user ids must be of this organisation and within the limit of the call.",
          "请检查接收人：userId 必须属于本企业且不超过单次调用上限。"),
     ("invalidParameter.userId.empty invalidParameter.userIds.empty invalidParameter.userIds.overMax miss.staffId "
      "staffId.notExisted illegal.receivers illegal.excludes receivers.exceed ding.receivercount.limit "
      "only.groupAdmin.canAtAll 1430000 1430004")),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Change the text: DingTalk's content rules refuse it.",
          "请修改内容：未通过钉钉内容审核。"),
     "keywords.not.match sign.not.match invalid.content 1430002"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "DingTalk limits this per person and day: the same text once, and a number of messages in all.",
          "钉钉限制每人每日推送：相同内容仅一次，且有总量上限。"),
     "143105 143106 143205 143206"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Buy DING credits for this organisation.",
          "企业 DING 权益不足，请充值。"),
     "ding.serverquota.insufficient"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check the paging: hand next_token back unchanged, and ask for at most 200 per page.",
          "请检查分页：next_token 须原样传回，每页最多 200 条。"),
     "invalidParameter.cursor.invalid invalidParameter.pageSize.invalid"),
    (Rule(InvalidRequestError, Retry.NEVER,
          "A parameter is missing, empty or over its limit (20 keys a call). If this package built the call, please "
          "report it.",
          "参数缺失、为空或超限（每次最多 20 个消息 ID）。若由本软件包构造，请反馈。"),
     ("invalidParameter.param.invalid invalidParameter.processQueryKey.missing "
      "invalidParameter.processQueryKeys.overMax 22 1430001")),
    (Rule(InvalidRequestError, Retry.NEVER,
          "Check msg_key and msg_param against DingTalk's message types.",
          "请对照钉钉消息类型检查 msg_key 与 msg_param。"),
     ("invalidParameter.msgKey.empty invalidParameter.msgKey.invalid invalidParameter.msgParam.invalid "
      "invalidParameter.msgParam.tooLong invalidParameter.msg.unsupport invalidParameter.msgBody.invalid")),
    (Rule(ServerError, Retry.AGAIN,
          "DingTalk had trouble of its own: try again in a few minutes.",
          "钉钉服务异常，请几分钟后重试。"),
     ("system.error server.error ServiceUnavailable 500 unknown.send.result send.ding.exception SYSTEM_ERROR 1430003 "
      "unknownError -1")),
)
# fmt: on

CODES: dict[str, Rule] = {code: rule for rule, codes in _TABLE for code in codes.split()}

#: Rules by prefix of a code, for families too long to list; the longest match wins.
FAMILIES: dict[str, Rule] = {
    "Forbidden.AccessDenied.Qps": CODES["Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"],
    "Forbidden.AccessDenied.Qpm": CODES["Forbidden.AccessDenied.QpmLimitForAppkeyAndApi"],
    "Forbidden.AccessDenied.": CODES["Forbidden.AccessDenied.AccessTokenPermissionDenied"],
    "miss.param.": CODES["invalidParameter.msgParam.invalid"],
    "invalid.param.": CODES["invalidParameter.msgParam.invalid"],
    "contain.": CODES["invalid.content"],
    "invalidParameter.robotCode": CODES["invalidParameter.robotCode"],
    "invalidParameter.": CODES["invalidParameter.param.invalid"],
}

_UNKNOWN = Rule(
    ResponseError,
    Retry.NEVER,
    "Look the code up in DingTalk's global error codes.",
    "请在钉钉全局错误码文档中查询该错误码。",
)

#: Rules by HTTP status, for unknown codes.
_BY_STATUS: dict[int, Rule] = {
    401: CODES["InvalidAuthentication"],
    403: CODES["Forbidden.AccessDenied.AccessTokenPermissionDenied"],
    429: CODES["system.busy"],
}


def rule_for(code: str, status_code: int = 0) -> Rule:
    """Return the rule for a code, its family, or the HTTP status.

    :param code: DingTalk's code as text, e.g. ``robot.processQueryKey.expired`` or ``40014``.
    :param status_code: HTTP status; used only if code and family are unknown. Default 0.
    """
    if rule := CODES.get(code):
        return rule
    families = [prefix for prefix in FAMILIES if code.startswith(prefix)]
    if families:
        return FAMILIES[max(families, key=len)]
    if status_code >= 500:
        return CODES["system.error"]
    return _BY_STATUS.get(status_code, _UNKNOWN)


def is_known(code: str) -> bool:
    """Return True if the table or a family has the code."""
    return code in CODES or code.startswith(tuple(FAMILIES))


def error_for(code: str, message: str, *, status_code: int = 0, endpoint: str = "", **details: Any) -> ResponseError:
    """Return the exception for an answer with an error code.

    :param message: DingTalk's text, with secrets already masked.
    :param endpoint: Name of the API; default empty.
    :param details: ``request_id``, and ``retry_after`` in seconds, which only throttling errors keep.
    """
    rule = rule_for(code, status_code)
    if not issubclass(rule.error, ThrottlingError):
        details.pop("retry_after", None)
    text = f"{endpoint}: {code or 'no code'} (HTTP {status_code})"
    return rule.error(
        f"{text}: {message}." if message else f"{text}.",
        code=code,
        next_step=rule.next_step,
        next_step_zh=rule.next_step_zh,
        endpoint=endpoint,
        status_code=status_code,
        **details,
    )
