"""Description of the measured system: cores, memory, Python, versions and commit; no host name."""

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
    """Return cores, memory, Python and operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {package: found for package in PACKAGES if (found := _version(package))}


def commit() -> str:
    """Return the measured commit, with a ``+`` if the code had uncommitted changes."""
    command = ["git", "-C", str(ROOT)]
    try:
        head = _output([*command, "rev-parse", "--short", "HEAD"])
        changed = _output([*command, "status", "--porcelain", "--", "airflow_provider_dingtalk", "benchmarks"])
    except (OSError, subprocess.CalledProcessError):  # a source archive has no git history
        return "unknown"
    return head + "+" * bool(changed)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
