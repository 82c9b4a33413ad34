"""Constructors of operators and sensors: Airflow's rules, and their documentation."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_dingtalk
from airflow_provider_dingtalk import operators, sensors
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind

PACKAGE = Path(airflow_provider_dingtalk.__file__).parent
SOURCES = [*sorted((PACKAGE / "operators").glob("*.py")), PACKAGE / "sensors.py"]
OPERATORS: list[type[Any]] = [getattr(operators, name) for name in operators.__all__ if name.startswith("DingTalk")]
SENSORS: list[type[Any]] = [
    found for name, found in vars(sensors).items() if name.startswith("DingTalk") and isinstance(found, type)
]
ALL = OPERATORS + SENSORS


def constructors() -> dict[str, ast.FunctionDef]:
    """``__init__`` by class, as written."""
    return {
        found.name: method
        for source in SOURCES
        for found in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(found, ast.ClassDef)
        for method in found.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
    }


def own_classes(cls: type[Any]) -> list[type[Any]]:
    """Return a class and those of its bases that are ours."""
    return [base for base in cls.__mro__ if base.__module__.startswith("airflow_provider_dingtalk")]


def assigned_plainly(method: ast.FunctionDef) -> list[str]:
    """Return the names for which the constructor has ``self.name = name``."""
    found = []
    for statement in method.body:
        match statement:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)], value=ast.Name(id=name)
            ) if attribute == name:
                found.append(name)
    return found


def read(method: ast.FunctionDef) -> list[str]:
    """Return the names that the constructor's body reads, with repetitions."""
    return [
        node.id
        for statement in method.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    ]


def test_the_lists_of_operators_and_sensors_are_whole() -> None:
    classes = {
        found.name
        for source in SOURCES
        for found in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(found, ast.ClassDef) and found.name.startswith("DingTalk") and not found.name.endswith("Link")
    }
    assert {cls.__name__ for cls in ALL} == classes
    with_status = [kind for kind in Kind if message_type(kind).has_status]
    assert len(ALL) == 2 * len(Kind) + 2 + len(with_status), "send and recall of each kind, two of any kinds, sensors"


@pytest.mark.parametrize("cls", ALL)
def test_each_template_field_is_assigned_as_it_came_and_read_nowhere(cls: type[Any]) -> None:
    """Templates are rendered after the constructor: it must neither check nor change them."""
    written = constructors()
    methods = [written[base.__name__] for base in own_classes(cls) if base.__name__ in written]
    for field in cls.template_fields:
        assert sum(assigned_plainly(method).count(field) for method in methods) == 1, field
        assert sum(read(method).count(field) for method in methods) == 1, field


@pytest.mark.parametrize("cls", ALL)
def test_template_fields_name_no_connection_and_are_constants(cls: type[Any]) -> None:
    assert isinstance(cls.template_fields, tuple)
    assert len(set(cls.template_fields)) == len(cls.template_fields)
    for field in cls.template_fields:
        assert not re.search(r"conn|host|secret|password|token", field), field
    assert set(cls.template_fields_renderers) <= set(cls.template_fields)


def parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class's constructors, only ours."""
    found: dict[str, inspect.Parameter] = {}
    for base in own_classes(cls):
        if "__init__" in vars(base):
            found = {**inspect.signature(base.__init__).parameters, **found}
    return {name: parameter for name, parameter in found.items() if name not in ("self", "kwargs", "args")}


def documentation(cls: type[Any]) -> dict[str, str]:
    """Return the documentation of each parameter of a class and its bases."""
    texts = [inspect.cleandoc(base.__doc__ or "") for base in reversed(own_classes(cls))]
    pieces = (
        piece for text in texts for piece in re.findall(r":param (\w+):(.*?)(?=\n:param|\n\n|\Z)", text, re.DOTALL)
    )
    return {name: " ".join(said.split()) for name, said in pieces}


@pytest.mark.parametrize("cls", ALL)
def test_the_documented_parameters_are_those_of_the_signature(cls: type[Any]) -> None:
    assert set(documentation(cls)) == set(parameters(cls))


@pytest.mark.parametrize("cls", ALL)
def test_what_is_called_templated_is_a_template_field(cls: type[Any]) -> None:
    templated = {name for name, said in documentation(cls).items() if said.endswith("(templated)")}
    assert templated == set(cls.template_fields)


@pytest.mark.parametrize("cls", ALL)
def test_arguments_go_by_name_only(cls: type[Any]) -> None:
    assert {parameter.kind for parameter in parameters(cls).values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("cls", ALL)
def test_the_docstring_names_dingtalks_page(cls: type[Any]) -> None:
    if not issubclass(cls, operators.DingTalkRollbackOperator):
        assert "https://open.dingtalk.com/document/development/" in (cls.__doc__ or "")


@pytest.mark.parametrize("cls", ALL)
def test_the_constructor_takes_anything_and_keeps_it(cls: type[Any]) -> None:
    """Values may still be templates and XComs, so the constructor must accept anything."""
    odd = object()
    built = cls(task_id="t", **dict.fromkeys(cls.template_fields, odd))
    assert all(getattr(built, field) is odd for field in cls.template_fields)


@pytest.mark.parametrize("cls", ALL)
def test_partial_and_expand_take_every_template_field(cls: type[Any]) -> None:
    from airflow.sdk import DAG

    first, *others = cls.template_fields
    with DAG("mapped", schedule=None):
        mapped = cls.partial(task_id="t", **dict.fromkeys(others, "x")).expand(**{first: ["a", "b"]})
    assert mapped.operator_class is cls
