"""Airflow's surroundings for the tests: set here, since Airflow reads them once, when it is first imported."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

REAL_AIRFLOW = Path(__file__).parent / "real_airflow"

HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Connections, variables and settings of whoever runs the tests are nobody's business here.
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__"))]:
    del os.environ[name]

os.environ["AIRFLOW_HOME"] = HOME
# Lets tests call op.execute(context) themselves: elsewhere Airflow refuses that outside its task runner.
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n 2``: real Airflow at once and in one process, meanwhile the rest file by file in the other."""
    items.sort(key=lambda item: REAL_AIRFLOW not in item.path.parents)
    for item in items:
        group = REAL_AIRFLOW if REAL_AIRFLOW in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
