"""Search for what a DAG's runs sent while Airflow's API server is away at every second request."""

from __future__ import annotations

import datetime as dt
from itertools import count
from typing import Any

import httpx
import pytest
from airflow.utils.db import initdb

from airflow_provider_dingtalk.task.api_server import waiting_for_server
from airflow_provider_dingtalk.task.rollback_source import of_unfinished, of_window
from dev.past_runs import add_runs
from tests.clock import VirtualClock
from tests.support.execution_api import task_of_another_dag
from tests.support.outages import server_of_outages

# Airflow's server in this process imports what warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def test_each_request_is_waited_for() -> None:
    initdb()
    add_runs("away", 4, 2, unfinished=1)
    requests = count(1)

    def leave(request: httpx.Request) -> None:
        if next(requests) % 2:
            raise httpx.ConnectError("refused", request=request)

    clock = VirtualClock()
    with task_of_another_dag(leave) as asked:
        context: Any = waiting_for_server(asked.context, server_of_outages(clock))
        began = clock.now()
        since = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).timestamp()
        assert sum(len(one.receipts) for one in of_window(context, "away", since, None)) == 4 * 2
        assert sum(len(one.receipts) for one in of_unfinished(context, "away", ["rollback"])) == 2
    assert clock.now() - began == next(requests) // 2, "one second for each request"
