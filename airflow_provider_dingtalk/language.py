"""Language of texts for people: English, Chinese, or both.

Option ``language`` of airflow.cfg, section ``[dingtalk]``, sets it. Texts for machines, such as the JSON of reports,
stay in English.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from enum import StrEnum
from functools import cache

log = logging.getLogger(__name__)

#: Environment variable of the option, for programs that do not load Airflow.
VARIABLE = "AIRFLOW__DINGTALK__LANGUAGE"
#: Variables that name the locale of messages, the strongest first (POSIX).
_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
#: Language of the text that :func:`in_language` makes now.
_current: ContextVar[Language | None] = ContextVar("language", default=None)


class Language(StrEnum):
    """Language of texts for people."""

    EN = "en"
    ZH = "zh"
    BOTH = "both"


_EACH = (Language.EN, Language.ZH)


def language() -> Language:
    """Return the language of the option; if it is empty, that of the locale.

    The locale decides for Chinese only. Servers have English locales by default, so any other locale means both.
    """
    if current := _current.get():
        return current
    option = _option()
    return (_parse(option) if option else None) or _of_locale(os.environ)


def choose(en: str, zh: str = "") -> str:
    """Return a text in the language of the option.

    :param en: English text.
    :param zh: Chinese text; default that of :data:`CHINESE`.
    :returns: For ``both``, the English and the Chinese text with a blank between them. If one of the texts is empty,
        the other one.
    """
    texts = {Language.EN: en, Language.ZH: zh or CHINESE.get(en, "")}
    if text := texts.get(language()):
        return text
    return " ".join(filter(None, texts.values()))


def in_each_language(make_text: Callable[[], str], between: str = "\n") -> str:
    """Return a text in the language of the option; for ``both``, English before Chinese.

    :param make_text: Function that makes the text, by :func:`choose` for instance.
    :param between: Text between both languages; default a line break, since long texts that mix them are hard to read.
    """
    chosen = language()
    return between.join(in_language(one, make_text) for one in (_EACH if chosen is Language.BOTH else (chosen,)))


def in_language(one: Language, make_text: Callable[[], str]) -> str:
    """Return a text in one language, whatever the option is."""
    token = _current.set(one)
    try:
        return make_text()
    finally:
        _current.reset(token)


def _option() -> str:
    # The client knows no Airflow, so only a configuration that is loaded already is read.
    for name in ("airflow.sdk.configuration", "airflow.configuration"):
        # Airflow may be half imported, or its configuration broken, and an error must have a text all the same.
        with suppress(Exception):
            return str(sys.modules[name].conf.get("dingtalk", "language", fallback="")).strip()
    return os.environ.get(VARIABLE, "").strip()


@cache
def _parse(option: str) -> Language | None:
    """Return the option as a language; None if it is invalid, which is logged once."""
    try:
        return Language(option.lower())
    except ValueError:
        log.warning(
            "Ignoring invalid option language %r in airflow.cfg, section [dingtalk]; expected en, zh or both.",
            option[:40],
        )
        return None


def _of_locale(environment: Mapping[str, str]) -> Language:
    locale = next(filter(None, map(environment.get, _LOCALE_VARIABLES)), "")
    return Language.ZH if locale.lower().startswith("zh") else Language.BOTH


#: Chinese of the next steps and words that have no Chinese text of their own, by the English text.
# fmt: off
CHINESE: Mapping[str, str] = {
    # client, connection
    "Leave it empty for DingTalk and set 'region'; a loopback address is for the sandbox. Other hosts must be allowed "
    "in airflow.cfg, section [dingtalk], option allowed_hosts, and use https.":
        "连接钉钉请留空并设置 region；回环地址用于沙箱。"
        "其他主机须使用 https，并列入 airflow.cfg 中 [dingtalk] 的 allowed_hosts。",
    "Write the whole path: the home of its user is not known.": "请填写完整路径：无法得知该用户的主目录。",
    "Characters such as @ : / # % in user or password must be percent-encoded.":
        "用户名或密码中的 @ : / # % 等字符须进行百分号编码。",
    "List it in airflow.cfg, section [dingtalk], option suite_ticket_callables.":
        "请将其列入 airflow.cfg 中 [dingtalk] 的 suite_ticket_callables。",
    "Define it in Airflow with type dingtalk, Client ID as login and Client Secret as password; if it is there, its "
    "JSON or its URI may not be readable.":
        "请在 Airflow 中定义类型为 dingtalk 的连接：login 为 Client ID，password 为 Client Secret；"
        "若已定义，其 JSON 或 URI 可能无法解析。",
    # sends
    "Check the connection's settings and the proxy of the environment; then run the task again.":
        "请检查连接的设置和环境中的代理，然后重新运行该任务。",
    "Check user_ids: DingTalk's user id is meant, neither name nor telephone number.":
        "请检查 user_ids：应填写钉钉的 userId，而不是姓名或手机号。",
    "Look into the chat: the message may be there. It has no key and cannot be recalled by this package.":
        "请查看会话：消息可能已发出。它没有消息 ID，本软件包无法撤回。",
    "A template that renders differently at each try, a time for instance, does that. Clear the task to send what it "
    "says now.":
        "模板每次渲染结果不同（例如含有时间）会导致此问题。如需发送当前内容，请清除（clear）该任务。",
    "Set on_cleared_send to 'resend' to send again, or 'keep' to let it succeed as it is.":
        "如需重新发送，请将 on_cleared_send 设为 resend；如需直接成功，请设为 keep。",
    "Set allow_resend=True if sending twice does no harm.": "若重复发送无害，请设置 allow_resend=True。",
    "Do not repeat the send. See whether Airflow's API server is up, then recall or clear.":
        "请勿重复发送。请先确认 Airflow 的 API server 正常，再撤回或清除（clear）任务。",
    # recalls
    "Run the recall again.": "请重新执行撤回。",
    "Look at them with dry_run=True; raise max_messages if all of them are wrong.":
        "请先用 dry_run=True 查看这些消息；如果都应撤回，请调大 max_messages。",
    "Recall by keys. Receipts are missing if XComs were deleted, and in the REST API if a custom XCom backend keeps "
    "them elsewhere.":
        "请按消息 ID 撤回。XCom 被删除时回执会缺失；自定义 XCom backend 将其存放在别处时，REST API 中也会缺失。",
    "Look into the chats; a message without a receipt cannot be recalled. The send's XCom 'unknown' names the "
    "receivers, unless its worker was killed.":
        "请查看会话；没有回执的消息无法撤回。除非 worker 被强制终止，否则发送任务的 XCom unknown 会列出接收者。",
    "See whether Airflow's API server is up, and whether this try was superseded by another one.":
        "请确认 Airflow 的 API server 正常，以及本次尝试是否已被另一次取代。",
    "Look at the state of the task in Airflow; delete that key to begin anew.":
        "请在 Airflow 中查看该任务的状态；如需重新开始，请删除该键。",
    # waits
    "Wait for fewer messages, leave poke_interval out so that the gaps grow, or raise max_api_calls.":
        "请减少等待的消息，或不设置 poke_interval 以使间隔逐渐变长，或调大 max_api_calls。",
    "If that is what you wait for, add RECALLED to send_statuses.":
        "如果等待的正是撤回，请在 send_statuses 中加入 RECALLED。",
    "Lower min_readers or min_read_share, or name fewer people in read_by.":
        "请调低 min_readers 或 min_read_share，或减少 read_by 中的人员。",
    "Name people in read_by who got the message.": "read_by 中请填写收到该消息的人员。",
    "Check the recipients of the send; fail_on_unreached=False takes the send as done all the same.":
        "请检查发送的接收者；设置 fail_on_unreached=False 则仍视为发送完成。",
    "Wait for SUCCESS or PROCESSING.": "请等待 SUCCESS 或 PROCESSING。",
    "Use Airflow 3.3 or later, or a sensor in the DAG that sends.":
        "请使用 Airflow 3.3 或更高版本，或在发送消息的 DAG 中使用传感器。",
    "Give each watcher one asset: Airflow keeps what is done with for one.":
        "请让每个 watcher 只对应一个资产（asset）：Airflow 按单个资产保存进度。",
    # words: jobs, outcomes, purposes of calls, kinds of messages; labels and states of the notifier's text
    "Recall": "撤回", "Send": "发送",
    "recalled": "已撤回", "failed": "失败", "expired": "已过期", "unknown": "未知", "total": "合计",
    "recall": "撤回", "again": "重试", "bisect": "二分", "status": "状态查询", "throttled": "限流",
    "group messages": "群消息", "one-on-one messages": "单聊消息", "private-chat messages": "人与人会话消息",
    "work notifications": "工作通知", "DINGs": "DING 消息",
    "Run": "运行", "Try": "尝试", "Log": "日志", "Page": "页面", "Task": "任务", "Error": "错误",
    "missed a deadline": "错过截止时间", "needs a look": "需要查看",
}
# fmt: on
