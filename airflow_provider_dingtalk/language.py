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


def get_logger(name: str) -> logging.Logger:
    """Return a logger that writes texts of :data:`CHINESE` in the language of the option."""
    logger = logging.getLogger(name)
    logger.addFilter(_put_in_language)
    return logger


def _put_in_language(record: logging.LogRecord) -> bool:
    text, values = record.msg, record.args
    if text in CHINESE:
        # An argument may be an error, whose text is in the language too.
        record.msg, record.args = in_each_language(lambda: choose(text) % values, " "), ()
    return True


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


#: Chinese of next steps, errors, log texts and words that have no Chinese text of their own, by the English text.
#: A log text has the same arguments in both languages, in the same order.
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
    "Leave it out.": "请去掉该消息。",
    "Wait for SUCCESS.": "请等待 SUCCESS。",
    "See whether Airflow's API server is up.": "请确认 Airflow 的 API server 正常。",
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
    # errors
    "Invalid extra: not a JSON object.": "extra 无效：不是 JSON 对象。",
    "extra agent_id: must be a number, as the developer console shows it.":
        "extra agent_id：应为开发者后台所示的数字。",
    "extra calls_per_second: must be a number from 0 (no limit) to 10000.":
        "extra calls_per_second：应为 0（不限）至 10000 的数字。",
    "extra ca_file: there is no such file.": "extra ca_file：没有该文件。",
    "extra corp_id: is empty; a third-party app needs the organisation's CorpId.":
        "extra corp_id：为空；第三方应用需要企业的 CorpId。",
    "extra suite_ticket_secret: is empty; give the ticket, variable:NAME, or callable:package.module.function.":
        "extra suite_ticket_secret：为空；请填写 ticket、variable:NAME 或 callable:package.module.function。",
    "login: is empty; it must be the app's Client ID.": "login：为空；应为应用的 Client ID。",
    "password: is empty; it must be the app's Client Secret.": "password：为空；应为应用的 Client Secret。",
    "host: must have a port from 1 to 65535.": "host：端口应为 1 至 65535。",
    "host: is no URL.": "host：不是 URL。",
    "host: must be scheme, host and port, e.g. http://127.0.0.1:8848.":
        "host：应为协议、主机和端口，例如 http://127.0.0.1:8848。",
    "host: must hold no user and no password.": "host：不得含有用户名和密码。",
    "Invalid option pace_dir in airflow.cfg, section [dingtalk]; expected a folder, or none.":
        "airflow.cfg 中 [dingtalk] 的 pace_dir 无效；应为目录或 none。",
    "Invalid option rate_limit_url in airflow.cfg, section [dingtalk]; expected redis://host:port/database or "
    "rediss://user:password@host:port/database.":
        "airflow.cfg 中 [dingtalk] 的 rate_limit_url 无效；应为 redis://host:port/database 或 "
        "rediss://user:password@host:port/database。",
    "An earlier try of this task sent something else, or may have; nothing was sent by this one.":
        "该任务此前的尝试发送了（或可能发送了）其他内容；本次未发送任何消息。",
    "The task had sent everything when it was cleared; nothing was sent again.":
        "该任务被清除（clear）时已全部发送；未再次发送。",
    "An earlier try may have sent already, and this Airflow keeps no record of it (3.3 does).":
        "此前的尝试可能已发送，而此 Airflow 没有记录（3.3 才有）。",
    "Another try of this task has begun; this one stops.": "该任务的另一次尝试已开始；本次停止。",
    "The task was stopped before anything was recalled.": "任务在撤回任何消息之前被停止。",
    "There is nothing to hand to a trigger: the first poll failed.": "没有可交给触发器的内容：第一次查询失败。",
    "The trigger ended with an event of unknown form.": "触发器返回的事件格式未知。",
    "The time to watch its messages is over.": "关注其消息的时间已到。",
    "Nothing was done.": "未执行任何操作。",
    "from_dag: the watcher belongs to several assets, or to none.":
        "from_dag：watcher 属于多个资产，或不属于任何资产。",
    "from_dag: this Airflow keeps nothing for assets (3.3 does), so that runs could be forgotten.":
        "from_dag：此 Airflow 不为资产保存数据（3.3 才有），可能遗漏运行。",
    "Airflow wants a login.": "Airflow 需要登录。",
    "Invalid access token of Airflow; expected printable ASCII.":
        "Airflow 的 access token 无效；应为可打印的 ASCII 字符。",
    "What answers at Airflow's address is no API server of Airflow 3.": "该地址上的不是 Airflow 3 的 API server。",
    "Airflow's API server leaves out, or changes, fields that the REST API has.":
        "Airflow 的 API server 缺少或改变了 REST API 的字段。",
    # reasons
    "The recall stopped before this message's turn; nothing was sent for it.":
        "轮到该消息之前撤回已停止；未为其发起调用。",
    "The task stopped before it knew what earlier tries recalled; this one sent nothing for it.":
        "任务在得知此前的尝试撤回了什么之前停止；本次未为该消息发起调用。",
    "The recall was under way when the task stopped; its answer is not known.":
        "任务停止时撤回正在进行；其响应未知。",
    "DingTalk's answer names this message in neither list.": "钉钉的响应中，两个列表都没有该消息。",
    "DingTalk's answer names this message as recalled and as failed.": "钉钉的响应称该消息既已撤回又失败。",
    "Sent more than 24 hours ago by its own receipt; DingTalk was not asked.":
        "据其回执，发送已超过 24 小时；未询问钉钉。",
    "Refused in one call with others, not tried alone: the youngest was, and all of an earlier call were.":
        "与其他消息在一次调用中被拒绝，未单独尝试：最新的一条和此前一次调用的全部消息已单独尝试。",
    "The task stopped while this send was under way.": "任务停止时该发送正在进行。",
    # log texts
    "%s Going on with the earlier settings.": "%s 继续使用此前的设置。",
    "Ignoring unknown connection extra %r; did you mean %r?": "忽略未知的连接 extra %r；是否应为 %r？",
    "Rename the connection's extra 'suite_ticket' to 'suite_ticket_secret'; Airflow hides the values of names that say "
    "secret, and shows this one in its API and its connection form.":
        "请将连接的 extra 'suite_ticket' 改名为 'suite_ticket_secret'：Airflow 会隐藏名称含 secret 的值，"
        "而在 API 和连接表单中显示该值。",
    "The rate limit of DingTalk calls is kept by this process alone (%s). Other processes of this host that call as "
    "the same app may get throttled. Check pace_dir in airflow.cfg, section [dingtalk].":
        "钉钉调用的频率限制仅由本进程维护（%s）。本主机上使用同一应用的其他进程可能被限流。"
        "请检查 airflow.cfg 中 [dingtalk] 的 pace_dir。",
    "The rate limit of DingTalk calls is kept by this host alone: Redis at %s failed (%s). Other hosts that call as "
    "the same app may get throttled. It is tried again every %d seconds. Check rate_limit_url in airflow.cfg, section "
    "[dingtalk].":
        "钉钉调用的频率限制仅由本主机维护：Redis %s 失败（%s）。使用同一应用的其他主机可能被限流。"
        "每 %d 秒重试一次。请检查 airflow.cfg 中 [dingtalk] 的 rate_limit_url。",
    "The rate limit of DingTalk calls is shared through Redis at %s again.":
        "钉钉调用的频率限制已恢复通过 Redis %s 共享。",
    "Replacing an unreadable state of the DingTalk rate limit in Redis: %s":
        "Redis 中的频率限制状态无法读取，已替换：%s",
    "Replacing an unreadable state file of the DingTalk rate limit: %s": "频率限制的状态文件无法读取，已替换：%s",
    "The state of %d messages is not known: %s": "%d 条消息的状态未知：%s",
    "Cannot store %s (%s: %s).": "无法存储 %s（%s：%s）。",
    "Stored receipts cannot be read and are replaced: %s": "已存储的回执无法读取，将被替换：%s",
    "Not all readers are known: %s": "并非所有已读人员都已知：%s",
    "Time is up after %g s.": "%g 秒后超时。",
    "Earlier tries made %d calls; %d unknown; %d are missing.": "此前的尝试已调用 %d 次；未知 %d；尚缺 %d。",
    "DingTalk left out %d people: %s.": "钉钉遗漏 %d 人：%s。",
    "DingTalk left out %d recipients of %s: %s": "钉钉遗漏 %d 名接收人，消息 %s：%s",
    "Going on without a message: %s": "略过一条消息并继续：%s",
    "The wait begins anew: its state cannot be read (%s).": "等待重新开始：无法读取其状态（%s）。",
    "The wait begins anew: its checkpoint cannot be read (%s).": "等待重新开始：无法读取其检查点（%s）。",
    "Who got %s is not known: %s": "消息 %s 的接收人未知：%s",
    "Run %s: %s": "运行 %s：%s",
    "Looking through %d runs of %s.": "正在查看 %d 次运行，DAG 为 %s。",
    "Run %s was deleted during the search, and its receipts with it.": "运行 %s 在查找期间被删除，其回执也随之删除。",
    "Leaving out %d runs of %s that ended before %s.": "略过 %d 次运行，DAG 为 %s，结束早于 %s。",
    "A send was interrupted; waiting up to %.0f s for what it may still send.":
        "有发送被中断；最多等待 %.0f 秒，以确定它是否仍在发送。",
    "Ignoring what task %s returned: it cannot be read (%s).": "忽略任务 %s 的返回值：无法读取（%s）。",
    "Ignoring what task %s returned (%s).": "忽略任务 %s 的返回值（%s）。",
    "Ignoring a value of task %s that is not a receipt (%s).": "忽略任务 %s 的一个不是回执的值（%s）。",
    "Polled the readers of %d messages: %d calls.": "已查询 %d 条消息的已读人员：%d 次调用。",
    "Airflow's API server is away (%s). Waiting up to %g s for it; no DingTalk call begins meanwhile.":
        "无法访问 Airflow 的 API server（%s）。最多等待 %g 秒，期间不发起钉钉调用。",
    "Airflow's API server answers again after %.0f s; going on.":
        "Airflow 的 API server 在 %.0f 秒后恢复响应；继续执行。",
    "Invalid [dingtalk] api_server_timeout in airflow.cfg; expected seconds. Using %g.":
        "airflow.cfg 中 [dingtalk] 的 api_server_timeout 无效；应为秒数。改用 %g。",
    "The report is not pushed (%s).": "报告未能写入 XCom（%s）。",
    "The outcomes of the recall are not published everywhere (%s).": "撤回的结果未能全部发布（%s）。",
    "Cannot push the result of a send (%s: %s).": "无法将发送的结果写入 XCom（%s：%s）。",
    "Cannot push the receipts of a callback (%s); they are in the log.": "无法将回调的回执写入 XCom（%s）；日志中有。",
    "The keys of recalled messages are not pushed (%s).": "已撤回消息的 ID 未能写入 XCom（%s）。",
    "Alerts of task %s may be in chats; a rollback leaves alerts there.":
        "任务 %s 的告警可能已在会话中；撤回任务保留告警。",
    "The last write of a receipt failed (%s: %s).": "最后一次写入回执失败（%s：%s）。",
    "This Airflow has no task state store (3.3 has): a retry of this recall starts over.":
        "此 Airflow 没有任务状态存储（3.3 才有）：重试会从头撤回。",
    "This Airflow has no task state store (3.3 has): each poll asks again for what is known.":
        "此 Airflow 没有任务状态存储（3.3 才有）：每次查询都会重复查询已知的状态。",
    "This Airflow has no task state store (3.3 has): each retry sends again.":
        "此 Airflow 没有任务状态存储（3.3 才有）：每次重试都会再次发送。",
    "This Airflow has no task state store (3.3 has): this send is neither retried nor repeated after a clear.":
        "此 Airflow 没有任务状态存储（3.3 才有）：此发送既不重试，清除（clear）后也不再发送。",
    "This Airflow has no task state store (3.3 has). When a retry of this task starts, it deletes the receipts of this "
    "try, and no rollback finds them: set retries to 0 in tasks that send.":
        "此 Airflow 没有任务状态存储（3.3 才有）。任务重试时会删除本次尝试的回执，撤回任务将找不到它们："
        "请将发送任务的 retries 设为 0。",
    "The task state %r cannot be read: each of its messages is recalled again.":
        "无法读取任务状态 %r：其中的每条消息将再次撤回。",
    "The task state of earlier recalls cannot be read: each message is recalled again.":
        "无法读取此前撤回的任务状态：每条消息将再次撤回。",
    "An earlier version of this package began this recall. It is not known which messages it recalled: all are "
    "recalled again, and asked for their state where DingTalk refuses.":
        "此次撤回由本软件包的早期版本开始，不知道它撤回了哪些消息：全部再次撤回，钉钉拒绝时查询其状态。",
    "The first poll failed.": "第一次查询失败。",
    "Runs of %s cannot be read just now (%s).": "暂时无法读取 %s 的运行（%s）。",
    "No event for the run %s of %s: %s": "运行 %s（DAG %s）不产生事件：%s",
    "Airflow knows no run of the DAG %r yet.": "Airflow 中尚无 DAG %r 的运行。",
    "Watching %d messages of the run %s.": "正在关注 %d 条消息，运行为 %s。",
    "After a restart an event may be made again (%s).": "重启后可能再次产生事件（%s）。",
    "No event will be made": "不会产生事件",
    "Left out: %d messages that other runs recalled.": "已略过其他运行撤回的 %d 条消息。",
    "Messages that other runs took back already may be among these: %s": "其中可能有其他运行已撤回的消息：%s",
    # words: jobs, outcomes, purposes of calls, kinds of messages, reasons to keep them; columns and checks of commands;
    # labels and states of the notifier's text
    "Recall": "撤回", "Send": "发送",
    "recalled": "已撤回", "failed": "失败", "expired": "已过期", "unknown": "未知", "total": "合计",
    "recall": "撤回", "again": "重试", "bisect": "二分", "status": "状态查询", "throttled": "限流",
    "group messages": "群消息", "one-on-one messages": "单聊消息", "private-chat messages": "人与人会话消息",
    "work notifications": "工作通知", "DINGs": "DING 消息",
    "not_known": "未知", "too_young": "时长不足", "too_old": "时长过长", "read": "已读",
    "outcome": "结果", "key": "消息 ID", "code": "错误码", "reason": "原因", "kind": "种类", "messages": "消息数",
    "robot or agent": "机器人或应用", "conversation": "会话", "sent (UTC)": "发送时间（UTC）", "state": "状态",
    "readers": "已读人数", "sent to": "接收人数", "checked": "检查项", "result": "结果", "ok": "通过", "NO": "失败",
    "connection": "连接", "access token": "access_token", "connection or token": "连接或 access_token",
    "status of group messages": "群消息的状态", "status of one-on-one messages": "单聊消息的状态",
    "status of work notifications": "工作通知的状态", "DingTalk gives one": "钉钉已返回", "permitted": "有权限",
    "Run": "运行", "Try": "尝试", "Log": "日志", "Page": "页面", "Task": "任务", "Error": "错误", "Notifier": "通知",
    "missed a deadline": "错过截止时间", "needs a look": "需要查看",
}
# fmt: on
