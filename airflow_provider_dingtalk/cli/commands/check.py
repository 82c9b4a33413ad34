"""Command ``check``, which tests a connection and sends nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of
from airflow_provider_dingtalk.client.error_codes import rule_for
from airflow_provider_dingtalk.exceptions import (
    DingTalkError,
    InvalidKeyError,
    InvalidRequestError,
    RecallExpiredError,
    StatusUnavailableError,
)
from airflow_provider_dingtalk.jobs.status_reader import StatusReader
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.reason import NO_CODE, Reason, advice
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

#: Keys that no message has. DingTalk's answer to a poll shows whether the app may call the API (documented, not
#: observed: that it checks the permission before the key).
_NO_SUCH_KEY, _NO_SUCH_TASK = "airflow-provider-dingtalk-check", "1"
_ABOUT_THE_KEY = (InvalidKeyError, InvalidRequestError, RecallExpiredError, StatusUnavailableError)
_HEADER = ("ok", "checked", "result")
#: Names of the checks of a permission.
_STATUS_OF = {
    Kind.GROUP: "status of group messages",
    Kind.OTO: "status of one-on-one messages",
    Kind.WORK_NOTIFICATION: "status of work notifications",
}
#: Result of a check for machines, and its text for people.
_Check: TypeAlias = tuple[dict[str, Any], str]


def check(options: Namespace) -> ExitCode:
    """Test a connection: its fields, a token, and the permission of each API that reads a status.

    A problem of the connection is part of the result, not raised.
    """
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id, robot_code=options.robot_code)
    checks = list(_checks(hook))
    found = [one for one, _ in checks]
    rows = [("ok" if one["ok"] else "NO", one["name"], one["text"]) for one in found]
    told = [(choose("ok" if one["ok"] else "NO"), choose(one["name"]), text) for one, text in checks]
    text = output.format_table(("", *_HEADER[1:]), told)
    output.print_result(
        output.Result({"conn_id": options.conn_id, "checks": found}, _HEADER, rows, text), options.output
    )
    return next((ExitCode(one["exit_code"]) for one in found if not one["ok"]), ExitCode.DONE)


def _checks(hook: DingTalkHook) -> Iterator[_Check]:
    try:
        settings = hook.settings()
        places = dict.fromkeys([settings.region, settings.host_label])  # one, unless it is the sandbox
        yield _passed("connection", f"region {', '.join(places)}")
        hook.run(lambda client: client.authenticate())
        yield _passed("access token", "DingTalk gives one")
    except DingTalkError as error:
        yield _failed("connection or token", Reason.of(error), exit_code_of(error), str(error))
        return
    for receipt in _receipts(hook):
        yield _permission(hook, receipt)
    yield from _missing_senders(hook)


def _receipts(hook: DingTalkHook) -> Iterator[Receipt]:
    """Yield receipts of messages that do not exist, for each kind whose sender the connection names."""
    defaults = hook.defaults()
    for kind in (Kind.GROUP, Kind.OTO):
        if robot_code := defaults["robot_code"]:
            yield Receipt(kind=kind, robot_code=robot_code, process_query_key=_NO_SUCH_KEY)
    if agent_id := defaults["agent_id"]:
        yield Receipt(kind=Kind.WORK_NOTIFICATION, agent_id=agent_id, task_id=_NO_SUCH_TASK)


def _permission(hook: DingTalkHook, receipt: Receipt) -> _Check:
    name = _STATUS_OF[receipt.kind]
    job = StatusReader([receipt], readers=False, is_quiet=True)
    try:
        hook.run_by_connection(job.run, job.connections, job.stop)
    except DingTalkError as error:
        reason: Reason | None = Reason.of(error)
    else:
        status = job.status_of(receipt)
        reason = status.error if status else None
    is_about_the_key = reason is None or issubclass(rule_for(reason.code).error, _ABOUT_THE_KEY)
    if reason is None or (is_about_the_key and "robot" not in reason.code.lower()):
        return _passed(name, "permitted")
    return _failed(name, reason, ExitCode.REFUSED)


def _missing_senders(hook: DingTalkHook) -> Iterator[_Check]:
    defaults = hook.defaults()
    for name, en, zh in (
        ("robot_code", "robot messages and DINGs", "机器人消息或 DING 消息"),
        ("agent_id", "work notifications", "工作通知"),
    ):
        if not defaults[name]:
            yield _passed(name, f"not set; needed in each task that sends {en}", f"未设置；发送{zh}的任务须各自填写")


def _passed(name: str, text: str, zh: str = "") -> _Check:
    return {"name": name, "ok": True, "text": text}, choose(text, zh)


def _failed(name: str, reason: Reason, exit_code: ExitCode, told: str = "") -> _Check:
    code = "" if reason.code == NO_CODE else f"{reason.code}: "
    text = f"{code}{reason.message} {reason.next_step}".strip()
    result = {"name": name, "ok": False, "text": text, "code": reason.code, "exit_code": int(exit_code)}
    told = told or f"{reason.message} {advice(reason.next_step)}"
    return result, f"{code}{told}".strip()
