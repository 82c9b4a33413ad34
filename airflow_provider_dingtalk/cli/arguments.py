"""Commands and options as data, for argparse and Airflow's command line.

Airflow loads this file at each start of its command line, so it imports nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KINDS = ("group", "oto", "private_chat", "work_notification", "ding")

EXIT_CODES = """\
exit status:
  0    done: everything is recalled, sent, or shown
  1    something is left: the report says what, and what to do next
  2    wrong use or bad input; DingTalk was not called
  3    a connection, a login or a permission is missing or refused
  4    Airflow or DingTalk cannot be reached
  5    you said no: nothing was done
  130  interrupted: what was done so far is printed
"""
DINGTALK_CONNECTION = """\
connections:
  DingTalk: the Airflow connection --conn-id, from a secrets backend or the environment, e.g.
  AIRFLOW_CONN_DINGTALK_DEFAULT; by "airflow dingtalk", and on Airflow 3.1 by "python -m",
  from Airflow's database too, as airflow.cfg names it.
"""
AIRFLOW_CONNECTION = """\
  Airflow: its REST API at --airflow-url. Log in with AIRFLOW_API_TOKEN, or with AIRFLOW_API_USERNAME and
  AIRFLOW_API_PASSWORD. Secrets are never options: other users of a machine can read those.
"""


class Option:
    """Command-line option, as argparse's arguments."""

    def __init__(self, *flags: str, **more: Any) -> None:
        self.flags, self.more = flags, more


@dataclass(frozen=True)
class Command:
    """Command of the command line.

    :param help: One line for the list of commands.
    :param description: Text above the options in ``--help``.
    :param examples: Command lines that begin with the command, without the program's name.
    :param notes: Text below the examples in ``--help``.
    """

    name: str
    help: str
    description: str
    examples: tuple[str, ...]
    options: tuple[Option, ...]
    notes: str = f"{DINGTALK_CONNECTION}{AIRFLOW_CONNECTION}\n{EXIT_CODES}"

    def texts(self, program: str) -> dict[str, Any]:
        """Return the texts of ``--help`` as arguments of a parser."""
        examples = "\n".join(f"  {program} {example}" for example in self.examples)
        epilog = f"examples:\n{examples}\n\n{self.notes}"
        return {"help": self.help, "description": self.description, "epilog": epilog}


_CONN_ID_HELP = "Airflow connection of type dingtalk (dingtalk_default)"
_COMMON = (
    Option("--robot-code", metavar="CODE", help="robot that sent, or sends; by default the connection's"),
    Option("--conn-id", default="dingtalk_default", metavar="ID", help=_CONN_ID_HELP),
    Option("--output", "-o", choices=("json", "yaml", "table", "plain"), help="form of the result on stdout"),
    Option("--json", action="store_true", help="short for --output json"),
)
_YES = Option("--yes", "-y", action="store_true", help="do not ask; required without a terminal")

_SELECTION = (
    Option("--run", nargs=2, metavar=("DAG_ID", "RUN_ID"), help="all that a run sent, failed tasks included"),
    Option("--task", nargs="+", metavar="ID", default=[], help="with --run or --since: only what these tasks sent"),
    Option(
        "--since",
        metavar="TIME",
        help="all that runs sent since 09:30 or 2026-11-21T09:30 (Airflow's default_timezone, unless the time "
        "has a zone), or for 90m, 2h, 1d",
    ),
    Option("--dag", nargs="+", metavar="ID", default=[], help="with --since: only these DAGs"),
    Option(
        "--keys",
        metavar="KEYS",
        help="message keys k1,k2; or a file, or - for stdin, with a key a line, a JSON list of keys, or receipts",
    ),
    Option("--kind", choices=KINDS, help="kind of the messages of --keys"),
    Option("--agent-id", metavar="ID", help="app that sent work notifications; by default the connection's"),
    Option("--open-conversation-id", metavar="CID", help="group or chat that the messages of --keys are in"),
    Option("--airflow-url", metavar="URL", help="Airflow's API server; by default AIRFLOW_API_URL, or airflow.cfg"),
    *_COMMON,
)

