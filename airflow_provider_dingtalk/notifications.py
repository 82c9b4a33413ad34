"""Notifier for failed tasks, failed runs and missed deadlines, on DingTalk.

Heavy modules are imported inside methods, because the dag-processor imports this file for every DAG file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context
    from jinja2 import Environment

    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.jobs.send import Send
    from airflow_provider_dingtalk.task.registry import SendRegistry

log = logging.getLogger(__name__)

_ROBOT_ARGUMENTS = ("robot_code", "text", "title", "markdown", "msg_key", "msg_param")
#: Arguments of ``to`` by kind; the first is required, except of work notifications.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "group": ("open_conversation_id", "cool_app_code", *_ROBOT_ARGUMENTS),
    "private_chat": ("open_conversation_id", "cool_app_code", *_ROBOT_ARGUMENTS),
    "oto": ("user_ids", "one_receipt_per_user", *_ROBOT_ARGUMENTS),
    "work_notification": ("user_ids", "dept_ids", "to_all_user", "agent_id", "text", "title", "markdown", "msg"),
    "ding": ("user_ids", "text", "remind_type", "call_voice", "robot_code", "content"),
}
_CONTENT = ("text", "title", "markdown", "content", "msg_key", "msg_param", "msg")
#: Longest run of a notifier in seconds. Airflow ends callbacks 20 seconds after the task.
DEADLINE = 10.0


class DingTalkNotifier(BaseNotifier):
    """Notifier for task, DAG and deadline callbacks.

    It ends within 10 seconds. Airflow logs its failure, which never hides the task's own error.

    Texts over DingTalk's limit are shortened, and a mark says so. If the content is invalid for another reason, or a
    template in it fails, the default text goes out and names the reason.

    The receipt is in the log, and registered with the task where the task's own process runs the callback; the
    DAG processor and deadlines run theirs elsewhere. Airflow deletes the XComs of an ``on_retry_callback`` when the
    next try starts. The notifier itself never recalls, because callbacks do not run when a worker is killed.

    :param kind: ``group`` (default), ``oto``, ``private_chat``, ``work_notification`` or ``ding``.
    :param text: Plain text. The default names DAG, task, run and try, the link to the log, and the error in one line
        without the secrets that Airflow masks, as far as the callback knows them. (templated)
    :param to: Recipients as arguments of the kind, such as ``{"open_conversation_id": "cid…"}`` or
        ``{"user_ids": […]}``. It takes other arguments of the kind's send operator too, such as ``markdown`` instead
        of ``text``. (templated)
    :param keep_on_rollback: Keep the message in the chat when the task's rollback context recalls its messages.
        Default None: keep it only if the callback reports a failure.
    :param timeout: Timeout in seconds; default and maximum 10. Calls in flight are then cut off.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param context: Context to render the templates with; default None, which means the callback's.
    :raises InvalidInputError: If ``kind`` is unknown, ``to`` has not the arguments of the kind, or a value that no
        template decides is invalid.
    """

    template_fields: Sequence[str] = ("text", "to")

    def __init__(
        self,
        *,
        to: dict[str, Any],
        kind: Literal["group", "oto", "private_chat", "work_notification", "ding"] = "group",
        text: str | None = None,
        keep_on_rollback: bool | None = None,
        timeout: float = DEADLINE,
        dingtalk_conn_id: str = "dingtalk_default",
        context: Context | None = None,
    ) -> None:
        super().__init__(context)
        self.to = to
        self.kind = kind
        self.text = text
        self.keep_on_rollback = keep_on_rollback
        self.timeout = timeout
        self.dingtalk_conn_id = dingtalk_conn_id
        #: Arguments with their templates rendered, and the error of a template of the content; None before a callback.
        self._rendered: dict[str, Any] | None = None
        self._not_rendered: Exception | None = None
        _check(kind, to, timeout, dingtalk_conn_id)

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render the templates for one callback; the default text tells of content that cannot be rendered."""
        env = jinja_env or self.get_template_env(dag=context.get("dag"))
        others = [name for name in self.template_fields if name not in DingTalkNotifier.template_fields]
        self._do_render_template_fields(self, others, context, env, set())
        given, self._not_rendered = {"text": self.text, **self.to}, None
        receivers = {name: value for name, value in given.items() if name not in _CONTENT}
        rendered: dict[str, Any] = self.render_template(receivers, context, env)
        try:
            content = {name: given[name] for name in given.keys() - receivers.keys()}
            rendered |= self.render_template(content, context, env)
        except Exception as error:
            self._not_rendered = error
        # The templates stay as they are, because the next callback of this process has another context.
        self._rendered = rendered

    def notify(self, context: Context) -> None:
        """Send the message from synchronous code.

        :raises DingTalkError: If the message was not sent, or its send is in doubt.
        """
        from airflow_provider_dingtalk.hooks import DingTalkHook

        hook = DingTalkHook(self.dingtalk_conn_id)
        job, registry = self._job(hook, context)
        try:
            hook.run(lambda client: job.run_within(client, min(self.timeout, DEADLINE)), job.stop)
        finally:
            if registry is not None:
                registry.end_interrupted(job)
        self._finish(job)

    async def async_notify(self, context: Context) -> None:
        """Send the message from an event loop.

        :raises DingTalkError: If the message was not sent, or its send is in doubt.
        """
        from airflow_provider_dingtalk.hooks import DingTalkHook

        hook = DingTalkHook(self.dingtalk_conn_id)
        client = await hook.aclient()
        job, registry = self._job(hook, context)
        try:
            await job.run_within(client, min(self.timeout, DEADLINE))
        finally:
            if registry is not None:
                await asyncio.to_thread(registry.end_interrupted, job)
        self._finish(job)

    def _job(self, hook: DingTalkHook, context: Context) -> tuple[Send, SendRegistry | None]:
        from airflow_provider_dingtalk.jobs.send import Send
        from airflow_provider_dingtalk.task.running_registry import registry_of_callback

        send_requests = hook.send_requests(self.kind, **self._arguments(context))
        registry = registry_of_callback(context)
        if registry is None:
            return Send(send_requests), None
        # Airflow passes an exception to callbacks of a failure and of a retry only, so it tells them apart.
        keep = self.keep_on_rollback
        stays = context.get("exception") is not None if keep is None else keep
        return (registry.alert_job if stays else registry.callback_job)(send_requests), registry

    def _arguments(self, context: Context) -> dict[str, Any]:
        """Return the arguments of the send, with content that DingTalk takes."""
        from airflow_provider_dingtalk.exceptions import InvalidInputError
        from airflow_provider_dingtalk.language import choose
        from airflow_provider_dingtalk.messages.alert import fit
        from airflow_provider_dingtalk.operators.parse_checks import FLAGS
        from airflow_provider_dingtalk.task.arguments import parse_flag
        from airflow_provider_dingtalk.task.callback_summary import callback_summary, labelled, one_line

        given = {"text": self.text, **self.to} if self._rendered is None else dict(self._rendered)
        content = {name: given.pop(name) for name in _CONTENT if name in given and given[name] not in (None, "")}
        receivers = {name: value for name, value in given.items() if name not in _CONTENT}
        receivers |= {name: parse_flag(receivers[name], name) for name in FLAGS if receivers.get(name) is not None}
        try:
            if self._not_rendered:
                raise InvalidInputError("template", f"cannot be rendered: {one_line(self._not_rendered)}")
            return receivers | fit(self.kind, content or {"text": callback_summary(context)})
        except InvalidInputError as error:
            told = choose(
                "The notifier's message is invalid, so it sends the default text", "通知内容无效，改发默认文本"
            )
            log.error("%s: %s", told, error)
            return receivers | fit(self.kind, {"text": f"{callback_summary(context)}\n{labelled('Notifier', error)}"})

    def _finish(self, job: Send) -> None:
        from airflow_provider_dingtalk.language import choose

        for receipt in job.receipts:
            log.info("%s %s", choose("Notified; receipt", "已通知；回执"), receipt.to_json())
        job.raise_if_incomplete()


