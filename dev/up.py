"""Sandbox and Airflow with the example DAGs, until Ctrl-C: ``python -m dev.up``.

Both listen on loopback only. Nothing that happens in them outlives the command.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from collections.abc import Sequence
from typing import NoReturn

from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_stack import AirflowStack
from dev.processes import free_port
from dev.sandbox import ROOT, sandbox_process
from dev.steps import print_step, run_until_interrupted

#: Preferred ports; a taken one is replaced by a free one.
AIRFLOW_PORT, SANDBOX_PORT = 8080, 8848
#: Seconds between two checks that all processes live.
CHECK_INTERVAL = 1.0
BANNER = """
  Airflow   {airflow}/dags
  login     admin, password {password}
  sandbox   {sandbox}/_sandbox/   shows the chats of this local DingTalk

  For the commands of the package, in another terminal:
    export AIRFLOW_CONN_DINGTALK_DEFAULT='{connection}'
    export AIRFLOW_API_URL={airflow} AIRFLOW_API_USERNAME=admin AIRFLOW_API_PASSWORD={password}
    .venv/bin/airflow dingtalk check

  Ctrl-C ends all of it.
"""


def parse_ports(program: str, description: str | None, argv: Sequence[str] | None) -> tuple[int, int]:
    """Return the ports of Airflow and the sandbox: those of the command line, the preferred ones, or free ones."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--airflow-port", type=int, help=f"port of Airflow (default {AIRFLOW_PORT}, or a free one)")
    parser.add_argument("--sandbox-port", type=int, help=f"port of the sandbox (default {SANDBOX_PORT}, or a free one)")
    options = parser.parse_args(argv)
    return options.airflow_port or free_port(AIRFLOW_PORT), options.sandbox_port or free_port(SANDBOX_PORT)


def keep_running(airflow: AirflowStack, sandbox: str, password: str) -> NoReturn:
    """Print the addresses and the login, then wait until the user interrupts the command.

    :param sandbox: URL of the sandbox.
    :raises RuntimeError: If a process of Airflow ends.
    """
    connection = json.dumps(connection_to(sandbox))
    print(BANNER.format(airflow=airflow.url, password=password, sandbox=sandbox, connection=connection), flush=True)
    while True:
        airflow.raise_if_dead()
        time.sleep(CHECK_INTERVAL)


def main(argv: Sequence[str] | None = None) -> int:
    """Start both and wait until the user interrupts the command."""
    airflow_port, sandbox_port = parse_ports("python -m dev.up", __doc__, argv)
    password = secrets.token_urlsafe(9)
    with sandbox_process(port=sandbox_port) as sandbox:
        print_step(f"the sandbox listens on {sandbox}")
        # The form's button, which Airflow disables unless this is set.
        env = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
        env |= {"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection_to(sandbox))}
        with AirflowStack(ROOT / "example_dags", env, print_step, port=airflow_port, password=password) as airflow:
            print_step("Airflow is healthy; it reads the example DAGs within seconds")
            keep_running(airflow, sandbox, password)


if __name__ == "__main__":
    run_until_interrupted(main)
