"""Types of the arguments of operators and sensors, for type checkers and editors; not imported at run time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Required, TypeAlias, TypedDict

from airflow.sdk import DAG, Context, TaskGroup, XComArg

#: Templated arguments. Each may be a text with a template, or an XCom.
Text: TypeAlias = str | XComArg
Flag: TypeAlias = bool | str | XComArg
Share: TypeAlias = float | str | XComArg
Moment: TypeAlias = datetime | str | XComArg
Age: TypeAlias = timedelta | float | str | XComArg
Json: TypeAlias = Mapping[str, Any] | str | XComArg
Number: TypeAlias = int | str | XComArg
Ids: TypeAlias = Sequence[str] | str | XComArg
NumericIds: TypeAlias = Sequence[str | int] | str | int | XComArg
Receipts: TypeAlias = Mapping[str, Any] | Sequence[Any] | str | XComArg
#: Arguments without templates.
Duration: TypeAlias = timedelta | float
OnEmpty: TypeAlias = Literal["succeed", "skip", "fail"]
Callback: TypeAlias = Callable[[Context], Any] | list[Callable[[Context], Any]]


class TaskArguments(TypedDict, total=False):
    """Arguments of all operators and sensors except ``task_id``; the others are those of Airflow 3.1 to 3.3."""

    dingtalk_conn_id: str
    owner: str
    email: str | Sequence[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retries: int | None
    retry_delay: Duration
    retry_exponential_backoff: float
    max_retry_delay: Duration | None
    retry_policy: Any
    start_date: datetime | None
    end_date: datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    dag: DAG | None
    params: MutableMapping[str, Any] | None
    default_args: dict[str, Any] | None
    priority_weight: int
    weight_rule: Any
    queue: str
    pool: str | None
    pool_slots: int
    sla: timedelta | None
    execution_timeout: timedelta | None
    on_execute_callback: Callback | None
    on_failure_callback: Callback | None
    on_success_callback: Callback | None
    on_retry_callback: Callback | None
    on_skipped_callback: Callback | None
    pre_execute: Callable[[Context], None] | None
    post_execute: Callable[[Context, Any], None] | None
    trigger_rule: str
    resources: dict[str, Any] | None
    run_as_user: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    do_xcom_push: bool
    multiple_outputs: bool
    inlets: Any
    outlets: Any
    task_group: TaskGroup | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None
    task_display_name: str | None
    logger_name: str | None
    allow_nested_operators: bool
    render_template_as_native_obj: bool | None


class OperatorArguments(TaskArguments, total=False):
    """Arguments of all operators and sensors."""

    task_id: Required[str]


class SendArguments(OperatorArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`."""

    fail_on_dropped: bool
    fail_on_unreached: bool
    fail_on_refused: bool
    on_unknown_send: Literal["fail", "skip", "resend"]
    on_cleared_send: Literal["fail", "resend", "keep"]
    allow_resend: bool


class RobotSendArguments(SendArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.operators.base.RobotSendOperator`."""

    robot_code: Text | None
    text: Text | None
    title: Text | None
    markdown: Text | None
    msg_key: Text | None
    msg_param: Json | None


class RecallArguments(OperatorArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.operators.base.RecallOperator`."""

    receipts: Receipts | None
    fail_on: Collection[str]
    on_empty: OnEmpty


class RobotRecallArguments(RecallArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.operators.base.RecallByRobotOperator`."""

    process_query_keys: Ids | None
    robot_code: Text | None


class RollbackFilterArguments(TaskArguments, total=False):
    """Arguments that rollbacks of all forms share."""

    on_empty: OnEmpty
    dry_run: Flag
    max_messages: Number | None
    only_unread: Flag
    max_readers: Number | None
    older_than: Age | None
    newer_than: Age | None
    with_readers: Flag


class RollbackOptions(RollbackFilterArguments, total=False):
    """Options of :func:`~airflow_provider_dingtalk.operators.rollback_context.rollback_on_failure`."""

    fail_on: Collection[str]


class SweepArguments(RollbackFilterArguments, total=False):
    """Arguments of a sweep besides ``dag_ids`` and ``fail_on``."""

    task_id: Required[str]
    rollbacks: Sequence[str]


class SensorArguments(OperatorArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.sensors.MessageSensor` and of Airflow's sensors."""

    receipts: Receipts | None
    send_statuses: Collection[str]
    min_readers: Number
    min_read_share: Share | None
    audience: Number | None
    read_by: Ids | None
    match: Literal["all", "any"]
    on_empty: OnEmpty
    fail_on_unreached: bool
    push_readers: bool
    poke_interval: Duration | None
    max_poke_interval: Duration
    max_api_calls: int
    deferrable: bool
    timeout: Duration | None
    soft_fail: bool
    mode: Literal["poke", "reschedule"]
    exponential_backoff: bool
    max_wait: Duration | None
    silent_fail: bool
    never_fail: bool


class RobotSensorArguments(SensorArguments, total=False):
    """Arguments of :class:`~airflow_provider_dingtalk.sensors.RobotMessageSensor`."""

    process_query_key: Text | None
    robot_code: Text | None
