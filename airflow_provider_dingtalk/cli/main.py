"""Entry point of the commands, from the options to the exit code."""

from __future__ import annotations

import argparse
import importlib
import signal
import traceback
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk import __version__
from airflow_provider_dingtalk.cli.arguments import COMMANDS, EXIT_CODES, Command

if TYPE_CHECKING:
    from airflow_provider_dingtalk.exceptions import DingTalkError

PROGRAM = "python -m airflow_provider_dingtalk"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse a command line, run its command, and return the exit code."""
    options = make_parser().parse_args(argv)
    return run(options.command, options)


def run(command: Command, options: Namespace) -> int:
    """Run a command and return its exit code.

    :param options: Values of the options by name.
    """
    try:
        return _run(command, options)
    except KeyboardInterrupt:  # while modules are imported
        return 130


def _run(command: Command, options: Namespace) -> int:
    # --help needs none of these.
    from airflow_provider_dingtalk.cli import output
    from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of
    from airflow_provider_dingtalk.exceptions import DingTalkError
    from airflow_provider_dingtalk.language import choose

    options.output = options.output or ("json" if options.json else None)
    with output.reserved_stdout():
        output.log_to_stderr()
        # A command that gets SIGTERM must report its results so far, so it is handled like Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _replace_airflows_command()
            module: Any = importlib.import_module(f"airflow_provider_dingtalk.cli.commands.{command.name}")
            return int(getattr(module, command.name)(options))
        except KeyboardInterrupt:
            output.print_note(choose("Interrupted.", "已中断。"))
            return ExitCode.INTERRUPTED
        except Exception as problem:
            error = problem if isinstance(problem, DingTalkError) else _unexpected(problem)
            output.print_error(error, options.output)
            return exit_code_of(error)


def _replace_airflows_command() -> None:
    """Read connections as ``airflow dingtalk`` does, where Airflow has no such command."""
    # Airflow runs a user's airflow_local_settings.py, which may import this package, so Airflow comes first.
    import airflow  # noqa: F401

    from airflow_provider_dingtalk.version_compat import HAS_PROVIDER_COMMANDS, read_connections_from_database

    if not HAS_PROVIDER_COMMANDS:
        read_connections_from_database()


def _unexpected(error: Exception) -> DingTalkError:
    """Return the error to show for a mistake of this package, or of what it calls.

    The text and the frames of such an error may hold a secret, so only its type and its place are shown.
    """
    from airflow_provider_dingtalk.exceptions import DingTalkError

    last = traceback.extract_tb(error.__traceback__)[-1]
    return DingTalkError(
        f"Unexpected {type(error).__name__} in {Path(last.filename).name}, line {last.lineno}.",
        message_zh=f"{Path(last.filename).name} 第 {last.lineno} 行出现意外的 {type(error).__name__}。",
        code="unexpected",
        next_step="Run the command again; it goes on where it stopped. If it ends so again, report this line.",
        next_step_zh="请重新执行该命令，它会从中断处继续。如果仍然如此，请报告此行内容。",
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Take DingTalk messages back, look at them, send some. 'COMMAND --help' says more.",
        epilog=EXIT_CODES,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"airflow-provider-dingtalk {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        texts = command.texts(PROGRAM)
        sub = commands.add_parser(command.name, formatter_class=formatter, allow_abbrev=False, **texts)
        for option in command.options:
            sub.add_argument(*option.flags, **option.more)
        sub.set_defaults(command=command)
    return parser
