"""Where the async core runs: one event loop in a thread of its own per process, and one client per loop and app.

The main thread of a task only waits. It takes signals and timeouts meanwhile: an event loop there would
swallow ``AirflowTaskTimeout``, which Airflow raises from a signal handler.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from anyio import CancelScope
from anyio.from_thread import BlockingPortal, start_blocking_portal

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.errors import ConfigurationError
from airflow_provider_dingtalk.api.limits import Limiter

if TYPE_CHECKING:
    from airflow_provider_dingtalk.settings import Settings

T = TypeVar("T")

#: Seconds that calls under way get to end when a task is interrupted, and then to be cut off.
GRACE = 3.0
DRAIN = 2.0
#: Seconds after which a waiting thread looks whether a signal came.
LOOK_UP = 0.05


class _Running(NamedTuple):
    """The loop's thread. It ends when the context is collected, so that must be kept."""

    context: AbstractContextManager[BlockingPortal]
    portal: BlockingPortal
    pid: int


_lock = threading.Lock()
_running: _Running | None = None
#: What a forked child has of its parent. Collected, it would wait for a thread that is not there.
_of_parents: list[_Running] = []

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, DingTalkClient]] = WeakKeyDictionary()
_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Any, ...], Limiter]] = WeakKeyDictionary()


def run(work: Callable[[], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
    """Run async work from sync code.

    Interrupted (a timeout, a signal that raises), it asks the work to stop, lets calls under way end, cuts
    off what is left, and only then lets the interruption through.

    :param stop: Asks the work to begin nothing more.
    """
    ended, interrupted = threading.Event(), threading.Event()
    scopes: list[CancelScope] = []

    async def watched() -> T:
        try:
            with CancelScope() as scope:
                scopes.append(scope)
                if not interrupted.is_set():
                    return await work()
        finally:
            ended.set()
        raise asyncio.CancelledError

    portal = _loop_thread()
    try:
        # Inside, for an interruption can come before there is a future: the work is known by its scope.
        future = portal.start_task_soon(watched)
        # A signal that comes just before a wait begins does not end it: waits are short.
        while not wait([future], LOOK_UP).done:
            pass
        return future.result()
    except BaseException:
        interrupted.set()
        if not ended.is_set():
            if stop:
                stop()
                ended.wait(GRACE)
            for scope in scopes:
                portal.start_task_soon(scope.cancel)
            ended.wait(DRAIN)
        raise


def _loop_thread() -> BlockingPortal:
    if _running is None or _running.pid != os.getpid():
        # By another thread: an interruption comes to the main one, and anyio's half-made start never ends.
        starter = threading.Thread(target=_start_loop_thread, name="dingtalk-start", daemon=True)
        starter.start()
        starter.join()
    if _running is None:
        raise RuntimeError("the event loop's thread did not start")
    return _running.portal


def _start_loop_thread() -> None:
    global _running
    with _lock:
        # A forked child has the variable of its parent, but not the thread.
        if _running is None or _running.pid != os.getpid():
            if _running is not None:
                _of_parents.append(_running)
            context = start_blocking_portal(name="dingtalk")
            _running = _Running(context, context.__enter__(), os.getpid())
            atexit.register(_end, _running)


def _end(running: _Running) -> None:
    if running.pid == os.getpid():
        running.portal.call(running.portal.stop, True)


def client_for(settings: Settings, on_token: Callable[[str], Awaitable[Any]]) -> DingTalkClient:
    """The client of an app on the running event loop: the same for all who ask with the same connection.

    :raises ConfigurationError: Its certificates cannot be read.
    """
    loop = asyncio.get_running_loop()
    clients = _clients.setdefault(loop, {})
    if settings.fingerprint not in clients:
        try:
            clients[settings.fingerprint] = DingTalkClient(
                settings.app,
                settings.hosts,
                limiter=_limiter(loop, settings),
                ca_file=settings.ca_file,
                on_token=on_token,
            )
        except OSError as error:  # an SSLError is one, too
            where = "extra ca_file" if settings.ca_file else "the system's certificates"
            raise ConfigurationError(f"{where}: cannot be read ({type(error).__name__}).") from None
    return clients[settings.fingerprint]


def _limiter(loop: asyncio.AbstractEventLoop, settings: Settings) -> Limiter:
    # By app and not by connection: DingTalk counts by app, and two connections may be one.
    app = f"{settings.hosts.api} {settings.app.key}"
    limiters = _limiters.setdefault(loop, {})
    key = (app, settings.calls_per_second, settings.pace_dir)
    if key not in limiters:
        limiters[key] = Limiter(settings.calls_per_second, folder=settings.pace_dir, app=app)
    return limiters[key]
