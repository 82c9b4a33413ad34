"""Where the async core runs: one event loop in a thread of its own per process, and one client per loop and app.

The main thread of a task only waits. It takes signals and timeouts meanwhile: an event loop there would
swallow ``AirflowTaskTimeout``, which Airflow raises from a signal handler.
"""

from __future__ import annotations

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

from airflow_provider_dingtalk.api.auth import InThread
from airflow_provider_dingtalk.api.client import DingTalkClient
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
    """The loop's thread, and how to end it."""

    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    pid: int


_lock = threading.Lock()
_running: _Running | None = None


class _LoopState(NamedTuple):
    """Clients and limiters of one event loop."""

    clients: dict[int, DingTalkClient]
    limiters: dict[tuple[Any, ...], Limiter]


# Not weak: a client refers to its loop, so that the key of a weak dictionary would be kept by its own value.
_states: dict[asyncio.AbstractEventLoop, _LoopState] = {}


def run(work: Callable[[], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
    """Run async work from sync code.

    Interrupted (a timeout, a signal that raises), it asks the work to stop, lets calls under way end, cuts
    off what is left, and only then lets the interruption through.

    :param stop: Asks the work to begin nothing more.
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
                job.wait(GRACE)
            loop.call_soon_threadsafe(job.cut_off)
            job.wait(DRAIN)
        raise


class _Job(Generic[T]):
    """Work on the loop, for which the main thread waits.

    No future, event or condition: what interrupts a thread may do so just when it has such a thing's lock, which
    is taken then for ever, and the loop, which wants to say that the work has ended, waits for ever. The one lock
    here is only ever released by the loop.
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

    # ── in the main thread ───────────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float = float("inf")) -> None:
        """Wait until it has ended, and so long at most."""
        until = time.monotonic() + seconds
        # A signal that comes just before a wait begins does not end it: waits are short.
        while not self.has_ended and time.monotonic() < until:
            self._ends.acquire(timeout=LOOK_UP)

    def result(self) -> T:
        """What the work gave, or its error."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    # ── in the loop's ────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Begin, unless nobody waits any more."""
        if not self.has_ended:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def end_unless_begun(self) -> None:
        """The main thread was interrupted, perhaps before it could hand over the work."""
        if self._task is None:
            self._end()

    def cut_off(self) -> None:
        """Cancel the work, at each of its waits."""
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
        # By another thread: an interruption comes to the main one, and a half-made start would be lost.
        starter = threading.Thread(target=_start_loop_thread, name="dingtalk-start", daemon=True)
        starter.start()
        starter.join()
    if _running is None:
        raise RuntimeError("the event loop's thread did not start")
    return _running.loop


def _start_loop_thread() -> None:
    global _running
    with _lock:
        # A forked child has the variable of its parent, but not the thread.
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
        # Else the process ends, and from Python 3.12 on a loop cannot shut down its threads then.
        if not ready.done():
            ready.set_exception(error)


async def _serve(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stop = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()


def _end(running: _Running) -> None:
    if running.pid == os.getpid():
        running.loop.call_soon_threadsafe(running.stop.set)
        # A thread that still runs when the interpreter ends may hang, and with it whoever waits for it.
        running.thread.join()


def client_for(
    settings: Settings, on_token: Callable[[str], Awaitable[Any]], in_thread: InThread = asyncio.to_thread
) -> DingTalkClient:
    """The client of an app on the running event loop: the same for all who ask with the same connection.

    :param in_thread: Runs sync code that may ask Airflow's supervisor; default ``asyncio.to_thread``.

    :raises ConfigurationError: Its certificates cannot be read.
    """
    state = _state()
    if settings.fingerprint not in state.clients:
        state.clients[settings.fingerprint] = DingTalkClient(
            settings.app,
            settings.hosts,
            limiter=_limiter(state.limiters, settings),
            ca_file=settings.ca_file,
            proxy=settings.proxy,
            on_token=on_token,
            in_thread=in_thread,
        )
    return state.clients[settings.fingerprint]


def _state() -> _LoopState:
    """Give the state of the running event loop, and drop that of loops that were closed."""
    loop = asyncio.get_running_loop()
    # By copy: another thread may have a loop of its own.
    for other in [other for other in list(_states) if other.is_closed()]:
        _states.pop(other, None)
    return _states.setdefault(loop, _LoopState({}, {}))


def _limiter(limiters: dict[tuple[Any, ...], Limiter], settings: Settings) -> Limiter:
    # By app and not by connection: DingTalk counts by app, and two connections may be one.
    app = f"{settings.hosts.api} {settings.app.key}"
    key = (app, settings.calls_per_second, settings.pace_dir)
    if key not in limiters:
        limiters[key] = Limiter(settings.calls_per_second, folder=settings.pace_dir, app=app)
    return limiters[key]
