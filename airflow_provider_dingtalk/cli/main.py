"""Entry point of the commands, from the options to the exit status."""

from __future__ import annotations

import argparse
import importlib
import signal
from argparse import Namespace
from collections.abc import Callable, Sequence

from airflow_provider_dingtalk.cli.arguments import COMMANDS, EXITS, Command

PROGRAM = "python -m airflow_provider_dingtalk"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse a command line, run its command, and return the exit status."""
    options = _parser().parse_args(argv)
    return run(options.command, options)


def run(command: Command, options: Namespace) -> int:
    """Run a command and return its exit status.

    :param options: Values of the options by name.
    """
    from airflow_provider_dingtalk.cli import output

    with output.answers_alone():
        return _run(command, options)


def _run(command: Command, options: Namespace) -> int:
    from airflow_provider_dingtalk.cli import output
    from airflow_provider_dingtalk.cli.exit_codes import Exit, exit_of
    from airflow_provider_dingtalk.exceptions import DingTalkError

    output.log_to_stderr()
    # A command that gets SIGTERM must report its results so far, so it is handled like Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(_work_of(command)(options))
    except DingTalkError as error:
        output.tell_error(error, as_json=options.json)
        return int(exit_of(error))
    except KeyboardInterrupt:
        output.say("Interrupted.")
        return int(Exit.INTERRUPTED)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _work_of(command: Command) -> Callable[[Namespace], int]:
    """Import and return the function of a command; ``--help`` needs none."""
    module = importlib.import_module(f"airflow_provider_dingtalk.cli.commands.{command.name}")
    work: Callable[[Namespace], int] = getattr(module, command.name)
    return work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Take DingTalk messages back, look at them, send some. 'COMMAND --help' says more.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog(PROGRAM),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for option in command.options:
            sub.add_argument(*option.flags, **option.more)
        sub.set_defaults(command=command)
    return parser
