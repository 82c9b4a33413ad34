"""Command ``send``, for example to announce that messages were recalled."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.reason import advice
from airflow_provider_dingtalk.messages.send_request import FailedSend

_HEADER = ("outcome", "kind", "key", "to", "code")


def send(options: Namespace) -> ExitCode:
    """Send the message of the options and print its receipts on stdout.

    :raises DingTalkError: If the message is invalid; nothing was sent.
    """
    if bool(options.text) == bool(options.markdown):
        raise InvalidInputError("--text, --markdown", "exactly one of them must be given", "必须且只能填写一个")
    if not (options.group or options.user):
        raise InvalidInputError("--group, --user", "at least one of them must be given", "至少填写一个")
    # Airflow takes about 1 s to import, so invalid input is reported before.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id, robot_code=options.robot_code)
    body = _body(options)
    send_requests = hook.send_requests("group", open_conversation_id=options.group, **body) if options.group else []
    send_requests += hook.send_requests("oto", user_ids=options.user, **body) if options.user else []
    job = Send(send_requests)
    try:
        hook.run(job.run, job.stop)
    finally:
        _print_outcome(job, options.output)
    if job.cause and not job.receipts:
        return exit_code_of(job.cause)
    complete = not (job.refused or job.failed or job.unknown or job.dropped or job.not_attempted)
    return ExitCode.DONE if complete else ExitCode.LEFT


def _body(options: Namespace) -> dict[str, str]:
    name = "text" if options.text else "markdown"
    text = options.text or options.markdown
    body = {name: output.read_stdin(f"--{name}").strip() if text == "-" else text}
    if options.title and name == "text":
        raise InvalidInputError("--title", "goes with --markdown only", "只能与 --markdown 同用")
    return {**body, "title": options.title} if options.title else body


def _print_outcome(job: Send, output_format: str | None) -> None:
    receipts = [receipt.to_json() for receipt in job.receipts]
    failed = [*job.refused, *job.failed]
    everything = {
        "receipts": receipts,
        "failed": [failed_send.to_json() for failed_send in failed],
        "unknown": [failed_send.to_json() for failed_send in job.unknown],
        "not_attempted": job.not_attempted,
        "dropped": job.dropped,
    }
    rows = [
        *(("sent", receipt.kind, receipt.key, "", "") for receipt in job.receipts),
        *(_row("failed", failed_send) for failed_send in failed),
        *(_row("unknown", failed_send) for failed_send in job.unknown),
    ]
    output.print_result(output.Result(everything, _HEADER, rows, output.format_json(receipts)), output_format)
    output.print_note(
        choose(
            f"Sent {len(receipts)}, refused {len(failed)}, unknown {len(job.unknown)}, "
            f"not begun {job.not_attempted}, people left out {len(job.dropped)}.",
            f"已发送 {len(receipts)}，被拒绝 {len(failed)}，未知 {len(job.unknown)}，"
            f"未开始 {job.not_attempted}，遗漏 {len(job.dropped)} 人。",
        )
    )
    for failed_send in (*failed, *job.unknown):
        reason = failed_send.reason
        output.print_note(f"{', '.join(failed_send.to[:5])}: {reason.message} {advice(reason.next_step)}")


def _row(outcome: str, failed_send: FailedSend) -> tuple[str, ...]:
    return outcome, "", "", ", ".join(failed_send.to), failed_send.reason.code
