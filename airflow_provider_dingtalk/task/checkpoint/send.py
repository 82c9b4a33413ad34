"""Progress of a task instance's sends, in the task state store.

State belongs to a message, by its content and its receivers. A task instance may run several jobs, in parallel or again
after a clear. All are kept, because a rollback must find the messages of each.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend, SendProgress, SendState
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import Address, SendRequest
from airflow_provider_dingtalk.task.checkpoint import send_version_1
from airflow_provider_dingtalk.task.checkpoint.store import Store, ause, corrupt, fingerprint, use

#: Most accepted calls in one row, and their bytes after which it takes no more: with the calls in flight, a row keeps
#: below the store's soft limit of 64 kB.
CALLS_PER_ROW, ROW_SIZE = 100, 32_000

_JOBS = "dingtalk-send-2"
#: Calls in flight of versions whose rows are lists. Later rows have them.
_IN_FLIGHT = f"{_JOBS}-flight"
_ROW = f"{_JOBS}-sent-{{}}"


class _Job(Struct, kw_only=True):
    """Send job that this task instance began, as it is stored."""

    #: Name that tells it from the other jobs of a try, and is the same in each try.
    name: str
    #: Fingerprint of the messages, without the receivers.
    content: str
    #: Clear count of the task at which it ran last.
    clear_count: int = field(name="epoch")
    #: Clear count since which a message counts as sent.
    since: int = 0
    done: bool = False


class _Call(Struct, kw_only=True):
    """Call that went out, or is about to, as it is stored."""

    number: int = field(name="n")
    #: Index of its job.
    job: int
    clear_count: int = field(name="epoch")
    #: Fingerprint of the message, without the receivers.
    content: str
    to: tuple[str, ...]

    @property
    def address(self) -> Address:
        """Content and receivers of the call."""
        return Address(self.content, self.to)


class _AcceptedCall(_Call, kw_only=True):
    """Call that DingTalk accepted."""

    receipt: dict[str, Any]
    dropped: dict[str, str] = {}

    def accepted(self) -> AcceptedSend:
        """Return the call as the core's structure."""
        return AcceptedSend(parse_receipts(self.receipt)[0], self.address, self.dropped)


class _Row(Struct, kw_only=True):
    """Row as it is stored: one write tells which calls were accepted and which are about to go out."""

    sent: list[_AcceptedCall]
    #: All calls in flight; those of the last row count.
    in_flight: list[_Call]


C = TypeVar("C", bound=_Call)


