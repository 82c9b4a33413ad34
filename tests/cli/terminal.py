"""Commands with arguments, an environment and a terminal, as an on-call engineer runs them.

A command is a process of its own. One whose start is not what is tested is a fork: see ``tests/cli/forks.py``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import HAS_PROVIDER_COMMANDS
from tests.cli.forks import READ_LATE, TIMEOUT, Forks

MODULE = [sys.executable, "-m", "airflow_provider_dingtalk"]
AIRFLOW = [str(Path(sys.executable).with_name("airflow")), "dingtalk"]
#: Command lines by name.
PROGRAMS = {"module": MODULE} | ({"airflow": AIRFLOW} if HAS_PROVIDER_COMMANDS else {})
#: Secrets that must not be in any output.
AIRFLOW_TOKEN, AIRFLOW_PASSWORD = "airflow-token-7f3a", "airflow-password-91c2"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """JSON output of the command."""
        return json.loads(self.out)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of the shell, without a connection."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**inherited, "AIRFLOW_HOME": str(home), "TZ": "Asia/Shanghai"}


@dataclass(frozen=True)
class Terminal:
    """A shell with a connection to the sandbox.

    :param home: Airflow's folder, of the forks too.
    :param env: Additional environment variables.
    """

    sandbox: SandboxServer
    home: Path
    forks: Forks
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        connection = json.dumps(self.sandbox.connection())
        ours = {"AIRFLOW_CONN_DINGTALK_DEFAULT": connection, **self.env, **(more or {})}
        return {**environment(self.home), **{name: value for name, value in ours.items() if value is not None}}

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        env: Mapping[str, str | None] | None = None,
        program: list[str] | None = None,
    ) -> Done:
        """Run a command to its end; its output must have no secret.

        :param program: Program that is started anew; default a fork, unless a variable has an effect on its start.
        """
        if program is None and all(name.startswith(READ_LATE) for name in {**self.env, **(env or {})}):
            done = Done(*self.forks.run(arguments, self.environment(env), stdin))
        else:
            done = self._run_anew([*(program or MODULE), *arguments], self.environment(env), stdin)
        for secret in (CLIENT_SECRET, AIRFLOW_TOKEN, AIRFLOW_PASSWORD, *self.sandbox.state.tokens):
            assert secret not in done.out + done.err
        assert "Traceback" not in done.out + done.err, done.err
        return done

    @staticmethod
    def _run_anew(command: list[str], env: dict[str, str], stdin: str) -> Done:
        more: dict[str, Any] = {"capture_output": True, "text": True, "timeout": TIMEOUT}
        done = subprocess.run(command, input=stdin, env=env, check=False, **more)
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            [*MODULE, *arguments],
            env=self.environment(),
            preexec_fn=_as_in_a_terminal,  # noqa: PLW1509 -- it sets a signal and takes no lock
            **more,
        )

    def create_messages(self, kind: str, count: int = 1, **more: Any) -> list[str]:
        """Create messages of another program and return their keys."""
        keys = create_messages(self.sandbox.state, CreateMessages(kind=kind, count=count, **more))["keys"]  # type: ignore[arg-type]
        return [str(key) for key in keys]

    def gone(self) -> set[str]:
        """Return the keys of recalled messages."""
        return {str(key) for key, message in self.sandbox.state.messages.items() if message.recalled_at is not None}

    def calls(self) -> int:
        """Return the number of requests that reached DingTalk."""
        return sum(count["total"] for count in self.sandbox.snapshot(brief=True)["calls"].values())


def _as_in_a_terminal() -> None:
    """Restore SIGINT, which shells ignore for background jobs, so Ctrl-C works."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
