"""One row in a process of its own: a module, since the main one cannot be imported by the processes it starts."""

from __future__ import annotations

import logging
import resource

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before Airflow is imported
from tests.faults.canaries import Leak, sweep
from tests.faults.matrix import Figures, run_row
from tests.faults.rows import ROWS
from tests.faults.stage import Sinks


def run_job(job: tuple[int, int, int]) -> tuple[Figures, list[Leak], int]:
    """Run a row, by number, seed and keys; its figures, the secrets found, and the memory it took, in MiB."""
    # What Airflow and uvicorn have to say is not what is looked at here.
    for name in ("uvicorn.error", "airflow", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    number, seed, keys = job
    sinks = Sinks()
    figures = run_row(next(row for row in ROWS if row.number == number), seed=seed, keys=keys, sinks=sinks)
    return figures, sweep(sinks), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