class TaskSends:
    """Sends of one task instance, of earlier tries and this one.

    :param clear_count: Clear count, which tells a retry from a clear.
    :ivar jobs: Jobs, oldest first.
    :ivar in_flight: Calls in doubt or in flight, by number.
    :ivar accepted: Calls that DingTalk accepted, by number.
    :ivar matched: Numbers of the calls that a job of this try made or resumes.
    :raises CheckpointError: If the store does not answer, or holds a value that this package did not write.
    """

    def __init__(self, store: Store, clear_count: int) -> None:
        self._store = store
        self.clear_count = clear_count
        self._lock = threading.RLock()
        self.jobs: list[_Job] = []
        self.in_flight: dict[int, _Call] = {}
        self.accepted: dict[int, _AcceptedCall] = {}
        self._rows: list[list[int]] = [[]]
        #: Indexes of the rows before the last one that are to be written.
        self._unwritten: set[int] = set()
        self.matched: set[int] = set()
        self._next = 0
        use(self._read)

    def receipts(self) -> list[Receipt]:
        """Return the receipts of the task instance's sends, in order."""
        return [self.accepted[number].accepted().receipt for number in sorted(self.accepted)]

    def left_in_doubt(self) -> list[Address]:
        """List the calls of earlier tries that are still in doubt and that no job of this try resumes."""
        return [self.in_flight[number].address for number in sorted(self.in_flight) if number not in self.matched]

    def job(self, name: str, send_requests: Sequence[SendRequest]) -> JobSends:
        """Return the progress that earlier tries made with a job, whose name is the same in each try."""
        content = fingerprint(sorted({send_request.content for send_request in send_requests}))
        self._name_imported(send_requests, content)
        return JobSends(self, name, send_requests, content)

    def hook_job(self) -> JobSends:
        """Return a job that resumes nothing, because code that calls the hook again means to send again."""
        job = JobSends(self, "hook", (), "")
        job.begin()
        return job

    def match(self, send_requests: Sequence[SendRequest], since: int) -> tuple[list[_AcceptedCall], list[_Call]]:
        """Choose the calls, accepted and in doubt, that made these requests; each once in a try."""
        wanted = Counter((send_request.content, name) for send_request in send_requests for name in send_request.to)
        with self._lock:
            accepted = self._match(self.accepted, wanted, since)
            return accepted, self._match(self.in_flight, wanted, since)

    def _match(self, calls: dict[int, C], wanted: Counter[tuple[str, str]], since: int) -> list[C]:
        chosen = []
        for number, call in sorted(calls.items()):
            names = [(call.content, name) for name in call.to]
            if number not in self.matched and call.clear_count >= since and any(wanted[name] > 0 for name in names):
                wanted.subtract(names)
                chosen.append(call)
        self.matched.update(call.number for call in chosen)
        return chosen

    def add(self, job: _Job) -> int:
        """Add a job, and return its index."""
        with self._lock:
            self.jobs.append(job)
            self.write_jobs()
            return len(self.jobs) - 1

    def write_jobs(self) -> None:
        """Write the list of jobs."""
        with self._lock:
            use(self._store.set, _JOBS, {"version": 2, "jobs": _plain(self.jobs)})

    def write(self, job: int, numbers: dict[int, int], states: Mapping[int, SendState]) -> None:
        """Write the states of a job's calls in one step; a repetition does no harm.

        :param numbers: Number of each of the job's calls in this task instance, which is extended.
        """
        with self._lock:
            new = [at for at, state in states.items() if isinstance(state, Address) and at not in numbers]
            for at, state in states.items():
                self._note(job, numbers, at, state)
            try:
                self._write_rows(frozenset(numbers[at] for at in new))
            except BaseException:
                # The calls are not made, unless the write is repeated.
                for at in new:
                    del self.in_flight[numbers.pop(at)]
                raise

    def _note(self, job: int, numbers: dict[int, int], at: int, state: SendState) -> None:
        """Note the state of a job's call, whose number there is ``at``."""
        if state is None:
            self.in_flight.pop(numbers.get(at, -1), None)
            return
        if at not in numbers:
            numbers[at] = self._next
            self._next += 1
            self.matched.add(numbers[at])
        content, to = msgspec.structs.astuple(state if isinstance(state, Address) else state.address)
        call = _Call(number=numbers[at], job=job, clear_count=self.clear_count, content=content, to=to)
        if isinstance(state, Address):
            self.in_flight[call.number] = call
        elif call.number not in self.accepted:
            more: dict[str, Any] = {"receipt": state.receipt.to_json(), "dropped": state.dropped}
            self._add_to_row(_AcceptedCall(**msgspec.structs.asdict(call), **more))
            self.in_flight.pop(call.number, None)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────

    def _add_to_row(self, call: _AcceptedCall) -> None:
        """Add an accepted call to the last row, or to a new one if it is full."""
        last = self._row(-1)
        if len(last) >= CALLS_PER_ROW or len(msgspec.json.encode(last)) > ROW_SIZE:
            self._unwritten.add(len(self._rows) - 1)
            self._rows.append([])
        self._rows[-1].append(call.number)
        self.accepted[call.number] = call

    def _row(self, index: int) -> list[_AcceptedCall]:
        return [self.accepted[number] for number in self._rows[index]]

    def _write_rows(self, new: frozenset[int] = frozenset()) -> None:
        """Write the last row, after earlier ones that are not written yet.

        :param new: Numbers of the calls that begin after this write, so earlier rows must not call them in flight.
        """
        last = len(self._rows) - 1
        for index in [*sorted(self._unwritten), last]:
            # Calls of later rows are in flight to a reader of this one, until those rows are written.
            later = [call for after in range(index + 1, last + 1) for call in self._row(after)]
            begun = [call for number, call in self.in_flight.items() if index == last or number not in new]
            row = _Row(sent=self._row(index), in_flight=[*begun, *later])
            use(self._store.set, _ROW.format(index), _plain(row))
            self._unwritten.discard(index)

    def _read(self) -> None:
        stored = self._store.get(_JOBS)
        if stored is None:
            self._import_version_1()
            return
        self.jobs = _converted(stored.get("jobs") if isinstance(stored, dict) else None, list[_Job], _JOBS)
        in_flight: list[_Call] | None = None
        rows = []
        for index in count():
            key = _ROW.format(index)
            if (stored := self._store.get(key)) is None:
                break
            row = _converted(stored, list[_AcceptedCall] | _Row, key)
            sent, in_flight = (row, None) if isinstance(row, list) else (row.sent, row.in_flight)
            calls = {call.number: call for call in sent}
            _check_receipts(calls.values(), key)
            self.accepted |= calls
            rows.append(list(calls))
        self._rows = rows or [[]]
        if in_flight is None:
            in_flight = _converted(self._store.get(_IN_FLIGHT, []), list[_Call], _IN_FLIGHT)
        self.in_flight = {call.number: call for call in in_flight if call.number not in self.accepted}
        if any(not 0 <= call.job < len(self.jobs) for call in (*self.accepted.values(), *self.in_flight.values())):
            raise corrupt(_JOBS)
        self._next = max((*self.accepted, *self.in_flight), default=-1) + 1

    # ── version 1 ────────────────────────────────────────────────────────────────────────────────────

    def _import_version_1(self) -> None:
        """Import version 1's receipts, and its calls in flight as in doubt."""
        for index, old in enumerate(send_version_1.read(self._store)):
            self.jobs.append(_Job(name="", content=old.request, clear_count=old.clear_count, done=old.done))
            shared: dict[str, Any] = {"job": index, "clear_count": old.clear_count, "content": old.request}
            for position, (receipt, dropped) in sorted(old.accepted.items()):
                to = (f"call {position}",)
                self._add_to_row(_AcceptedCall(number=self._next, **shared, to=to, receipt=receipt, dropped=dropped))
                self._next += 1
            for position in sorted(old.in_flight):
                self.in_flight[self._next] = _Call(number=self._next, **shared, to=(f"call {position}",))
                self._next += 1
        if self.jobs:
            self._write_rows()
            # The jobs are written last: while they are missing, the next try imports the old state again.
            self.write_jobs()

    def _name_imported(self, send_requests: Sequence[SendRequest], content: str) -> None:
        """Name the receivers of version 1's calls, which it stored by index, if this request is theirs."""
        request = send_version_1.fingerprint_of(send_requests)
        for job in self.jobs:
            if job.content == request:
                job.content = content
        for call in (*self.accepted.values(), *self.in_flight.values()):
            if call.content == request:
                send_request = send_requests[int(call.to[0].removeprefix("call "))]
                call.content, call.to = send_request.content, send_request.to


