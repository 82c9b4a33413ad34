"""What it was measured on: cores, memory, Python, versions and commit. Nothing that names the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "apache-airflow",
    "httpx",
    "msgspec",
    "alibabacloud-dingtalk",
    "requests",
    "apache-airflow-providers-http",
    "apache-airflow-providers-slack",
    "apache-airflow-providers-dingding",
)


def machine() -> dict[str, str]:
    """Cores, memory and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Versions of what was measured."""
    return {package: found for package in PACKAGES if (found := _version(package))}


def commit() -> str:
    """The commit that was measured, with a ``+`` if the work tree had changes to the code."""
    command = ["git", "-C", str(ROOT)]
    try:
        head = _output([*command, "rev-parse", "--short", "HEAD"])
        changed = _output([*command, "status", "--porcelain", "--", "airflow_provider_dingtalk", "benchmarks"])
    except (OSError, subprocess.CalledProcessError):  # an archive has no history
        return "unknown"
    return head + "+" * bool(changed)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
