"""Many sensors, and kills of workers, in any claimed version of real Airflow: ``python -m tests.faults.any_airflow``.

Airflow runs as in :mod:`tests.faults.real_airflow`. The command prints its progress, and one line of figures at the
end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from typing import Any

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before it is imported
from tests.faults.real_kills import LATENCY, USERS, Kills
from tests.faults.real_scenarios import airflow_and_sandbox
from tests.faults.real_sensors import Sensors

SCENARIOS = ("sensors", "kills")
ENV = {
    "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
    # Airflow fails a task whose supervisor was killed too after this time without a heartbeat.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run the chosen scenarios one after the other and return the figures; ``wrong`` must be empty."""
    begun = time.monotonic()
    figures: dict[str, Any] = {"airflow": version("apache-airflow"), "seed": options.seed, "wrong": []}
    with airflow_and_sandbox(ENV, options.seed, people=USERS, faults=LATENCY) as (stack, sandbox):
        for name in options.only:
            job: Sensors | Kills = Kills(stack, sandbox, options.seed)
            if name == "sensors":
                job = Sensors(stack, sandbox, options.seed, options.sensors, options.minutes)
            job.run_scenario(job.run)
            figures[name] = job.figures
            figures["wrong"] += job.wrong
    return {**figures, "seconds": round(time.monotonic() - begun)}


def main(argv: list[str] | None = None) -> int:
    """Run the scenarios and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.any_airflow", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="default both")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long all sensors must wait; default 10")
    parser.add_argument("--sensors", type=int, default=300, help="number of sensors; default 300")
    parser.add_argument("--seed", type=int, default=1)
    figures = run_all(parser.parse_args(argv))
    print(json.dumps(figures))
    return bool(figures["wrong"])


if __name__ == "__main__":
    sys.exit(main())