class JobSends:
    """Checkpoint of one send job, with the progress of earlier tries."""

    def __init__(self, sends: TaskSends, name: str, send_requests: Sequence[SendRequest], content: str) -> None:
        self._sends = sends
        self._name = name
        self._send_requests = send_requests
        self._content = content
        # Version 1 had one job for each task, without a name, so it counts as the first job.
        self._names = (name, "") if name.endswith(":0") else (name,)
        self._index = max(
            (index for index, job in enumerate(sends.jobs) if job.name in self._names),
            key=lambda index: (sends.jobs[index].name == name, index),
            default=-1,
        )
        #: Number in the task instance of each call of this run.
        self._numbers: dict[int, int] = {}
        self._accepted: list[_AcceptedCall] = []
        self._doubts: list[_Call] = []

    @property
    def _last(self) -> _Job | None:
        """Latest job of this name; None before the first."""
        return None if self._index < 0 else self._sends.jobs[self._index]

    @property
    def has_changed(self) -> bool:
        """True if a try since the clear may have sent other content to a receiver who did not get this one."""
        last = self._last
        if last is None or last.clear_count != self._sends.clear_count or last.content == self._content:
            return False
        # Code that calls several operators may call them in another order at each try. Version 1 named no receivers.
        calls = (*self._sends.accepted.values(), *self._sends.in_flight.values())
        got = {(call.content, name) for call in calls for name in call.to}
        missing = {name for one in self._send_requests for name in one.to if (one.content, name) not in got}
        of_job = (call for call in calls if call.job == self._index)
        return any(call.content == last.content or not missing.isdisjoint(call.to) for call in of_job)

    @property
    def is_cleared(self) -> bool:
        """True if this job was done, and the task was cleared since."""
        last = self._last
        if last is None or not last.done or last.content != self._content:
            return False
        return last.clear_count != self._sends.clear_count

    def begin(self, *, anew: bool = False) -> None:
        """Begin the job, or resume it.

        :param anew: True to send all of it again although it was done; default False.
        :raises CheckpointError: If the store does not answer.
        """
        last, clear_count = self._last, self._sends.clear_count
        if last is None or last.content != self._content or anew:
            is_cleared = last is not None and last.clear_count != clear_count
            since = clear_count if anew or is_cleared else last.since if last else 0
            job = _Job(name=self._name, content=self._content, clear_count=clear_count, since=since)
            self._index = self._sends.add(job)
        elif (last.name, last.clear_count) != (self._name, clear_count):
            last.name, last.clear_count = self._name, clear_count
            self._sends.write_jobs()
        since = self._sends.jobs[self._index].since
        self._accepted, self._doubts = self._sends.match(self._send_requests, since)

    @property
    def is_all_sent(self) -> bool:
        """True if each receiver has a call accepted or in doubt."""
        settled = Counter((call.content, name) for call in (*self._accepted, *self._doubts) for name in call.to)
        return not Counter((one.content, name) for one in self._send_requests for name in one.to) - settled

    def earlier_receipts(self) -> list[Receipt]:
        """Return this name's earlier receipts that the job does not resume."""
        sends = self._sends
        calls = [call for number, call in sorted(sends.accepted.items()) if number not in sends.matched]
        return [call.accepted().receipt for call in calls if sends.jobs[call.job].name in self._names]

    def finish(self) -> None:
        """Write that the job is done.

        :raises CheckpointError: If the store does not answer.
        """
        job = self._sends.jobs[self._index]
        if not job.done:
            job.done = True
            self._sends.write_jobs()

    # ── checkpoint of the core ───────────────────────────────────────────────────────────────────────────

    async def load(self) -> SendProgress:
        """Return the progress that earlier tries made with this job."""
        sent = tuple(call.accepted() for call in self._accepted)
        return SendProgress(sent, tuple(call.address for call in self._doubts))

    async def write(self, states: Mapping[int, SendState]) -> None:
        """Write the states of calls."""
        await ause(self.write_now, states)

    def write_now(self, states: Mapping[int, SendState]) -> None:
        """Write the states of calls from the calling thread."""
        self._sends.write(self._index, self._numbers, states)

    async def clear_doubts(self) -> None:
        """Drop the calls of earlier tries that are in doubt; the next write stores it."""
        for call in self._doubts:
            self._sends.in_flight.pop(call.number, None)
        self._doubts = []


def _plain(value: Any) -> Any:
    """Return a value as plain JSON; Airflow's store accepts no tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _converted(value: Any, kind: Any, key: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise corrupt(key) from None


def _check_receipts(calls: Iterable[_AcceptedCall], key: str) -> None:
    try:
        for call in calls:
            call.accepted()
    except (ValueError, IndexError):
        raise corrupt(key) from None
