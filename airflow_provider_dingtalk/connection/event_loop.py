"""Event loop of the async core in a thread of its own, and one client per loop and connection.

In the main thread a loop would swallow ``AirflowTaskTimeout``, which Airflow raises from a signal handler.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from anyio import CancelScope

from airflow_provider_dingtalk.client.auth import InThread
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter

if TYPE_CHECKING:
    from airflow_provider_dingtalk.connection.settings import Settings

T = TypeVar("T")

#: Seconds for calls in flight to end after an interruption, and seconds for their cancellation after that.
STOP_TIMEOUT, CANCEL_TIMEOUT = 3.0, 2.0
#: Interval in seconds at which a waiting thread can handle a signal.
SIGNAL_INTERVAL = 0.05


class _Running(NamedTuple):
    """Event loop with its thread, and the event that ends it."""

    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    pid: int


_lock = threading.Lock()
_running: _Running | None = None


class _LoopState(NamedTuple):
    """Clients and rate limiters of one event loop."""

    clients: dict[int, DingTalkClient]
    limiters: dict[tuple[Any, ...], RateLimiter]


# Not a weak dictionary: a client refers to its loop, so each value would keep its own key.
_states: dict[asyncio.AbstractEventLoop, _LoopState] = {}


def run(work: Callable[[], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
    """Run async work from sync code.

    After an interruption (a timeout, a signal that raises) it calls ``stop`` and waits up to 3 seconds for calls
    in flight. Then it cancels the work, waits up to 2 seconds, and raises the interruption.

    :param work: Creates the awaitable to run.
    :param stop: Tells the work to start no further calls; default None cancels it at once.
    :returns: The result of the work.
    """
    job, loop = _Job(work), _loop()
    try:
        loop.call_soon_threadsafe(job.begin, context=copy_context())
        job.wait()
        return job.result()
    except BaseException:
        job.is_interrupted = True
        loop.call_soon_threadsafe(job.end_unless_begun)
        if not job.has_ended:
            if stop:
                stop()
                job.wait(STOP_TIMEOUT)
            loop.call_soon_threadsafe(job.cancel)
            job.wait(CANCEL_TIMEOUT)
        raise


class _Job(Generic[T]):
    """Work on the event loop, for which the main thread waits.

    It uses no future, event or condition: an interruption of the main thread may leave its internal lock taken, and
    block the loop, which reports the end of the work. Only the loop releases the single lock here.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._ends = threading.Lock()
        self._ends.acquire()
        self._task: asyncio.Task[None] | None = None
        self._scope: CancelScope | None = None
        self._results: list[T] = []
        self._error: BaseException | None = None
        self.has_ended = False
        self.is_interrupted = False

    def wait(self, seconds: float = float("inf")) -> None:
        """Wait until the work has ended, or for a timeout in seconds."""
        until = time.monotonic() + seconds
        # A signal just before a wait does not end it, so the waits are short.
        while not self.has_ended and time.monotonic() < until:
            self._ends.acquire(timeout=SIGNAL_INTERVAL)

    def result(self) -> T:
        """Return the result of the work, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    # The methods below are called in the loop's thread, those above in the main thread.

    def begin(self) -> None:
        """Begin the work, unless the main thread was interrupted before."""
        if not self.has_ended:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def end_unless_begun(self) -> None:
        """End a job whose main thread was interrupted before it began."""
        if self._task is None:
            self._end()

    def cancel(self) -> None:
        """Cancel the work, also at each later wait."""
        if self._scope:
            self._scope.cancel()

    async def _run(self) -> None:
        try:
            with CancelScope() as self._scope:
                if not self.is_interrupted:
                    self._results.append(await self._work())
        except BaseException as error:  # the main thread raises it
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._ends.release()


def _loop() -> asyncio.AbstractEventLoop:
    if _running is None or _running.pid != os.getpid():
        # An interruption of the main thread could leave the start incomplete, so another thread does it. The condition
        # of a ``threading.Thread`` turns an interruption during its start into a RuntimeError.
        ends = threading.Lock()
        ends.acquire()
        _thread.start_new_thread(_start, (ends,))
        while not ends.acquire(timeout=SIGNAL_INTERVAL):
            pass
    if _running is None:
        raise RuntimeError("the event loop's thread did not start")
    return _running.loop


def _start(ends: threading.Lock) -> None:
    try:
        _start_loop_thread()
    finally:
        ends.release()


def _start_loop_thread() -> None:
    global _running
    with _lock:
        # A forked child has its parent's variable but not its thread, so the id of the process is compared.
        if _running is None or _running.pid != os.getpid():
            ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
            thread = threading.Thread(target=_run_loop, args=(ready,), name="dingtalk", daemon=True)
            thread.start()
            _running = _Running(thread, *ready.result(), os.getpid())
            atexit.register(_end, _running)


def _run_loop(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    try:
        asyncio.run(_serve(ready))
    except BaseException as error:
        # Python 3.12 and later: a loop cannot shut down its threads while the process ends. Ignore that error.
        if not ready.done():
            ready.set_exception(error)


async def _serve(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stop = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()
    for limiter in _state().limiters.values():
        await limiter.aclose()


def _end(running: _Running) -> None:
    if running.pid == os.getpid():
        running.loop.call_soon_threadsafe(running.stop.set)
        # A thread that runs at the end of the interpreter may hang, and with it the process, so it is joined here.
        running.thread.join()


def client_for(
    settings: Settings, on_token: Callable[[str], Awaitable[Any]], in_thread: InThread = asyncio.to_thread
) -> DingTalkClient:
    """Return the client, shared by all callers, of a connection on the running event loop.

    :param on_token: Receives each new token before its first use.
    :param in_thread: Runs sync code that may send requests to Airflow's supervisor; default ``asyncio.to_thread``.
    :raises ConfigurationError: If the certificates cannot be read, or the environment's proxy is invalid.
    """
    state = _state()
    if settings.fingerprint not in state.clients:
        state.clients[settings.fingerprint] = DingTalkClient(
            settings.app,
            settings.hosts,
            limiter=_limiter(state, settings),
            ca_file=settings.ca_file,
            proxy=settings.proxy,
            on_token=on_token,
            in_thread=in_thread,
        )
    return state.clients[settings.fingerprint]


def _state() -> _LoopState:
    """Return the running loop's state, and drop that of closed loops."""
    loop = asyncio.get_running_loop()
    # Another thread may add its own loop meanwhile, so a copy is iterated.
    for other in [other for other in list(_states) if other.is_closed()]:
        _states.pop(other, None)
    return _states.setdefault(loop, _LoopState({}, {}))


def _limiter(state: _LoopState, settings: Settings) -> RateLimiter:
    # DingTalk counts by app, and two connections may name the same app, so the key is the app.
    app = f"{settings.hosts.api} {settings.app.key}"
    key = (app, settings.calls_per_second, settings.pace_dir, settings.rate_limit_url)
    if key not in state.limiters:
        state.limiters[key] = RateLimiter(
            settings.calls_per_second, folder=settings.pace_dir, redis=settings.rate_limit_url, app=app
        )
    return state.limiters[key]