ROLLBACK = Command(
    name="rollback",
    help="take messages back",
    description="Take messages back: all of a run, all since a time, or by their keys. "
    "A command that was killed can be run again: it goes on where it stopped.",
    examples=(
        "rollback --run revenue scheduled__2026-11-21T00:00:00+00:00 --dry-run",
        "rollback --run revenue scheduled__2026-11-21T00:00:00+00:00 --task send send_details --yes",
        "rollback --since 2h --dag revenue",
        "rollback --keys keys.txt --kind group --robot-code dingabc --open-conversation-id cidabc",
        "rollback --keys receipts.json --json --yes",
    ),
    options=(
        *_SELECTION,
        Option("--dry-run", action="store_true", help="say what would be recalled; DingTalk is not called"),
        _YES,
    ),
)
STATUS = Command(
    name="status",
    help="show whether messages are sent, recalled, and who read them",
    description="Ask DingTalk for the state of messages and for their readers. Each costs at least one API call.",
    examples=(
        "status --run revenue scheduled__2026-11-21T00:00:00+00:00",
        "status --keys receipts.json --json",
        "status --keys k1,k2 --kind oto --no-readers",
    ),
    options=(*_SELECTION, Option("--no-readers", action="store_true", help="do not count readers: one call a message")),
)
SEND = Command(
    name="send",
    help="send a short message to groups or people",
    description="Send a message with the robot. Its receipts come on stdout as JSON: keep them, they are what "
    "'rollback --keys FILE' needs.",
    examples=(
        'send --group cidabc --text "The report of 08:00 was wrong and is taken back." > receipts.json',
        "send --user user001 user002 --title Correction --markdown - < correction.md",
    ),
    options=(
        Option("--group", nargs="+", metavar="CID", default=[], help="openConversationId of groups"),
        Option("--user", nargs="+", metavar="ID", default=[], help="ids of people"),
        Option("--text", metavar="TEXT", help="what to say; - reads it from stdin"),
        Option("--markdown", metavar="TEXT", help="the same in DingTalk's Markdown"),
        Option("--title", metavar="TEXT", help="with --markdown: what the list of chats shows"),
        *_COMMON,
    ),
)
PROBE = Command(
    name="probe",
    help="find out what DingTalk does and no page says, on a test group and a test person",
    description="Send three messages to a test group and a test person, recall them in several ways, and write "
    "down what DingTalk answered: about 17 API calls. It settles what is documented nowhere or was never seen: "
    "recalling twice, the words of failedResult, 21 keys, a dead token, readers after a recall, and more. The "
    "file holds no secret, no key and no name. Start the sandbox with it, and it behaves like your tenant.",
    examples=(
        "probe --group cidtest --user user001",
        "probe --group cidtest --user user001 --out observed.json --yes --reading-seconds 60",
    ),
    options=(
        Option("--group", metavar="CID", required=True, help="openConversationId of a test group with the robot"),
        Option("--user", metavar="ID", required=True, help="id of a test person, best you"),
        Option("--out", metavar="FILE", default="observed.json", help="file to write (observed.json)"),
        Option("--reading-seconds", type=float, metavar="N", help="seconds to wait for the reader, instead of Enter"),
        *_COMMON,
        _YES,
    ),
    notes=f"{DINGTALK_CONNECTION}\n{EXIT_CODES}",
)
CHECK = Command(
    name="check",
    help="test a connection: fields, token, permissions; nothing is sent",
    description="Test a connection: its fields, an access token, and for each kind of message whether the app may "
    "read its status: at most five API calls. Nothing is sent, so permissions to send and to recall are not tested.",
    examples=("check", "check --conn-id dingtalk_prod --json"),
    options=_COMMON,
    notes=f"{DINGTALK_CONNECTION}\n{EXIT_CODES}",
)

COMMANDS = (ROLLBACK, STATUS, SEND, CHECK, PROBE)
