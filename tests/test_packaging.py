"""The wheel: built as a release is, and what is in it."""

from __future__ import annotations

import re
import subprocess
import sys
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import pytest

import airflow_provider_dingtalk
from hatch_build import ProjectMetadata

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "airflow_provider_dingtalk"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel of this checkout. Without isolation: building must need no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    """The wheel's METADATA."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_it_holds_the_package_and_nothing_else(wheel: ZipFile) -> None:
    roots = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    assert roots == {PACKAGE, f"{PACKAGE}-{airflow_provider_dingtalk.__version__}.dist-info"}


def test_it_holds_every_module_and_the_marker_of_types(wheel: ZipFile) -> None:
    source = REPOSITORY / PACKAGE
    modules = {path.relative_to(REPOSITORY).as_posix() for path in source.rglob("*.py")}
    shipped = {name for name in wheel.namelist() if name.startswith(f"{PACKAGE}/")}
    assert modules | {f"{PACKAGE}/py.typed"} <= shipped
    assert not [name for name in shipped if "__pycache__" in name or name.endswith((".pyc", ".orig", ".swp"))]


def test_it_holds_the_files_of_the_messages_page(wheel: ZipFile) -> None:
    files = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / PACKAGE / "plugin/static").iterdir()}
    assert len(files) > 1
    assert files <= set(wheel.namelist())


def test_it_holds_the_licence_as_it_is(wheel: ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert wheel.read(name) == (REPOSITORY / "LICENSE").read_bytes()
    assert b"Apache License" in wheel.read(name)


def test_its_metadata_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == PACKAGE
    assert metadata["Version"] == airflow_provider_dingtalk.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload(decode=True) == (REPOSITORY / "README.md").read_bytes()
    assert "Framework :: Apache Airflow :: Provider" in (metadata.get_all("Classifier") or [])


def test_the_sdk_and_the_sandboxs_server_are_no_needs_of_a_worker(metadata: Message) -> None:
    needs = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
    assert any(need.startswith("httpx") for need in needs)
    for name in ("alibabacloud", "starlette", "uvicorn", "pytest"):
        assert not [need for need in needs if need.lower().startswith(name)]


def test_airflow_finds_the_entry_point(wheel: ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "[apache_airflow_provider]" in wheel.read(name).decode()
    assert f"{PACKAGE}.get_provider_info:get_provider_info" in wheel.read(name).decode()
    assert "[airflow.plugins]" in wheel.read(name).decode()


def test_the_readme_of_a_package_index_links_to_files_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT_URL", "https://example.org/it/")
    shown: dict[str, Any] = {}
    ProjectMetadata(str(REPOSITORY), {}).update(shown)
    tag = f"v{airflow_provider_dingtalk.__version__}"
    targets = re.findall(r"\]\(([^)\s#]+)", shown["readme"]["text"])
    ours = [target.removeprefix("https://example.org/it/") for target in targets if "example.org" in target]
    assert len(ours) > 20
    assert all((REPOSITORY / path.split(f"/{tag}/")[1]).is_file() for path in ours)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert shown["urls"]["Changelog"] == f"https://example.org/it/blob/{tag}/CHANGELOG.md"
