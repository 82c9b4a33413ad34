"""Commands of Airflow's own command line."""

from __future__ import annotations

import subprocess
import sys

from airflow_provider_dingtalk.version_compat import HAS_PROVIDER_COMMANDS
from tests.cli.terminal import AIRFLOW, Terminal


def test_help_of_airflows_own_command_line_names_that(terminal: Terminal):
    done = terminal.run("rollback", "--help", program=AIRFLOW)
    # Airflow 3.1 has no commands of providers.
    assert (done.status == 0) == HAS_PROVIDER_COMMANDS
    assert ("airflow dingtalk rollback --since 2h" in done.out) == HAS_PROVIDER_COMMANDS


def test_airflow_loads_nothing_heavy_for_them():
    """Airflow imports the definition at each start of its command line, also of a scheduler's."""
    code = "import sys, airflow_provider_dingtalk.cli.definition; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"airflow", "httpx", "msgspec", "pendulum", "anyio", "argparse"}
