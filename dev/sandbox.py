"""The DingTalk sandbox as a child process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.processes import Process, stop_all

ROOT = Path(__file__).parents[1]


@contextmanager
def sandbox_process(*options: str, port: int = 0) -> Iterator[str]:
    """Run the sandbox in its own process until the context ends, and yield its URL.

    :param options: More options of ``python -m airflow_provider_dingtalk.sandbox``.
    :param port: Loopback port; default 0 for a free one.
    :raises RuntimeError: If it does not start.
    """
    command = [sys.executable, "-m", "airflow_provider_dingtalk.sandbox", "--port", str(port), *options]
    with tempfile.TemporaryDirectory() as folder:
        process = Process("sandbox", command, {**os.environ, "PYTHONPATH": str(ROOT)}, Path(folder) / "log")
        try:
            yield process.wait_for_output(r"listening on (http\S+)")
        finally:
            stop_all([process])