def _check(kind: Any, to: Any, timeout: Any, conn_id: Any) -> None:
    """Check the arguments that no template decides."""
    from airflow_provider_dingtalk.operators import parse_checks

    problem = problem_of(kind, to)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        problem = problem or ("timeout", "must be a number of seconds, more than 0")
    if problem:
        from airflow_provider_dingtalk.exceptions import InvalidInputError

        raise InvalidInputError(*problem)
    parse_checks.check_conn_id(conn_id)
    names = ARGUMENTS[kind]
    receivers = {name: to.get(name) for name in names if name not in _CONTENT}
    parse_checks.check_send_request(kind, names, parse_checks.known_of(receivers))


def problem_of(kind: Any, to: Any) -> tuple[str, str] | None:
    """Return the argument that is wrong, and how; a notifier must not fail when it is needed."""
    arguments = ARGUMENTS.get(kind if isinstance(kind, str) else "")
    if arguments is None:
        return "kind", f"is {str(kind)[:40]!r}; use one of {', '.join(ARGUMENTS)}"
    if not isinstance(to, Mapping):
        return "to", f"is {str(to)[:40]!r}; use a dict, such as {{{arguments[0]!r}: …}}"
    if unknown := [name for name in to if name not in arguments]:
        return f"to[{str(unknown[0])[:40]!r}]", f"is not an argument of kind {kind}; use some of {', '.join(arguments)}"
    receivers = arguments[:3] if kind == "work_notification" else arguments[:1]
    if not to.keys() & set(receivers):
        return "to", f"lacks the receivers; give {' or '.join(receivers)}"
    return None


send_dingtalk_notification = DingTalkNotifier
