"""Commands of Airflow's own command line, ``airflow dingtalk …``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.cli.arguments import COMMANDS, Command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from airflow.cli.cli_config import CLICommand


def get_dingtalk_cli_commands() -> list[CLICommand]:
    """Return the commands that Airflow adds to its command line.

    The provider's metadata names this function under ``cli``.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    subcommands = tuple(
        ActionCommand(
            name=command.name,
            func=_function_of(command),
            args=tuple(Arg(option.flags, **option.more) for option in command.options),  # type: ignore[no-untyped-call]
            **command.texts("airflow dingtalk"),
        )
        for command in COMMANDS
    )
    help_text = "Take DingTalk messages back, look at them, send some"
    return [GroupCommand(name="dingtalk", help=help_text, subcommands=subcommands)]


def _function_of(command: Command) -> Callable[[Namespace], None]:
    def run(options: Namespace) -> None:
        from airflow_provider_dingtalk.cli.main import run as run_command
        from airflow_provider_dingtalk.version_compat import read_connections_from_database

        read_connections_from_database()
        # Airflow ignores the return value of a command, so this exits with the exit code.
        sys.exit(run_command(command, options))

    return run
