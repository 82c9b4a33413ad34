"""Check a release without uploading it: ``make release-check``.

It builds the sdist, and the wheel twice from that sdist; compares both wheels byte for byte; checks the metadata with
twine; compares the contents with the repository; installs the wheel with the constraints in an empty environment; and
runs the commands of the README there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

from airflow_provider_dingtalk import __version__

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "airflow_provider_dingtalk"
#: Maximum distributions that the wheel may install besides those of Airflow.
MAX_OWN_DISTRIBUTIONS = 10
#: Folders and files that the sdist must hold, besides the package.
IN_SDIST = (
    "example_dags",
    "tests",
    "benchmarks",
    "dev",
    "docs",
    "demo",
    "constraints",
    "README.md",
    "LICENSE",
    "Makefile",
)
#: Parts of names that no archive may hold.
UNWANTED = ("__pycache__", ".pyc", ".venv", ".env", "airflow.db", ".orig", ".swp")
#: Commands of the README that need neither DingTalk nor a running Airflow.
COMMANDS = (
    ("-m", PACKAGE, "--help"),
    ("-m", "airflow", "dingtalk", "--help"),
    ("-m", "airflow", "providers", "get", "airflow-provider-dingtalk"),
    ("-c", f"from {PACKAGE}.operators import rollback_on_failure"),
)


class ReleaseError(Exception):
    """Error for a release that is not ready."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps and return 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m dev.release_check", description=__doc__)
    parser.add_argument("--constraints", type=Path, required=True, help="constraints file of the installation")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        folder = Path(name)
        steps: dict[str, Callable[[], str]] = {
            "build": lambda: build(folder),
            "twine check": lambda: twine(folder),
            "contents": lambda: contents(folder),
            "install": lambda: install(folder, options.constraints),
            "commands": lambda: commands(folder),
        }
        for step, work in steps.items():
            began = time.monotonic()
            try:
                result = work()
            except ReleaseError as error:
                print(f"{step}: FAILED: {error}", flush=True)
                return 1
            print(f"{step}: {result} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{PACKAGE} {__version__} can be released. See docs/releasing.md.")
    return 0


def build(folder: Path) -> str:
    """Build the sdist, and the wheel twice from it.

    :raises ReleaseError: If the two wheels differ.
    """
    epoch = _run("git", "-C", str(ROOT), "log", "-1", "--format=%ct").strip()
    _build("--sdist", str(ROOT), folder / "dist", epoch)
    with tarfile.open(_only(folder / "dist", "*.tar.gz")) as archive:
        archive.extractall(folder / "source", filter="data")
    source = _only(folder / "source", "*")
    wheels = []
    for number in ("first", "second"):
        _build("--wheel", str(source), folder / number, epoch)
        wheels.append(_only(folder / number, "*.whl"))
    if wheels[0].read_bytes() != wheels[1].read_bytes():
        raise ReleaseError("two builds of the wheel differ")
    shutil.copy(wheels[0], folder / "dist")
    return f"{wheels[0].name}, the same bytes twice"


def twine(folder: Path) -> str:
    """Check the metadata as a package index does, and that the links of the README are absolute.

    :raises ReleaseError: If one is relative, or the metadata are invalid.
    """
    with ZipFile(_only(folder / "dist", "*.whl")) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
        if relative := re.search(r"\]\((?!https:|#)[^)\s]+\)", wheel.read(name).decode()):
            raise ReleaseError(f"a relative link in the README: {relative[0]}")
    _run(sys.executable, "-m", "twine", "check", "--strict", *(str(path) for path in (folder / "dist").iterdir()))
    return "passed"


def contents(folder: Path) -> str:
    """Compare the names in both archives with those in the repository.

    :raises ReleaseError: If a tracked file is missing, or an unwanted file is there.
    """
    tracked = _run("git", "-C", str(ROOT), "ls-files").split("\n")
    with ZipFile(_only(folder / "dist", "*.whl")) as wheel:
        shipped = set(wheel.namelist())
    with tarfile.open(_only(folder / "dist", "*.tar.gz")) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    check_contents(tracked, shipped, source)
    return f"{len(shipped)} files in the wheel, {len(source)} in the sdist"


def check_contents(tracked: Sequence[str], wheel: set[str], sdist: set[str]) -> None:
    """Check the names in a wheel and an sdist against the tracked files.

    :raises ReleaseError: If a tracked file is missing, or an unwanted file is there.
    """
    package = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    wanted = package | {name for name in tracked if name.split("/")[0] in IN_SDIST}
    for archive, missing in (("wheel", package - wheel), ("sdist", wanted - sdist)):
        if missing:
            raise ReleaseError(f"missing in the {archive}: {', '.join(sorted(missing)[:5])}")
    if unwanted := sorted(name for name in wheel | sdist if any(part in name for part in UNWANTED)):
        raise ReleaseError(f"unwanted: {', '.join(unwanted[:5])}")
    if strays := sorted(name for name in wheel if not name.startswith((f"{PACKAGE}/", f"{PACKAGE}-"))):
        raise ReleaseError(f"not of the package: {', '.join(strays[:5])}")


def install(folder: Path, constraints: Path) -> str:
    """Install the wheel in an empty environment, and count what it adds to Airflow.

    :raises ReleaseError: If it adds more than :data:`MAX_OWN_DISTRIBUTIONS` distributions.
    """
    venv.create(folder / "env", with_pip=True)
    pip = (str(_python(folder)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    _run(*pip, "--constraint", str(constraints), "apache-airflow")
    before = _distributions(folder)
    _run(*pip, "--constraint", str(constraints), str(_only(folder / "dist", "*.whl")))
    added = _distributions(folder) - before
    if len(added) > MAX_OWN_DISTRIBUTIONS:
        raise ReleaseError(f"adds {len(added)} distributions to Airflow: {', '.join(sorted(added))}")
    return f"adds to Airflow: {', '.join(sorted(added))}"


def commands(folder: Path) -> str:
    """Run the README's commands in the new environment."""
    home = folder / "home"
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home), "COLUMNS": "120"}
    for command in COMMANDS:
        _run(str(_python(folder)), *command, env=variables, cwd=folder)
    return f"{len(COMMANDS)} passed"


def _build(kind: str, source: str, folder: Path, epoch: str) -> None:
    command = (sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(folder), source)
    _run(*command, env={"PROJECT_URL": "https://example.org/project", **os.environ, "SOURCE_DATE_EPOCH": epoch})


def _run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=env, cwd=cwd)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise ReleaseError(f"{Path(command[0]).name} {' '.join(command[1:])}\n" + "\n".join(said))
    return done.stdout


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def _python(folder: Path) -> Path:
    return folder / "env" / "bin" / "python"


def _distributions(folder: Path) -> set[str]:
    names = "import importlib.metadata as m; print(*{d.name.lower() for d in m.distributions()}, sep='\\n')"
    return set(_run(str(_python(folder)), "-c", names).split())


if __name__ == "__main__":
    sys.exit(main())
