"""Commands and options as data, for argparse and Airflow's command line.

Airflow loads this file at each start of its command line, so it imports nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KINDS = ("group", "oto", "private_chat", "work_notification", "ding")
DEFAULT_CONN_ID = "dingtalk_default"
DEFAULT_OUT = "observed.json"

EXITS = """\
exit status:
  0    done: everything is recalled, sent, or shown
  1    something is left: the report says what, and what to do next
  2    wrong use or bad input; DingTalk was not called
  3    a connection, a login or a permission is missing or refused
  4    Airflow or DingTalk cannot be reached
  5    you said no: nothing was done
  130  interrupted: what was done so far is printed
"""
CONNECTIONS = """\
connections:
  DingTalk: the Airflow connection --conn-id, from a secrets backend or the environment, e.g.
  AIRFLOW_CONN_DINGTALK_DEFAULT. One that is only in Airflow's database is not seen here.
  Airflow: its REST API at --airflow-url. Log in with AIRFLOW_API_TOKEN, or with AIRFLOW_API_USERNAME and
  AIRFLOW_API_PASSWORD. Secrets are never options: other users of a machine can read those.
"""


@dataclass(frozen=True)
class Option:
    """Command-line option, as argparse's arguments."""

    flags: tuple[str, ...]
    more: dict[str, Any] = field(default_factory=dict)


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
    notes: str = CONNECTIONS + "\n" + EXITS

    def epilog(self, program: str) -> str:
        """Return the text below the options in ``--help``."""
        lines = "\n".join(f"  {program} {example}" for example in self.examples)
        return f"examples:\n{lines}\n\n{self.notes}"


def _option(*flags: str, **more: Any) -> Option:
    return Option(flags, more)


_CONN_ID = _option(
    "--conn-id",
    default=DEFAULT_CONN_ID,
    metavar="ID",
    help="Airflow connection of type dingtalk (dingtalk_default)",
)
_JSON = _option("--json", action="store_true", help="print JSON on stdout, for machines")
_YES = _option("--yes", "-y", action="store_true", help="do not ask; required without a terminal")
_KIND = _option("--kind", choices=KINDS, help="kind of the messages of --keys")
_ROBOT = _option("--robot-code", metavar="CODE", help="robot that sent, or sends; by default the connection's")
_AGENT = _option("--agent-id", metavar="ID", help="app that sent work notifications; by default the connection's")

_SELECTION = (
    _option("--run", nargs=2, metavar=("DAG_ID", "RUN_ID"), help="all that a run sent, failed tasks included"),
    _option("--task", nargs="+", metavar="ID", default=[], help="with --run or --since: only what these tasks sent"),
    _option(
        "--since",
        metavar="TIME",
        help="all that runs sent since 09:30 or 2026-11-21T09:30 (Airflow's default_timezone, unless the time "
        "has a zone), or for 90m, 2h, 1d",
    ),
    _option("--dag", nargs="+", metavar="ID", default=[], help="with --since: only these DAGs"),
    _option(
        "--keys",
        metavar="KEYS",
        help="message keys k1,k2; or a file, or - for stdin, with a key a line, a JSON list of keys, or receipts",
    ),
    _KIND,
    _ROBOT,
    _AGENT,
    _option("--open-conversation-id", metavar="CID", help="group or chat that the messages of --keys are in"),
    _option("--airflow-url", metavar="URL", help="Airflow's API server; by default AIRFLOW_API_URL, or airflow.cfg"),
    _CONN_ID,
    _JSON,
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
        _option("--dry-run", action="store_true", help="say what would be recalled; DingTalk is not called"),
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
    options=(
        *_SELECTION,
        _option("--no-readers", action="store_true", help="do not count readers: one call a message"),
    ),
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
        _option("--group", nargs="+", metavar="CID", default=[], help="openConversationId of groups"),
        _option("--user", nargs="+", metavar="ID", default=[], help="ids of people"),
        _option("--text", metavar="TEXT", help="what to say; - reads it from stdin"),
        _option("--markdown", metavar="TEXT", help="the same in DingTalk's Markdown"),
        _option("--title", metavar="TEXT", help="with --markdown: what the list of chats shows"),
        _ROBOT,
        _CONN_ID,
        _JSON,
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
        _option("--group", metavar="CID", required=True, help="openConversationId of a test group with the robot"),
        _option("--user", metavar="ID", required=True, help="id of a test person, best you"),
        _option("--out", metavar="FILE", default=DEFAULT_OUT, help="file to write (observed.json)"),
        _option(
            "--reading-seconds",
            type=float,
            metavar="N",
            help="wait so long for the person to read the message, instead of for Enter",
        ),
        _ROBOT,
        _CONN_ID,
        _JSON,
        _YES,
    ),
    notes=CONNECTIONS.partition("  Airflow:")[0] + "\n" + EXITS,
)

COMMANDS = (ROLLBACK, STATUS, SEND, PROBE)
