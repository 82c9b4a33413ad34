"""Sensors that wait until messages are delivered or read.

Heavy modules are imported inside methods, because the dag-processor imports this file for every DAG file.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_dingtalk.operators.base import CheckedMeta, FullSignature, SkipTemplatingMixin

try:  # version_compat would be one more module to import for every DAG file
    from airflow.sdk.configuration import conf
except ImportError:  # before Airflow 3.2
    from airflow.configuration import conf

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context
    from jinja2 import Environment

    from airflow_provider_dingtalk.client.clock import Clock
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.jobs.wait import Wait
    from airflow_provider_dingtalk.operators import arguments
    from airflow_provider_dingtalk.task.wait_spec import WaitSpec

#: Seconds that Airflow's deferral timeout leaves the trigger for its last poll, in total and for each message.
_TRIGGER_MARGIN = 60.0
_MARGIN_PER_MESSAGE = 0.1
#: Airflow's default ``poke_interval`` in seconds. Without a ``poke_interval`` these sensors use growing gaps.
_AIRFLOWS_INTERVAL = 60.0
#: Conditions that are not templated.
_CONDITIONS = ("send_statuses", "match", "fail_on_unreached")
#: Seconds past the timeout at which the last poll begins, so that Airflow finds the timeout exceeded.
_PAST_END = 0.05


class MessageSensor(SkipTemplatingMixin, BaseSensorOperator, metaclass=CheckedMeta):
    """Base class of the sensors. The conditions are the same in all three modes.

    :param receipts: Receipts of one or of thousands of messages. (templated)
    :param send_statuses: Accepted values of DingTalk's ``sendStatus``; default ``SUCCESS``. Unless it is accepted,
        ``RECALLED`` fails the sensor at once.
    :param min_readers: Minimum number of readers; default 0. (templated)
    :param min_read_share: Minimum share of the recipients who read the message, over 0 and up to 1; default None.
        It needs the number of recipients, which DingTalk reports for one-on-one messages and work notifications.
        (templated)
    :param audience: Number of recipients, if DingTalk does not report it or the caller knows better; default None.
        (templated)
    :param read_by: User ids of people who must have read the message; default None. (templated)
    :param match: ``all`` (default) if every message must meet the conditions, ``any`` if one must. With ``any`` a
        message that can never meet them is ignored; the sensor fails once this applies to all messages.
    :param on_empty: Result for empty receipts, as after a skipped send: ``succeed`` (default) with an empty list,
        ``skip``, or ``fail``.
    :param fail_on_unreached: Fail if a message reached no recipient; default True. DingTalk reports this of work
        notifications in one more call; of one-on-one messages the receipt does.
    :param push_readers: Include the user ids of the readers in the result, an XCom; default False.
    :param poke_interval: Fixed interval between two polls, as seconds or ``timedelta``. Default None: gaps grow
        with the message's age, from 20 s to ``max_poke_interval``, and a day takes at most 39 calls for a message.
    :param max_poke_interval: Longest gap between two polls, as seconds or ``timedelta``; default 7200. It applies
        where gaps grow: by default, or from ``poke_interval`` on with ``exponential_backoff``. Airflow's
        ``max_wait`` does the same.
    :param max_api_calls: Number of API calls after which the wait fails; default 1000. An organisation has 5,000 a
        month.
    :param deferrable: Wait in the triggerer instead of a worker; default Airflow's ``default_deferrable``.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    """

    kind: ClassVar[str]
    key_field: ClassVar[str] = "process_query_key"
    sender_field: ClassVar[str] = "robot_code"
    template_fields: Sequence[str] = ("receipts", "min_readers", "min_read_share", "audience", "read_by")
    ui_color = "#e6f7d9"
    __signature__ = FullSignature()

    def __init__(
        self,
        *,
        receipts: arguments.Receipts | None = None,
        send_statuses: Collection[str] = frozenset({"SUCCESS"}),
        min_readers: arguments.Number = 0,
        min_read_share: arguments.Share | None = None,
        audience: arguments.Number | None = None,
        read_by: arguments.Ids | None = None,
        match: Literal["all", "any"] = "all",
        on_empty: arguments.OnEmpty = "succeed",
        fail_on_unreached: bool = True,
        push_readers: bool = False,
        poke_interval: arguments.Duration | None = None,
        max_poke_interval: arguments.Duration = 7200.0,
        max_api_calls: int = 1000,
        dingtalk_conn_id: str = "dingtalk_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=_AIRFLOWS_INTERVAL if poke_interval is None else poke_interval, **kwargs)
        self.receipts = receipts
        self.send_statuses = send_statuses
        self.min_readers = min_readers
        self.min_read_share = min_read_share
        self.audience = audience
        self.read_by = read_by
        self.match = match
        self.on_empty = on_empty
        self.fail_on_unreached = fail_on_unreached
        self.push_readers = push_readers
        self.is_interval_given = poke_interval is not None
        self.max_poke_interval = max_poke_interval
        self.max_api_calls = max_api_calls
        self.dingtalk_conn_id = dingtalk_conn_id
        self.deferrable = deferrable
        self._is_named = True
        self._wait: Wait | None = None
        self._clock: Clock | None = None

    def check_arguments(self) -> None:
        """Check, while the DAG file is parsed, the arguments that are known then.

        :raises InvalidInputError: If one is invalid, or no message is named.
        """
        from airflow_provider_dingtalk.operators import parse_checks

        parse_checks.check_conn_id(self.dingtalk_conn_id)
        choices = {"on_empty": parse_checks.ON_EMPTY, "push_readers": (False, True)}
        parse_checks.check_choices(vars(self), choices)
        parse_checks.check_polls(self.max_api_calls, self.max_poke_interval)
        given = parse_checks.known(self, self.template_fields)
        parse_checks.check_is_named(given, self.key_field)
        conditions = {name: getattr(self, name) for name in _CONDITIONS}
        parse_checks.check_wait(self.kind, given | conditions, self.key_field)

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render the templates."""
        # An empty XCom renders to None. A key that renders to None is an error, because only receipts may be empty.
        self._is_named = self.receipts is not None
        super().render_template_fields(context, jinja_env)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once all messages that are due."""
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.task.errors import NothingToWaitFor, airflow_errors
        from airflow_provider_dingtalk.task.wait import poll_from_task, result_of_nothing

        with airflow_errors():
            hook = DingTalkHook(self.dingtalk_conn_id)
            try:
                wait = poll_from_task(
                    self, self._wait, lambda: self._wait_spec(hook), hook, context=context, clock=self._clock
                )
            except NothingToWaitFor:
                return PokeReturnValue(is_done=True, xcom_value=result_of_nothing(self.on_empty))
        self._wait = wait
        result = wait.result() if wait and wait.is_met else None
        return PokeReturnValue(is_done=result is not None, xcom_value=result)

    def _get_next_poke_interval(
        self, started_at: dt.datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the seconds until the next poll, due or at the timeout.

        Airflow's own method would poll at a fixed interval.
        """
        left = max(self.timeout - run_duration(), 0.0) + _PAST_END
        due = self._wait.seconds_left if self._wait else _AIRFLOWS_INTERVAL
        return left if due is None else min(max(due, _PAST_END), left)

    def execute(self, context: Context) -> Any:
        """Wait in the worker or in the triggerer.

        :returns: Status of each message as plain JSON.
        :raises AirflowFailException: If an argument is invalid, or the conditions can no longer be met.
        :raises AirflowSensorTimeout: If the conditions are not met within ``timeout``.
        :raises AirflowSkipException: In these cases with ``soft_fail``, and for empty receipts as ``on_empty`` says.
        """
        from airflow_provider_dingtalk.version_compat import AirflowSensorTimeout, AirflowSkipException

        self._wait = None
        if self.deferrable:
            return self._poll_and_defer(context)
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            # Airflow turns a timeout into a skip for ``never_fail`` after a deferral only, so this does it here.
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _poll_and_defer(self, context: Context) -> Any:
        from airflow_provider_dingtalk.task.wait import errors_as_in_poke, wait_progress_for_trigger
        from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger

        # After a crash the triggerer runs the trigger from its first line, so it needs a time, not a duration.
        end = time.time() + self.timeout
        with errors_as_in_poke(self):
            if first := self.poke(context):
                return first.xcom_value
        wait_spec, wait_progress = wait_progress_for_trigger(self, self._wait)
        margin = _TRIGGER_MARGIN + _MARGIN_PER_MESSAGE * len(wait_spec.targets)
        return self.defer(
            trigger=DingTalkMessageTrigger(
                dingtalk_conn_id=self.dingtalk_conn_id,
                wait_spec=wait_spec.to_json(),
                poke_interval=float(self.poke_interval) if self.is_interval_given else None,
                end=end,
                with_readers=self.push_readers,
                wait_progress=wait_progress.to_json(),
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.timeout + margin),
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Return the trigger's result, or raise the error of the other modes."""
        from airflow_provider_dingtalk.task.errors import airflow_errors
        from airflow_provider_dingtalk.task.wait_events import result_of_event

        with airflow_errors():
            return result_of_event(event, timeout=self.timeout)

    def _wait_spec(self, hook: DingTalkHook) -> WaitSpec:
        from airflow_provider_dingtalk.task.wait_spec import wait_spec_of

        key = getattr(self, self.key_field)
        names = ("robot_code", "agent_id", "open_conversation_id")
        sender: dict[str, Any] = {name: getattr(self, name, None) for name in names}
        # The connection's robot or app is read only for a message named by its key: receipts name their sender.
        if key is not None and sender[self.sender_field] is None:
            sender[self.sender_field] = hook.defaults()[self.sender_field]
        wanted: dict[str, Any] = {name: getattr(self, name) for name in (*MessageSensor.template_fields, *_CONDITIONS)}
        return wait_spec_of(kind=self.kind, key=key, is_named=self._is_named, **sender, **wanted)


class RobotMessageSensor(MessageSensor):
    """Base class of the sensors for robot messages.

    :param process_query_key: Message key, instead of or in addition to receipts. Also a card's ``carrierId``, or
        the ``open_msg_id`` of a scene group's message, see docs/message_keys.md. (templated)
    :param robot_code: Code of the robot that sent it; default the connection's. (templated)
    """

    template_fields: Sequence[str] = ("process_query_key", "robot_code", *MessageSensor.template_fields)

    def __init__(
        self,
        *,
        process_query_key: arguments.Text | None = None,
        robot_code: arguments.Text | None = None,
        **kwargs: Unpack[arguments.SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.process_query_key = process_query_key
        self.robot_code = robot_code


class _ConversationMessageSensor(RobotMessageSensor):
    """Base class of the sensors for robot messages in conversations."""

    template_fields: Sequence[str] = (*RobotMessageSensor.template_fields, "open_conversation_id")

    def __init__(
        self, *, open_conversation_id: arguments.Text | None = None, **kwargs: Unpack[arguments.RobotSensorArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id


class DingTalkGroupMessageSensor(_ConversationMessageSensor):
    """Sensor that waits until a group message is delivered or read.

    https://open.dingtalk.com/document/development/chatbot-queries-the-read-status-of-a-message

    :param open_conversation_id: Id of the group. DingTalk's page calls it optional, so with ``process_query_key``
        the key alone may be enough (documented, not observed). (templated)

    All other parameters are those of :class:`RobotMessageSensor` and :class:`MessageSensor`.
    """

    kind = "group"


class DingTalkPrivateChatMessageSensor(_ConversationMessageSensor):
    """Sensor that waits until a private-chat message is delivered or read.

    https://open.dingtalk.com/document/development/query-the-read-list-of-robot-messages-in-person-to-person-conversations

    :param open_conversation_id: Id of the chat of two people. DingTalk's page calls it optional, so with
        ``process_query_key`` the key alone may be enough (documented, not observed). (templated)

    All other parameters are those of :class:`RobotMessageSensor` and :class:`MessageSensor`.
    """

    kind = "private_chat"


class DingTalkOTOMessageSensor(RobotMessageSensor):
    """Sensor that waits until a one-on-one message is delivered or read.

    DingTalk reports the status for 24 hours.

    https://open.dingtalk.com/document/development/chatbot-batch-query-the-read-status-of-messages

    All parameters are those of :class:`RobotMessageSensor` and :class:`MessageSensor`.
    """

    kind = "oto"


class DingTalkWorkNotificationSensor(MessageSensor):
    """Sensor that waits until a work notification is sent or read.

    DingTalk reports the status for 24 hours, the readers for up to 100 recipients, and never a recall.

    https://open.dingtalk.com/document/development/obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session
    https://open.dingtalk.com/document/development/gets-the-result-of-sending-messages-asynchronously-to-the-enterprise

    :param msg_task_id: Key of a work notification, instead of or in addition to receipts. (templated)
    :param agent_id: Agent id of the app that sent it; default the connection's. (templated)

    All other parameters are those of :class:`MessageSensor`.
    """

    kind = "work_notification"
    key_field = "msg_task_id"
    sender_field = "agent_id"
    template_fields: Sequence[str] = ("msg_task_id", "agent_id", *MessageSensor.template_fields)

    def __init__(
        self,
        *,
        msg_task_id: arguments.Number | None = None,
        agent_id: arguments.Number | None = None,
        **kwargs: Unpack[arguments.SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.msg_task_id = msg_task_id
        self.agent_id = agent_id
