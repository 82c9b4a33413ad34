"""Sensors: wait until messages are delivered, or read.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.watching import Watch

#: Seconds that Airflow's own timer of a deferral leaves the trigger to say itself that time is up.
_TRIGGER_MARGIN = 60.0


class _MessageSensor(BaseSensorOperator):
    """What the sensors share. The same rule decides in all three modes.

    :param process_query_key: Key of the message. (templated)
    :param robot_code: The robot that sent it; by default the connection's. (templated)
    :param receipts: Receipts of messages, instead of a key or beside it: all must meet the conditions. (templated)
    :param send_statuses: DingTalk's ``sendStatus`` must be one of these; ``RECALLED`` when it is not among them
        fails at once.
    :param min_readers: At least so many people have read it. (templated)
    :param read_by: These people, by user id, have read it. (templated)
    :param push_readers: Whether the result names the readers: ids of people, in an XCom.
    :param deferrable: Wait in the triggerer instead of holding a worker.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    """

    kind: ClassVar[str]
    ui_color = "#e6f7d9"

    def __init__(
        self,
        *,
        process_query_key: Any = None,
        robot_code: str | None = None,
        receipts: Any = None,
        send_statuses: Collection[str] = frozenset({"SUCCESS"}),
        min_readers: int | str = 0,
        read_by: Any = None,
        push_readers: bool = False,
        dingtalk_conn_id: str = "dingtalk_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.process_query_key = process_query_key
        self.robot_code = robot_code
        self.receipts = receipts
        self.send_statuses = send_statuses
        self.min_readers = min_readers
        self.read_by = read_by
        self.push_readers = push_readers
        self.dingtalk_conn_id = dingtalk_conn_id
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        from airflow_provider_dingtalk.execution import airflow_errors
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.watching import look

        with airflow_errors():
            hook = DingTalkHook(self.dingtalk_conn_id)
            watch = self._watch(hook)
            seen = hook.run(lambda client: look(client, watch))
            self.log.info("%s", seen.line())
            return PokeReturnValue(is_done=seen.is_met, xcom_value=seen.result(with_readers=self.push_readers))

    def execute(self, context: Context) -> Any:
        """Wait, in the worker or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger

        first = self._look_like_poke(context)
        if first.is_done:
            return first.xcom_value
        watch = self._watch(DingTalkHook(self.dingtalk_conn_id))
        # A moment and not a length of time: after a crash the triggerer starts the trigger from its first line.
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.timeout)
        return self.defer(
            trigger=DingTalkMessageTrigger(
                dingtalk_conn_id=self.dingtalk_conn_id,
                watch=watch.to_json(),
                poke_interval=float(self.poke_interval),
                end=end.timestamp(),
                with_readers=self.push_readers,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.timeout + _TRIGGER_MARGIN),
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Take the trigger's word: the result, or the error that the other modes would have raised."""
        from airflow_provider_dingtalk.execution import airflow_errors
        from airflow_provider_dingtalk.watching import result_of_event

        with airflow_errors():
            return result_of_event(event, timeout=self.timeout)

    def _look_like_poke(self, context: Context) -> PokeReturnValue:
        """The first look, with what the base class makes of its errors."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        try:
            return self.poke(context)
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _watch(self, hook: DingTalkHook) -> Watch:
        from airflow_provider_dingtalk.watching import watch_of

        return watch_of(
            kind=self.kind,
            key=self.process_query_key,
            receipts=self.receipts,
            robot_code=self.robot_code or hook.defaults()["robot_code"],
            open_conversation_id=getattr(self, "open_conversation_id", None),
            send_statuses=self.send_statuses,
            min_readers=self.min_readers,
            read_by=self.read_by,
        )


class _ConversationMessageSensor(_MessageSensor):
    """Watches a robot's message in one conversation."""

    template_fields: Sequence[str] = (
        "process_query_key",
        "open_conversation_id",
        "robot_code",
        "receipts",
        "min_readers",
        "read_by",
    )

    def __init__(self, *, open_conversation_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id


class DingTalkGroupMessageSensor(_ConversationMessageSensor):
    """Wait until a group message is delivered, or read by enough people.

    https://open.dingtalk.com/document/development/chatbot-queries-the-read-status-of-a-message

    :param open_conversation_id: The group; needed with ``process_query_key``. (templated)

    All other parameters are those of :class:`_MessageSensor`.
    """

    kind = "group"


class DingTalkPrivateChatMessageSensor(_ConversationMessageSensor):
    """Wait until a robot's message in a chat of two people is delivered, or read.

    https://open.dingtalk.com/document/development/query-the-read-list-of-robot-messages-in-person-to-person-conversations

    :param open_conversation_id: The chat; needed with ``process_query_key``. (templated)

    All other parameters are those of :class:`_MessageSensor`.
    """

    kind = "private_chat"


class DingTalkOTOMessageSensor(_MessageSensor):
    """Wait until a robot's message to people is delivered, or read by enough of them. DingTalk tells for 24 hours.

    https://open.dingtalk.com/document/development/chatbot-batch-query-the-read-status-of-messages

    All parameters are those of :class:`_MessageSensor`.
    """

    kind = "oto"
    template_fields: Sequence[str] = ("process_query_key", "robot_code", "receipts", "min_readers", "read_by")
