"""Commands of Airflow's own command line, ``airflow dingtalk …``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.cli.arguments import COMMANDS, Command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from airflow.cli.cli_config import CLICommand

PROGRAM = "airflow dingtalk"


def get_dingtalk_cli_commands() -> list[CLICommand]:
    """Return the commands that Airflow adds to its command line.

    The provider's metadata names this function under ``cli``.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    return [
        GroupCommand(
            name="dingtalk",
            help="Take DingTalk messages back, look at them, send some",
            subcommands=tuple(
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description,
                    epilog=command.epilog(PROGRAM),
                    func=_runner(command),
                    args=tuple(Arg(option.flags, **option.more) for option in command.options),  # type: ignore[no-untyped-call]
                )
                for command in COMMANDS
            ),
        )
    ]


def _runner(command: Command) -> Callable[[Namespace], None]:
    def run(options: Namespace) -> None:
        from airflow_provider_dingtalk.cli.main import run as run_command

        # Airflow ignores the return value of a command, so this exits with the status.
        sys.exit(run_command(command, options))

    return run
