"""Airflow hook for DingTalk, with sync and async methods on one core."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import msgspec
from airflow.sdk import BaseHook

from airflow_provider_dingtalk.client.content import plain
from airflow_provider_dingtalk.client.endpoints import Idempotency
from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.connection.cache import SharedConnection
from airflow_provider_dingtalk.connection.settings import Settings, no_connection, raise_if_error, read_settings
from airflow_provider_dingtalk.exceptions import AuthenticationError, ConfigurationError, DingTalkError
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.jobs.status_reader import Clients, StatusReader
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.conditions import MessageStatus
from airflow_provider_dingtalk.messages.message_types import message_type, send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.task import send as in_task
from airflow_provider_dingtalk.task.api_server import ApiServer
from airflow_provider_dingtalk.task.arguments import parse_receipts
from airflow_provider_dingtalk.task.running_registry import register_recalled
from airflow_provider_dingtalk.version_compat import (
    AirflowNotFoundException,
    aget_connection,
    amask_secret,
    api_server_has_connection,
    call_from_airflow_loop,
    call_supervisor,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_dingtalk.client.client import DingTalkClient
    from airflow_provider_dingtalk.client.endpoints import Endpoint

T = TypeVar("T")


class DingTalkHook(BaseHook):
    """Airflow hook to send, poll and recall DingTalk messages.

    Each message method has a sync and an async form: ``recall()`` for sync code, ``arecall()`` for an event loop
    (an ``async`` task, a trigger). :mod:`airflow_provider_dingtalk.connection.settings` documents the fields of a
    connection.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param robot_code: Robot to use instead of the connection's.
    :param agent_id: App for work notifications, instead of the connection's.
    """

    conn_name_attr = "dingtalk_conn_id"
    default_conn_name = "dingtalk_default"
    conn_type = "dingtalk"
    hook_name = "DingTalk"

    def __init__(
        self,
        dingtalk_conn_id: str = default_conn_name,
        *,
        robot_code: str | None = None,
        agent_id: str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Receipts name the connection, and their JSON takes no instance of a subclass of str.
        self.dingtalk_conn_id = plain(dingtalk_conn_id) if isinstance(dingtalk_conn_id, str) else dingtalk_conn_id
        self._robot_code = robot_code
        self._agent_id = agent_id
        self._settings: Settings | None = None
        self._api_server = ApiServer()

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process looks the connection up again, so that no secret is part of a pickle.
        return {**self.__dict__, "_settings": None}

    def settings(self) -> Settings:
        """Return the connection's settings, looked up once.

        :raises ConfigurationError: If the connection is missing or invalid.
        """
        if self._settings is None:
            try:
                found = read_settings(self._api_server.call(self._look_up))
            except Exception as error:
                found = no_connection(self.dingtalk_conn_id, error)
            self._settings = raise_if_error(found)
        return self._settings

    async def asettings(self) -> Settings:
        """Return the connection's settings, looked up once.

        :raises ConfigurationError: If the connection is missing or invalid.
        """
        if self._settings is None:
            try:
                found = read_settings(await self._api_server.acall(self._alook_up))
            except Exception as error:
                found = no_connection(self.dingtalk_conn_id, error)
            self._settings = raise_if_error(found)
        return self._settings

    def _look_up(self) -> Connection:
        try:
            return self.get_connection(self.dingtalk_conn_id)
        except AirflowNotFoundException:
            # In an outage this raises the error that the look-up hides; after it, the connection may be there.
            if not api_server_has_connection(self.dingtalk_conn_id):
                raise
        return self.get_connection(self.dingtalk_conn_id)

    async def _alook_up(self) -> Connection:
        try:
            return await aget_connection(self.dingtalk_conn_id)
        except AirflowNotFoundException:
            if not await call_from_airflow_loop(api_server_has_connection, self.dingtalk_conn_id):
                raise
        return await aget_connection(self.dingtalk_conn_id)

    async def aclient(self, shared: SharedConnection | None = None) -> DingTalkClient:
        """Return the client of this connection on the running event loop.

        :param shared: Handle to the cached connection, for triggers; default one look-up per hook.
        :raises ConfigurationError: If the connection is missing or invalid.
        """
        settings = await (shared.settings() if shared else self.asettings())
        return event_loop.client_for(settings, _mask_on_loop, call_from_airflow_loop)

    @classmethod
    def shared_connection(cls, dingtalk_conn_id: str) -> SharedConnection:
        """Return a handle to a cached connection.

        The trigger that holds it releases it at its end.
        """
        # A hook keeps the settings that it found, so each look-up uses a new hook.
        return SharedConnection(dingtalk_conn_id, lambda: cls(dingtalk_conn_id).asettings())

    def defaults(self) -> dict[str, str | None]:
        """Return ``robot_code`` and ``agent_id`` of the hook, or else of the connection."""
        settings = self.settings()
        return {
            "robot_code": self._robot_code or settings.robot_code,
            "agent_id": str(self._agent_id) if self._agent_id else settings.agent_id,
        }

    def run(self, work: Callable[[DingTalkClient], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
        """Run async work with the client, from sync code.

        :param stop: Called after an interruption of this thread; tells the work to start no further calls.
        """
        # Only the task's main thread may send requests to Airflow's supervisor, so the connection is read here.
        self.settings()
        return event_loop.run(lambda: work(self.client_on_loop()), stop)

    def client_on_loop(self) -> DingTalkClient:
        """Return the client on the package's event loop.

        Call :meth:`settings` before, because only the task's main thread may read the connection.
        """
        return event_loop.client_for(self.settings(), _mask_from_thread)

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection by getting a token. No message is sent.

        :returns: Success, and a text for the user without secrets.
        """
        try:
            self.run(lambda client: client.authenticate())
            where = self.settings().host_label
        except AuthenticationError as error:
            told, zh = f"DingTalk refuses the app ({error.code}).", f"钉钉拒绝此应用（{error.code}）。"
            step, step_zh = error.next_step, error.next_step_zh
            return False, str(DingTalkError(told, message_zh=zh, next_step=step, next_step_zh=step_zh))
        except ConfigurationError as error:
            return False, str(error)
        except DingTalkError as error:
            return False, f"{error.code or type(error).__name__}: {error}"
        except Exception as error:
            # The text of a foreign error, as of a ticket's function or of Airflow's masker, may hold a secret.
            return False, f"{choose('Unexpected error', '意外错误')}: {type(error).__name__}."
        told = f"Got an access token ({where}). Nothing was sent."
        return True, choose(told, f"已取得 access_token（{where}），未发送任何消息。")

    def call(self, endpoint: Endpoint[T]) -> T:
        """Make one call of :mod:`airflow_provider_dingtalk.client.endpoints`.

        A message that it sends inside a running task is registered with that task, as those of :meth:`send`.

        :raises DingTalkError: If the call failed or is in doubt; see :mod:`airflow_provider_dingtalk.exceptions`.
        """
        answer = self.run(lambda client: client.call(endpoint))
        in_task.register_call(endpoint, answer, self.dingtalk_conn_id)
        return answer

    async def acall(self, endpoint: Endpoint[T]) -> T:
        """Make one call of :mod:`airflow_provider_dingtalk.client.endpoints`; see :meth:`call`."""
        answer = await (await self.aclient()).call(endpoint)
        if endpoint.http.idempotency is Idempotency.SEND:
            await asyncio.to_thread(in_task.register_call, endpoint, answer, self.dingtalk_conn_id)
        return answer

    def send_requests(self, kind: Kind | str, **arguments: Any) -> list[SendRequest]:
        """Build the send requests of a message.

        The hook's or connection's robot or agent is the default.

        :raises InvalidInputError: If an argument is missing, invalid, or exceeds DingTalk's limit.
        """
        send_requests = send_requests_for(kind, **_with_defaults(kind, arguments, self.defaults()))
        return [msgspec.structs.replace(send_request, conn_id=self.dingtalk_conn_id) for send_request in send_requests]

    def send(self, kind: Kind | str, **arguments: Any) -> list[dict[str, Any]]:
        """Send a message.

        Inside a running task, receipts are registered with that task as soon as DingTalk accepts the message. A
        rollback finds them, even if the task does not return them.

        :param kind: ``group``, ``oto``, ``private_chat``, ``work_notification`` or ``ding``.
        :param arguments: Those of the operator for the kind that are about the message, such as ``text``.
        :returns: Receipts as plain JSON.
        :raises IncompleteSendError: If a call was refused or is in doubt; it holds the receipts of the others.
        :raises DroppedReceiversError: If DingTalk left out all receivers.
        """
        return in_task.send(self, self.send_requests(kind, **arguments))

    async def asend(self, kind: Kind | str, **arguments: Any) -> list[dict[str, Any]]:
        """Send a message; see :meth:`send`."""
        client = await self.aclient()
        # aclient has read the connection, so nothing below looks it up on the loop.
        return await in_task.asend(client, self.send_requests(kind, **arguments))

    def recall(self, receipts: Any) -> dict[str, Any]:
        """Recall messages of any kinds, each with its receipt's connection.

        Inside a running task, recalled messages are registered with that task, so that rollbacks leave them out.

        :param receipts: Receipts, or lists of them. Receipts without a connection are recalled with this one.
        :returns: The report as plain JSON.
        :raises DingTalkError: If no connection works.
        """
        job = RecallByConnection(parse_receipts(receipts), default=self.dingtalk_conn_id)
        try:
            return self.run_recall(job).to_json()
        finally:
            register_recalled(job.report().keys(Outcome.RECALLED))

    async def arecall(self, receipts: Any) -> dict[str, Any]:
        """Recall messages of any kinds; see :meth:`recall`."""
        job = RecallByConnection(parse_receipts(receipts), default=self.dingtalk_conn_id)
        try:
            return (await job.run(await self._clients_here(job.connections))).to_json()
        finally:
            await asyncio.to_thread(register_recalled, job.report().keys(Outcome.RECALLED))

    def run_recall(self, job: RecallByConnection) -> Report:
        """Run a recall with the connections of its receipts, from sync code.

        :raises DingTalkError: If no connection works, or the checkpoint fails.
        """
        return self.run_by_connection(job.run, job.connections, job.stop)

    def of(self, conn_id: str | None) -> Self:
        """Return the hook of a connection; this one for None."""
        return self if conn_id in (None, self.dingtalk_conn_id) else type(self)(conn_id)

    def status(self, receipts: Any, *, readers: bool = True) -> list[MessageStatus]:
        """Poll status and readers of messages, each with its receipt's connection.

        A message without an available status has an ``error`` (code, message, next_step) and no state. The others
        are returned.

        :param receipts: Receipts of messages, in lists of any depth, or JSON of them.
        :param readers: Poll the readers too, which may take several calls a message; default True.
        :returns: One status for each receipt, in their order.
        :raises InvalidInputError: If an item is not a receipt.
        :raises DingTalkError: If no connection works, or a ban or an outage prevents all polls.
        """
        parsed = parse_receipts(receipts, to_ask=True)
        job = StatusReader(parsed, readers=readers)
        self.run_status(job, parsed)
        return _statuses(job, parsed)

    async def astatus(self, receipts: Any, *, readers: bool = True) -> list[MessageStatus]:
        """Poll status and readers of messages; see :meth:`status`."""
        parsed = parse_receipts(receipts, to_ask=True)
        job = StatusReader(parsed, readers=readers)
        with _errors_of_some(job, parsed):
            await job.run(await self._clients_here(job.connections))
        return _statuses(job, parsed)

    def run_status(self, job: StatusReader, receipts: Sequence[Receipt]) -> None:
        """Poll messages with the connections of their receipts, from sync code.

        :raises DingTalkError: If no message could be polled; otherwise each status has its own error.
        """
        with _errors_of_some(job, receipts):
            self.run_by_connection(job.run, job.connections, job.stop)

    def run_by_connection(
        self,
        work: Callable[[Clients], Awaitable[T]],
        conn_ids: Iterable[str | None],
        stop: Callable[[], None] | None = None,
    ) -> T:
        """Run async work with the clients of several connections, from sync code.

        :param work: Receives a function that returns the client of a connection id.
        :param conn_ids: Ids of the connections; None, or no id, means this one.
        :param stop: Called after an interruption of this thread; tells the work to start no further calls.
        :raises DingTalkError: If no connection can be read.
        """
        # Only the task's main thread may send requests to Airflow's supervisor, so connections are read here.
        hooks = {conn_id: self.of(conn_id) for conn_id in tuple(conn_ids) or (None,)}
        errors: dict[str | None, DingTalkError] = {}
        for conn_id, hook in hooks.items():
            try:
                hook.settings()
            except DingTalkError as error:
                errors[conn_id] = error
        _raise_if_all(errors, hooks)

        async def client_of(conn_id: str | None) -> DingTalkClient:
            if conn_id in errors:
                raise errors[conn_id]
            return hooks[conn_id].client_on_loop()

        return event_loop.run(lambda: work(client_of), stop)

    async def _clients_here(self, conn_ids: Iterable[str | None]) -> Clients:
        """Look up several connections on the running event loop; see :meth:`run_by_connection`."""
        hooks = {conn_id: self.of(conn_id) for conn_id in tuple(conn_ids) or (None,)}
        errors: dict[str | None, DingTalkError] = {}
        for conn_id, hook in hooks.items():
            try:
                await hook.asettings()
            except DingTalkError as error:
                errors[conn_id] = error
        _raise_if_all(errors, hooks)

        async def client_of(conn_id: str | None) -> DingTalkClient:
            if conn_id in errors:
                raise errors[conn_id]
            return await hooks[conn_id].aclient()

        return client_of


