"""Types of arguments: as in the constructors; tests/typing has what mypy accepts and refuses."""

from __future__ import annotations

import inspect
from typing import Any, ForwardRef

import pytest
from airflow.sdk import BaseOperator, BaseSensorOperator

from airflow_provider_dingtalk import operators, sensors
from airflow_provider_dingtalk.operators import arguments, base

OPERATORS: list[type[Any]] = [getattr(operators, name) for name in operators.__all__ if name.startswith("DingTalk")]
SENSORS: list[type[Any]] = [found for name, found in vars(sensors).items() if name.startswith("DingTalk")]


def of_airflow(cls: type[Any]) -> set[str]:
    return inspect.signature(cls.__init__).parameters.keys() - {"self", "kwargs"}


def typed(arguments_of: type[Any]) -> dict[str, str]:
    """Return the annotations of a TypedDict, as written."""
    return {
        name: found.__forward_arg__ if isinstance(found, ForwardRef) else found
        for name, found in arguments_of.__annotations__.items()
    }


def taken_by(cls: type[Any]) -> dict[str, str]:
    """Return the annotations of a class's arguments, those of its bases included."""
    listed = inspect.signature(cls).parameters
    return {name: str(parameter.annotation).replace("arguments.", "") for name, parameter in listed.items()}


def test_the_arguments_of_airflow_are_all_there() -> None:
    assert of_airflow(BaseOperator) <= typed(arguments.OperatorArguments).keys()
    assert of_airflow(BaseSensorOperator) <= typed(arguments.SensorArguments).keys()


@pytest.mark.parametrize(
    ("cls", "arguments_of"),
    [
        (base.MessageOperator, arguments.OperatorArguments),
        (base.SendOperator, arguments.SendArguments),
        (base.RobotSendOperator, arguments.RobotSendArguments),
        (base.RecallOperator, arguments.RecallArguments),
        (base.RecallByRobotOperator, arguments.RobotRecallArguments),
        (sensors.MessageSensor, arguments.SensorArguments),
        (sensors.RobotMessageSensor, arguments.RobotSensorArguments),
    ],
)
def test_the_arguments_of_a_base_class_are_typed_as_its_constructors_take_them(
    cls: type[Any], arguments_of: type[Any]
) -> None:
    known = typed(arguments_of)
    taken = taken_by(cls)
    of_others = of_airflow(BaseOperator) | of_airflow(BaseSensorOperator) - {"poke_interval"}
    ours = {name: taken[name] for name in taken.keys() - of_others}
    assert taken.keys() <= known.keys()
    assert {name: known[name] for name in ours} == ours


def test_the_arguments_of_a_rollback_are_typed_as_its_constructor_takes_them() -> None:
    taken = taken_by(operators.DingTalkRollbackOperator)
    for arguments_of in (arguments.RollbackOptions, arguments.SweepArguments):
        names = typed(arguments_of).keys() - typed(arguments.OperatorArguments).keys()
        ours = {name: typed(arguments_of)[name] for name in names}
        assert ours
        assert {name: taken[name] for name in ours} == ours


@pytest.mark.parametrize("cls", OPERATORS + SENSORS)
def test_a_signature_lists_all_arguments_its_own_first(cls: type[Any]) -> None:
    listed = inspect.signature(cls).parameters
    own = [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "kwargs")]
    assert list(listed)[: len(own)] == own
    assert {"dingtalk_conn_id", *cls.template_fields, *of_airflow(BaseOperator)} <= listed.keys()
    assert {parameter.kind for parameter in listed.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert listed["dingtalk_conn_id"].default == "dingtalk_default"


@pytest.mark.parametrize("cls", OPERATORS + SENSORS)
def test_an_argument_that_no_constructor_knows_is_refused(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="no_such_argument"):
        cls(task_id="t", no_such_argument=1, **dict.fromkeys(cls.template_fields, "x"))
