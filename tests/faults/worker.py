"""Runner of one row in its own process.

It is a module of its own, because child processes cannot import ``__main__``.
"""

from __future__ import annotations

import logging
import resource

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before Airflow is imported
from tests.faults.fixtures import Sinks
from tests.faults.matrix import Figures, run_row
from tests.faults.rows import ROWS
from tests.faults.secret_scanner import Leak, sweep


def run_job(job: tuple[int, int, int]) -> tuple[Figures, list[Leak], int]:
    """Run a row.

    :param job: Row number, seed and number of keys.
    :returns: Its figures, the leaks found, and the peak memory of the process in MiB.
    """
    # Logs of Airflow and uvicorn are not examined here.
    for name in ("uvicorn.error", "airflow", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    number, seed, keys = job
    sinks = Sinks()
    figures = run_row(next(row for row in ROWS if row.number == number), seed=seed, keys=keys, sinks=sinks)
    return figures, sweep(sinks), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
