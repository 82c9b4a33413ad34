"""Other backends: XComs in an object storage, connections in a secrets backend of files."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_dingtalk.cli.airflow_api import URL_VARIABLE
from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.cluster import Cluster
from tests.cluster.accounts import Row
from tests.cluster.load import start
from tests.cluster.work import Lane
from tests.real_airflow.fixtures import DagRun, wait_until

SENDS, INCIDENT = "dingtalk_rollback_on_failure", "dingtalk_incident_rollback"
#: Messages of one run of the example.
SENT = 51
#: XComs above this size in bytes are objects, so that receipts, reports and plans are.
THRESHOLD = 200
TIMEOUT = 180.0


def _use_other_backends(cluster: Cluster, url: str) -> None:
    """Start all components again with other backends; only the secrets backend knows ``dingtalk_default``."""
    file = cluster.home / "connections.json"
    file.write_text(json.dumps({"dingtalk_default": connection_to(url)}))
    secrets = {
        "BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
    }
    options = {
        "CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{cluster.home}/xcom",
        "COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": THRESHOLD,
        "COMMON_IO__XCOM_OBJECTSTORAGE_COMPRESSION": "gzip",
        **{f"SECRETS__{name}": value for name, value in secrets.items()},
        **{f"WORKERS__SECRETS_{name}": value for name, value in secrets.items()},
    }
    (cluster.home / "xcom").mkdir()
    cluster.env |= {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    cluster.restart(*cluster.components)


def other_backends(lane: Lane) -> list[Row]:
    """Run rollback, incident DAG, sweep, sensor, command line and report link."""
    _use_other_backends(lane.cluster, lane.sandbox.url)
    lane.clear(calls_per_second=0)
    checks = (_sweep, _sensor, _rollback)
    with ThreadPoolExecutor(1 + len(checks)) as pool:
        of_one_run = pool.submit(_of_one_run, lane)
        others = list(pool.map(lambda check: _checked(lane, check), checks))
    return others + of_one_run.result()


def _of_one_run(lane: Lane) -> list[Row]:
    """Take one run back by the command line, which names the operator and leaves all, and then by the incident DAG."""
    sent = _sent(lane, 1001)
    return [_checked(lane, check, sent) for check in (_command_line, _incident)]


def _checked(lane: Lane, check: Callable[..., None], *sent: DagRun) -> Row:
    row = Row(name=f"object storage and secrets backend, {check.__name__.strip('_').replace('_', ' ')}")
    try:
        check(lane, row, *sent)
    except Exception:
        row.wrong.append(traceback.format_exc(limit=3))
    return row


def _gone(lane: Lane, text: str) -> list[bool]:
    """Return for each message with a text in it whether it is gone."""
    return [one["recalled_at"] is not None for one in lane.sandbox.messages() if text in one["text"]]


def _sent(lane: Lane, revenue: int) -> DagRun:
    """Run the example, whose messages name a revenue."""
    return start(lane, SENDS, revenue=revenue).wait(TIMEOUT)


def _rollback(lane: Lane, row: Row) -> None:
    run = _sent(lane, -42)
    gone, report = _gone(lane, "-42"), run.report("rollback")
    row.figures = {"state": run.state, "sent": len(gone), "gone": sum(gone), "report": type(report).__name__}
    row.must(run.state == "failed", "the run did not fail")
    # DINGs have a text of their own, so they are counted by the report.
    row.must(bool(gone) and all(gone), "messages are left")
    links = run.airflow.get(f"/dags/{SENDS}/dagRuns/{run.run_id}/taskInstances/rollback/links")["extra_links"]
    if links["Report"].endswith("/xcom"):
        shown = str(report["counts"] if isinstance(report, Mapping) else report)
    else:
        shown = run.log("rollback")
    row.must("recalled" in shown and str(SENT) in shown, f"the report link leads to {links['Report']}: no report")


def _incident(lane: Lane, row: Row, sent: DagRun) -> None:
    run = start(lane, INCIDENT, reason="wrong figures", dag_id=SENDS, run_id=sent.run_id)
    wait_until("the approval is asked for", lambda: run.states().get("approve") == "awaiting_input", TIMEOUT)
    run.wait_until_noted("approve")
    path = f"/dags/{INCIDENT}/dagRuns/{run.run_id}/taskInstances/approve/-1/hitlDetails"
    subject = run.airflow.get(path)["subject"]
    run.airflow.patch(path, {"chosen_options": ["Approve"], "params_input": {}})
    run.wait(TIMEOUT)
    gone = _gone(lane, "1001")
    row.figures = {"state": run.state, "asked": subject, "gone": sum(gone)}
    row.must(run.state == "success" and str(SENT) in subject, "the incident DAG did not ask and succeed")
    row.must(bool(gone) and all(gone), "messages are left")


def _sweep(lane: Lane, row: Row) -> None:
    run = start(lane, "timed_out").wait(TIMEOUT)
    sweep = start(lane, "sweep").wait(TIMEOUT)
    inside, outside = _gone(lane, "inside"), _gone(lane, "outside")
    row.figures = {
        "run": run.state,
        "sweep": sweep.state,
        "inside": len(inside),
        "gone": sum(inside),
        "kept": outside.count(False),
    }
    row.must(sweep.state == "success" and len(inside) == 2 and all(inside), "the sweep left messages")
    row.must(outside == [False], "the sweep recalled a message outside of the block")


def _sensor(lane: Lane, row: Row) -> None:
    run = start(lane, "dingtalk_wait_until_read")
    run.wait_until_deferred("wait_until_read")
    (key,) = [one["key"] for one in lane.sandbox.messages() if "Any objections" in one["text"]]
    lane.sandbox.tell("POST", "/read", {"key": key, "count": 2})
    row.figures = {"state": run.wait(TIMEOUT).state}
    row.must(run.state == "success", "the sensor did not fire")


def _command_line(lane: Lane, row: Row, sent: DagRun) -> None:
    command = [sys.executable, "-m", "airflow_provider_dingtalk", "rollback", "--run", SENDS, sent.run_id, "--yes"]
    env = {**lane.cluster.env, URL_VARIABLE: lane.cluster.url, "CLUSTER_HOST": "terminal"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    gone = _gone(lane, "1001")
    said = (done.stderr.strip().splitlines() or [""])[-1][:120]
    row.figures = {"exit": done.returncode, "gone": sum(gone), "said": said}
    # The command works, or names the operator that does.
    is_told = "DingTalkRollbackOperator" in done.stderr
    row.must(is_told or (done.returncode == 0 and all(gone)), "the command says nothing of use")
