"""Row ``imports``: CPU time to import operators, sensors and notifiers, on top of ``airflow.sdk``.

Each measurement is a new process. It imports ``airflow.sdk`` with all that a DAG file uses of it, and then one
provider. CPU time is measured, not wall time, because other processes may use the machine. The garbage collector is
off: whether it runs during an import of some hundred objects depends on those made before, and then it takes 0.5 ms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.calibration import loop_ms
from benchmarks.machine import ROOT
from benchmarks.results import Result, Row, at_least, at_most, beside, exactly, median_of

ROUNDS = 11
PACKAGE = "airflow_provider_dingtalk"
#: Imports of a DAG file that sends, waits and notifies with each provider; with ours it recalls, too.
PEERS = {
    "ours": (
        f"from {PACKAGE}.operators import DingTalkSendOTOMessagesOperator, DingTalkRecallOTOMessagesOperator; "
        f"from {PACKAGE}.sensors import DingTalkOTOMessageSensor; "
        f"from {PACKAGE}.notifications import DingTalkNotifier"
    ),
    "all of ours": (
        f"from {PACKAGE}.operators import *; from {PACKAGE}.sensors import *; from {PACKAGE}.notifications import *"
    ),
    "slack": (
        "import airflow.providers.slack.operators.slack, airflow.providers.slack.operators.slack_webhook, "
        "airflow.providers.slack.notifications.slack"
    ),
    "http": "import airflow.providers.http.operators.http, airflow.providers.http.sensors.http",
    "dingding": "import airflow.providers.dingding.operators.dingding",
    "sdk": "import alibabacloud_dingtalk.robot_1_0.client, alibabacloud_dingtalk.robot_1_0.models",
}
NAMES = {
    "all of ours": "all operators, sensors and notifiers of ours",
    "slack": "slack provider",
    "http": "http provider",
    "dingding": "dingding provider",
    "sdk": "official SDK",
}

PROBE = """
import gc, json, sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseHook, BaseNotifier, BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
conf.getboolean("operators", "default_deferrable", fallback=False)
known = set(sys.modules)
gc.disable()
began = time.process_time()
{imports}
spent = time.process_time() - began
added = sorted(set(sys.modules) - known)
print(json.dumps({{"cpu_ms": spent * 1000, "modules": added}}))
"""


def measure(quick: bool) -> Result:
    """Measure all providers in turn, several times."""
    rounds = 3 if quick else ROUNDS
    runs, loops = [], []
    for number in range(-1, rounds):
        loops.append(loop_ms())
        runs += [{"round": number, **_run(name)} for name in PEERS]
    # The first round writes byte code, so it is dropped.
    runs = [run for run in runs if run["round"] >= 0]
    by_peer = {name: [run for run in runs if run["peer"] == name] for name in PEERS}
    # Other work only ever adds time: the least of some rounds varies by 3 % where their median varies by 25 %.
    cpu = {name: min(run["cpu_ms"] for run in of) for name, of in by_peer.items()}
    figures = [
        at_most("CPU to import ours, over the calibration loop", cpu["ours"] / min(loops), 0.08, "×"),
        at_most("modules that ours adds", median_of(by_peer["ours"], "modules"), 6),
        exactly("third-party modules among them", median_of(by_peer["ours"], "third_party"), 0),
    ]
    for name, title in NAMES.items():
        if name == "all of ours":
            continue
        goal = 90 if name == "sdk" else 50
        figures.append(at_least(f"{title} over ours", cpu[name] / cpu["ours"], goal, "×"))
    for name, title in {"ours": "ours", **NAMES}.items():
        figures.append(beside(f"{title}: CPU", cpu[name], "ms"))
        figures.append(beside(f"{title}: modules", median_of(by_peer[name], "modules")))
    note = f"{rounds} interleaved rounds of fresh processes; the least CPU time of each. Ours: " + ", ".join(_ours())
    return Result(figures, runs, [note])


def _run(name: str) -> dict[str, Any]:
    found = _probe(name)
    modules = found["modules"]
    return {
        "peer": name,
        "cpu_ms": round(found["cpu_ms"], 3),
        "modules": len(modules),
        "third_party": len(_third_party(modules)),
    }


def _ours() -> list[str]:
    return [f"`{module}`" for module in _probe("ours")["modules"]]


def _probe(name: str) -> dict[str, Any]:
    code = PROBE.format(imports=PEERS[name])
    # PYTHON… variables are left out, so byte code is cached as in production and no profiler runs.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _third_party(modules: list[str]) -> list[str]:
    """Return the modules that are not the standard library's, Airflow's or ours."""
    known = {*sys.stdlib_module_names, "airflow", PACKAGE}
    return [module for module in modules if module.partition(".")[0] not in known]


ROW = Row("imports", "What a DAG file pays for importing operators, sensors and notifiers", measure)