def _raise_if_all(errors: Mapping[str | None, DingTalkError], hooks: Mapping[str | None, DingTalkHook]) -> None:
    """Raise the first error if no connection can be read."""
    if errors and len(errors) == len(hooks):
        raise next(iter(errors.values()))


@contextmanager
def _errors_of_some(job: StatusReader, receipts: Sequence[Receipt]) -> Iterator[None]:
    """Suppress an error that does not concern all messages, because it is the outcome of those that it concerns."""
    try:
        yield
    except DingTalkError:
        if all(message_status.error for message_status in _statuses(job, receipts)):
            raise


def _statuses(job: StatusReader, receipts: Sequence[Receipt]) -> list[MessageStatus]:
    return [message_status for receipt in receipts if (message_status := job.status_of(receipt)) is not None]


def _with_defaults(kind: Kind | str, arguments: dict[str, Any], defaults: dict[str, str | None]) -> dict[str, Any]:
    """Return the arguments, with a default robot or agent added."""
    name = message_type(kind).default_sender
    chosen = arguments.get(name)
    return {**arguments, name: defaults[name] if chosen is None else chosen}


def _secret_forms(token: str) -> Iterable[str]:
    return dict.fromkeys((token, quote(token, safe="")))


async def _mask_from_thread(token: str) -> None:
    """Mask a token in logs, from the package's event loop."""
    from airflow.sdk.log import mask_secret

    for form in _secret_forms(token):
        # Airflow blocks until its supervisor answers, and the loop must not, so a thread does it.
        await asyncio.to_thread(call_supervisor, mask_secret, form)


async def _mask_on_loop(token: str) -> None:
    """Mask a token in logs, from an event loop of Airflow, which runs triggers or an ``async`` task."""
    for form in _secret_forms(token):
        await amask_secret(form)
