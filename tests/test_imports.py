"""Cost of imports: the dag-processor imports operators for every DAG file it parses."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_dingtalk
from airflow_provider_dingtalk import operators

PACKAGE = "airflow_provider_dingtalk"

PROBE = """
import json, sys
{before}
known = set(sys.modules)
{after}
print(json.dumps(sorted(set(sys.modules) - known)))
"""


def added(after: str, before: str = "") -> list[str]:
    """Modules that an import adds, in a fresh interpreter."""
    code = PROBE.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def third_party(modules: list[str]) -> set[str]:
    """Roots that are neither the standard library's, nor Airflow's, nor ours."""
    roots = {module.partition(".")[0] for module in modules}
    return roots - set(sys.stdlib_module_names) - {"airflow", PACKAGE}


def ours(modules: list[str]) -> list[str]:
    return [module for module in modules if module.partition(".")[0] == PACKAGE]


def test_importing_the_package_adds_one_module() -> None:
    assert added(f"import {PACKAGE}") == [PACKAGE]


# The base classes themselves are Airflow's, and it imports them lazily.
AIRFLOW = "import airflow.sdk; from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue"


@pytest.mark.parametrize(
    ("kind", "send", "recall", "sensor"),
    [
        ("group", "SendGroupMessage", "RecallGroupMessages", "GroupMessage"),
        ("oto", "SendOTOMessages", "RecallOTOMessages", "OTOMessage"),
        ("private_chat", "SendPrivateChatMessage", "RecallPrivateChatMessages", "PrivateChatMessage"),
        ("work_notification", "SendWorkNotification", "RecallWorkNotification", "WorkNotification"),
    ],
)
def test_a_dag_file_of_one_kind_pays_for_six_modules_at_most_and_no_third_party_one(
    kind: str, send: str, recall: str, sensor: str
) -> None:
    imports = (
        f"from {PACKAGE}.operators import DingTalk{send}Operator, DingTalk{recall}Operator\n"
        f"from {PACKAGE}.sensors import DingTalk{sensor}Sensor\n"
        f"from {PACKAGE}.notifications import DingTalkNotifier"
    )
    modules = added(imports, before=f"{AIRFLOW}; from airflow.sdk import BaseNotifier")
    assert third_party(modules) == set()
    assert f"{PACKAGE}.operators.{kind}" in modules and f"{PACKAGE}.sensors" in modules
    # Some versions of Airflow load the package itself before.
    assert len({*ours(modules)} - {PACKAGE}) <= 6, ours(modules)


@pytest.mark.parametrize("name", operators.__all__)
def test_every_operator_is_there_by_its_name(name: str) -> None:
    assert getattr(operators, name).__name__ == name
    assert name in dir(operators)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="DingTalkSendSmokeSignalOperator"):
        _ = operators.DingTalkSendSmokeSignalOperator


def test_even_with_a_dag_of_them_nothing_heavy_is_loaded() -> None:
    """Constructing is what a DAG file does at import."""
    dag = (
        f"import {PACKAGE}.operators as o, {PACKAGE}.sensors as s\n"
        "with DAG('d', schedule=None):\n"
        "    sent = o.DingTalkSendOTOMessagesOperator(task_id='send', user_ids=['u'], text='x')\n"
        "    s.DingTalkOTOMessageSensor(task_id='wait', receipts=sent.output)\n"
        "    o.DingTalkRollbackOperator(task_id='undo', receipts=sent.output)"
    )
    before = (
        f"{AIRFLOW}; from airflow.sdk import DAG\n"
        "with DAG('first', schedule=None):\n"
        "    BaseOperator(task_id='t').output"
    )
    modules = added(dag, before=before)
    assert third_party(modules) == set()
    assert not [
        module for module in ours(modules) if any(f".{name}" in module for name in ("client", "messages", "jobs"))
    ]


@pytest.mark.parametrize(
    "package", ["client.client", "client.error_codes", "jobs.recall", "messages.message_types", "sandbox.app"]
)
def test_the_core_and_the_sandbox_import_no_airflow(package: str) -> None:
    modules = added(f"import {PACKAGE}.{package}")
    assert f"{PACKAGE}.{package}" in modules
    assert not [module for module in modules if module.partition(".")[0] == "airflow"]


def top_level_imports(source: Path) -> set[str]:
    """Return the imports of a module at import time, without those in functions or for type checkers."""
    found: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


HOME = Path(airflow_provider_dingtalk.__file__).parent


LIGHT = [*sorted((HOME / "operators").glob("*.py")), HOME / "sensors.py", HOME / "notifications.py"]


@pytest.mark.parametrize("source", LIGHT, ids=lambda source: source.name)
def test_nothing_but_the_sdk_stands_at_the_top_of_operators_and_sensors(source: Path) -> None:
    """Also what another version of Airflow happens to have loaded already."""
    for module in top_level_imports(source):
        is_light = module.partition(".")[0] in sys.stdlib_module_names or module.startswith("airflow.sdk")
        assert is_light or module.startswith(f"{PACKAGE}.operators"), module
