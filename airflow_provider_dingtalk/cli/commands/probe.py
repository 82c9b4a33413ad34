"""Command ``probe``, which records undocumented behaviour of the user's tenant."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import msgspec

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.receipt import parse_id
from airflow_provider_dingtalk.probe.calls import call_with_invalid_token
from airflow_provider_dingtalk.probe.observed import Observed, Question
from airflow_provider_dingtalk.probe.probe import Probe

MAX_READING_SECONDS = 3600.0
_HEADER = ("asked", "answer")


def probe(options: Namespace) -> ExitCode:
    """Probe the connection's tenant and write the observations to a file.

    :raises DingTalkError: If an option is invalid, the user declines, or the probe cannot begin.
    """
    group, user = parse_id(options.group, "--group"), parse_id(options.user, "--user")
    out = _new_file(options.out)
    _check_reading_seconds(options.reading_seconds, yes=options.yes)
    output.check_can_confirm(yes=options.yes)
    # Airflow takes about 1 s to import, so invalid input is reported before.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id, robot_code=options.robot_code)
    robot_code = parse_id(hook.defaults()["robot_code"] or "", "--robot-code")
    settings = hook.settings()
    output.print_note(
        choose(
            f"This sends two messages to the group {group} and one to {user}, as the robot {robot_code} at "
            f"{settings.hosts.api}, and takes them back: about 17 API calls.",
            f"将以机器人 {robot_code} 的身份，经 {settings.hosts.api} 向群 {group} 发送两条消息，"
            f"向 {user} 发送一条，然后撤回：约调用接口 17 次。",
        )
    )
    output.confirm(choose("Type yes to begin.", "输入 yes 开始。"), yes=options.yes, word="yes")

    async def run(client: DingTalkClient) -> Observed:
        transport = transport_for(settings.hosts.api, settings.ca_file, settings.proxy)
        try:
            job = Probe(
                client=client,
                call_with_invalid_token=partial(call_with_invalid_token, transport, settings.hosts.api),
                group=group,
                user=user,
                robot_code=robot_code,
                wait_for_reader=partial(_wait_for_reader, options.reading_seconds),
                print_step=output.print_note,
            )
            return await job.run(settings.region)
        finally:
            await transport.aclose()

    return _print_observed(hook.run(run), out, options.output)


def _check_reading_seconds(seconds: float | None, *, yes: bool) -> None:
    if seconds is not None and not 0 <= seconds <= MAX_READING_SECONDS:
        raise InvalidInputError("--reading-seconds", f"must be from 0 to {MAX_READING_SECONDS:.0f}")
    if yes and seconds is None:
        raise InvalidInputError("--reading-seconds", "is needed with --yes: how long the person has to read")


def _new_file(name: str) -> Path:
    path = Path(name)
    # The calls come before the write, so a folder without permission is reported here.
    if os.path.lexists(path) or not os.access(path.parent, os.W_OK | os.X_OK):
        problem = "is there already" if os.path.lexists(path) else "its folder is not there, or is read-only"
        raise InvalidInputError("--out", f"{name[:200]}: {problem}")
    return path


async def _wait_for_reader(seconds: float | None) -> None:
    """Wait for the given seconds, or until the user presses Enter."""
    if seconds is not None:
        output.print_note(
            choose(f"Read the message now; this goes on in {seconds:g} s.", f"请现在阅读消息；{seconds:g} 秒后继续。")
        )
        await asyncio.sleep(seconds)
        return
    output.print_note(
        choose(
            "Read the message as the test person now, then press Enter here.",
            "请现在以测试人员的身份阅读消息，然后在此按 Enter。",
        )
    )
    await asyncio.to_thread(sys.stdin.readline)


def _print_observed(observed: Observed, out: Path, output_format: str | None) -> ExitCode:
    rows = [(question, _in_words(msgspec.to_builtins(answer))) for question, answer in observed.seen.items()]
    text = output.format_table(_HEADER, rows)
    # The calls were made, so their answers are printed even if the file cannot be written.
    output.print_result(output.Result(observed, _HEADER, rows, text), output_format)
    try:
        observed.write(out)
    except OSError as error:
        raise InvalidInputError("--out", f"cannot be written ({type(error).__name__})") from None
    output.print_note(f"{observed.api_calls} API calls. Written to {out}; it holds no secret.")
    output.print_note(f"Try it: python -m airflow_provider_dingtalk.sandbox --observed {out}")
    unasked = [question for question in Question if question not in observed.seen]
    if unasked:
        output.print_note(f"Not settled: {', '.join(unasked)}.")
    return ExitCode.LEFT if unasked else ExitCode.DONE


def _in_words(answer: dict[str, object]) -> str:
    return "   ".join(f"{name} {value}" for name, value in answer.items())
