"""Provider metadata: valid, true, and found by Airflow's commands."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.sdk._shared.secrets_masker import redact

import airflow_provider_dingtalk
from airflow_provider_dingtalk import language
from airflow_provider_dingtalk.connection import settings
from airflow_provider_dingtalk.get_provider_info import get_provider_info
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.task import api_server

NAME = "airflow-provider-dingtalk"
INFO = get_provider_info()
(CONNECTION,) = INFO["connection-types"]
FIELDS: dict[str, Any] = CONNECTION["conn-fields"]
SECRETS = {"suite_ticket_secret", "proxy"}


def test_it_is_valid_by_airflows_own_schema() -> None:
    schema = Path(airflow.__file__).parent / "provider_info.schema.json"
    jsonschema.validate(INFO, json.loads(schema.read_text(encoding="utf-8")))
    assert INFO["package-name"] == NAME


def test_it_is_plain_json() -> None:
    assert json.loads(json.dumps(INFO)) == INFO


def paths(value: Any) -> Iterator[str]:
    """Return all dotted paths into this package, at any depth."""
    if isinstance(value, str) and value.startswith("airflow_provider_dingtalk."):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from paths(item)


@pytest.mark.parametrize("path", sorted(set(paths(INFO))))
def test_every_path_in_it_leads_somewhere(path: str) -> None:
    head, _, tail = path.rpartition(".")
    if path in INFO["cli"]:
        assert [command.name for command in getattr(importlib.import_module(head), tail)()] == ["dingtalk"]
    elif tail[0].isupper():
        assert isinstance(getattr(importlib.import_module(head), tail), type)
    else:
        importlib.import_module(path)


def test_no_module_with_operators_sensors_hooks_or_triggers_is_left_out() -> None:
    named = {
        module
        for section in ("operators", "sensors", "hooks", "triggers")
        for entry in INFO[section]
        for module in entry["python-modules"]
    }
    package = Path(airflow_provider_dingtalk.__file__).parent
    bases = re.compile(r"^class DingTalk\w+\((?:\w*Operator|_\w*Sensor|BaseHook|\w*Trigger)\)", re.MULTILINE)
    found = {
        ".".join(source.relative_to(package.parent).with_suffix("").parts)
        for source in package.rglob("*.py")
        if bases.search(source.read_text(encoding="utf-8"))
    }
    assert named == found


def test_the_hook_agrees_with_its_connection_type() -> None:
    assert CONNECTION["connection-type"] == DingTalkHook.conn_type == "dingtalk"
    assert CONNECTION["hook-name"] == DingTalkHook.hook_name == "DingTalk"
    assert CONNECTION["hook-class-name"] == f"{DingTalkHook.__module__}.{DingTalkHook.__qualname__}"
    # Airflow makes hooks in this way, for the test of a connection for instance.
    made = DingTalkHook(**{DingTalkHook.conn_name_attr: "my_conn"})  # type: ignore[arg-type]
    assert getattr(made, DingTalkHook.conn_name_attr) == "my_conn"
    assert getattr(DingTalkHook(), DingTalkHook.conn_name_attr) == DingTalkHook.default_conn_name


def extras_read() -> set[str]:
    """Names of extras that the code asks for: ``_text(extra, "…")`` and ``extra.get("…")``."""
    found = set()
    for node in ast.walk(ast.parse(Path(settings.__file__).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="_text"), args=[ast.Name(id="extra"), ast.Constant(value=str(name))]):
                found.add(name)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="extra"), attr="get"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.add(name)
    return found


def test_the_form_has_exactly_the_extras_that_are_read_and_documented() -> None:
    documented = set(re.findall(r"^extra ``(\w+)``", settings.__doc__ or "", re.MULTILINE))
    assert set(FIELDS) == extras_read() - set(settings.RENAMED) == documented == set(settings.EXTRAS)


def test_the_form_says_what_the_settings_take() -> None:
    assert FIELDS["region"]["schema"]["enum"] == ["international", "cn"]
    assert FIELDS["app_type"]["schema"]["enum"] == list(settings.APP_TYPES)
    for name, field in FIELDS.items():
        assert set(field) == {"label", "description", "schema"}, name
        jsonschema.Draft7Validator.check_schema(field["schema"])


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_of_the_form_has_a_name_that_airflow_masks(name: str) -> None:
    """Airflow's REST API and logs hide a value by the name of its extra, and not by the format of its field."""
    assert FIELDS[name]["schema"]["format"] == "password"
    assert redact({name: "s3cret-Sentinel"}) == {name: "***"}
    assert not any(redact({other: "s3cret-Sentinel"}) == {other: "***"} for other in set(FIELDS) - SECRETS)


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"region", "app_type"}))
def test_a_field_of_the_form_may_stay_empty(name: str) -> None:
    jsonschema.validate(None, FIELDS[name]["schema"])


def test_options_of_airflow_cfg_are_those_that_the_code_reads() -> None:
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (settings, api_server, language))
    read = re.findall(r'(?:_(?:listed|option)\(|conf\.get\("dingtalk", )"(\w+)"', source)
    assert set(INFO["config"]["dingtalk"]["options"]) == set(read)


def test_the_installed_entry_point_gives_it() -> None:
    (found,) = [point for point in entry_points(group="apache_airflow_provider") if "dingtalk" in point.value]
    assert found.load()() == INFO
    assert found.dist is not None
    assert re.sub(r"[-_.]+", "-", found.dist.name).lower() == INFO["package-name"]
    assert distribution(NAME).version == airflow_provider_dingtalk.__version__


@cache
def listed(command: str) -> list[dict[str, str]]:
    """Return the output of an ``airflow providers`` command."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", command, "--output", "json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # Log lines may stand before the answer.
    return list(json.loads(done.stdout[done.stdout.index("[{") :]))


def test_airflow_lists_the_provider() -> None:
    (row,) = [row for row in listed("list") if row["package_name"] == NAME]
    assert row["version"] == airflow_provider_dingtalk.__version__
    assert "take them back" in row["description"]


def test_airflow_lists_the_hook() -> None:
    (row,) = [row for row in listed("hooks") if row["connection_type"] == "dingtalk"]
    assert row["package_name"] == NAME
    assert row["class"] == CONNECTION["hook-class-name"]
    assert row["conn_id_attribute_name"] == DingTalkHook.conn_name_attr
    assert row["hook_name"] == "DingTalk"
