"""Progress of a task instance's sends, in the task state store.

State belongs to a message, by its content and its receiver. Its index in a list and the other receivers of its
call do not matter. One task instance may run several send jobs: the same job again after a clear, another one if
its input changed, or several in parallel. The history of all jobs is kept, because a rollback must find the
messages of each.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend, SendProgress
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import Address, SendRequest
from airflow_provider_dingtalk.task.checkpoint import send_version_1
from airflow_provider_dingtalk.task.checkpoint.store import Store, ause, corrupt, fingerprint, use

#: Most calls in one row, and the bytes after which a row takes no more; the store's soft limit is 64 kB.
CALLS_PER_ROW, ROW_SIZE = 100, 48_000

_INDEX = "dingtalk-send-2"
_FLIGHT = f"{_INDEX}-flight"
_ROW = f"{_INDEX}-sent-{{}}"


class Job(Struct, kw_only=True):
    """Send job that this task instance began.

    :param name: Name that tells it from the other jobs of a try, and is the same in each try.
    :param content: Fingerprint of the messages, without the receivers.
    :param epoch: Clear count of the task at which it ran last.
    :param since: Clear count since which a message counts as sent.
    :param done: True if all of it was sent.
    """

    name: str
    content: str
    epoch: int
    since: int = 0
    done: bool = False


class Begun(Struct, kw_only=True):
    """Call that went out, or is about to.

    :param job: Index of its job in the list of jobs.
    :param epoch: Clear count at which it went out.
    :param content: Fingerprint of the message, without the receivers.
    :param to: Receivers.
    """

    job: int
    epoch: int
    content: str
    to: tuple[str, ...]

    @property
    def address(self) -> Address:
        """Content and receivers of the call."""
        return Address(self.content, self.to)


class Accepted(Begun, kw_only=True):
    """Call that DingTalk accepted."""

    receipt: dict[str, Any]
    dropped: dict[str, str] = {}

    def send_request(self) -> AcceptedSend:
        """Return the call as the core's structure."""
        return AcceptedSend(parse_receipts(self.receipt)[0], self.address, self.dropped)


class TaskSends:
    """Sends of one task instance, of earlier tries and this one.

    :param store: Airflow's task state store.
    :param epoch: Clear count, which tells a retry from a clear.
    :raises LedgerError: If the store does not answer, or holds a value that this package did not write.
    """

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        self._lock = threading.RLock()
        self._jobs: list[Job] = []
        self._flight: dict[int, Begun] = {}
        self._accepted: dict[int, Accepted] = {}
        self._rows: list[list[int]] = [[]]
        self._row_at: dict[int, int] = {}
        self._taken: set[int] = set()
        self._next = 0
        use(self._read)

    def receipts(self) -> list[Receipt]:
        """Return the receipts of the task instance's sends, in order."""
        return [self._accepted[number].send_request().receipt for number in sorted(self._accepted)]

    def left_in_doubt(self) -> list[Address]:
        """List the calls of earlier tries that are still in doubt.

        Calls that a job of this try took up are left out.
        """
        return [self._flight[number].address for number in sorted(self._flight) if number not in self._taken]

    def job(self, name: str, send_requests: Sequence[SendRequest]) -> JobSends:
        """Return the progress that earlier tries made with a job.

        :param name: Name of the job, the same in each try.
        :param send_requests: Send requests of the job.
        """
        self._name_old(send_requests)
        return JobSends(
            self, name, send_requests, fingerprint(sorted({send_request.content for send_request in send_requests}))
        )

    # ── what the jobs use ────────────────────────────────────────────────────────────────────────────

    def last(self, name: str) -> int | None:
        """Return the index of a name's latest job; None if missing."""
        return next((place for place in reversed(range(len(self._jobs))) if self._jobs[place].name == name), None)

    def may_have_sent(self, job: int) -> bool:
        """Return True if a job's call was accepted or is in doubt."""
        return any(begun.job == job for begun in (*self._accepted.values(), *self._flight.values()))

    def take(self, send_requests: Sequence[SendRequest], since: int) -> tuple[list[int], list[int]]:
        """Choose calls, accepted and in doubt, that made these send requests.

        Each call is taken once in a try.

        :param since: Clear count since which a call counts.
        :returns: Numbers of the accepted calls, and of the calls in doubt.
        """
        wanted = Counter((send_request.content, name) for send_request in send_requests for name in send_request.to)
        with self._lock:
            accepted = self._take(self._accepted, wanted, since)
            return accepted, self._take(self._flight, wanted, since)

    def _take(self, calls: dict[int, Any], wanted: Counter[tuple[str, str]], since: int) -> list[int]:
        chosen = []
        for number in sorted(calls):
            begun = calls[number]
            names = [(begun.content, name) for name in begun.to]
            if number not in self._taken and begun.epoch >= since and any(wanted[name] > 0 for name in names):
                wanted.subtract(names)
                chosen.append(number)
        self._taken.update(chosen)
        return chosen

    def of_job(self, *names: str) -> list[int]:
        """List the accepted calls of jobs of some names, without those taken."""
        return [
            number
            for number in sorted(self._accepted)
            if self._jobs[self._accepted[number].job].name in names and number not in self._taken
        ]

    def send_request(self, number: int) -> AcceptedSend:
        """Return an accepted call."""
        return self._accepted[number].send_request()

    def in_doubt(self, number: int) -> Address:
        """Return the content and receivers of a call in doubt."""
        return self._flight[number].address

    def begin(self, job: Job) -> int:
        """Add a job, and return its index."""
        with self._lock:
            self._jobs.append(job)
            self.write_index()
            return len(self._jobs) - 1

    def job_at(self, place: int) -> Job:
        """Return a job by its index."""
        return self._jobs[place]

    def write_index(self) -> None:
        """Write the list of jobs."""
        with self._lock:
            use(self._store.set, _INDEX, {"version": 2, "jobs": _plain(self._jobs)})

    def intend(self, job: int, address: Address) -> int:
        """Write the intent of a call, and return the call's number."""
        with self._lock:
            number = self._next
            self._flight[number] = Begun(job=job, epoch=self._epoch, content=address.content, to=address.to)
            try:
                self._write_flight()
            except BaseException:
                del self._flight[number]
                raise
            self._next += 1
            self._taken.add(number)
            return number

    def accept(self, number: int, send_request: AcceptedSend) -> None:
        """Write that DingTalk accepted a call; a repetition does no harm."""
        with self._lock:
            begun = self._flight.get(number) or self._accepted[number]
            self._accepted[number] = Accepted(
                job=begun.job,
                epoch=begun.epoch,
                content=begun.content,
                to=begun.to,
                receipt=send_request.receipt.to_json(),
                dropped=send_request.dropped,
            )
            row = self._row_of(number)
            use(self._store.set, _ROW.format(row), [self._row(one) for one in self._rows[row]])
            # The intent is dropped only now, because until the write it was the only trace of the call.
            self._flight.pop(number, None)

    def forget(self, numbers: Iterable[int], *, write: bool) -> None:
        """Drop calls that were not made, or will be made again.

        :param write: True to write it now, False to write it with the next intent.
        """
        with self._lock:
            for number in numbers:
                self._flight.pop(number, None)
            if write:
                self._write_flight()

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────

    def _row_of(self, number: int) -> int:
        """Return an accepted call's row, the last one or a new one.

        A call gets a new row if the last one is full.
        """
        if number in self._row_at:
            return self._row_at[number]
        last = [self._row(one) for one in self._rows[-1]]
        if len(last) >= CALLS_PER_ROW or len(msgspec.json.encode(last)) > ROW_SIZE:
            self._rows.append([])
        self._rows[-1].append(number)
        self._row_at[number] = len(self._rows) - 1
        return self._row_at[number]

    def _row(self, number: int) -> dict[str, Any]:
        return {"n": number, **_plain(self._accepted[number])}

    def _write_flight(self) -> None:
        flight = [{"n": number, **_plain(begun)} for number, begun in self._flight.items()]
        use(self._store.set, _FLIGHT, flight)

    def _read(self) -> None:
        index = self._store.get(_INDEX)
        if index is None:
            self._take_over()
            return
        self._jobs = _converted(index.get("jobs") if isinstance(index, dict) else None, list[Job], _INDEX)
        self._rows = []
        while (row := self._store.get(_ROW.format(len(self._rows)))) is not None:
            key = _ROW.format(len(self._rows))
            numbers = _numbers(row, key)
            self._accepted |= dict(zip(numbers, _converted(row, list[Accepted], key), strict=True))
            self._row_at |= dict.fromkeys(numbers, len(self._rows))
            self._rows.append(numbers)
        flight = self._store.get(_FLIGHT, [])
        begun = dict(zip(_numbers(flight, _FLIGHT), _converted(flight, list[Begun], _FLIGHT), strict=True))
        self._flight = {number: one for number, one in begun.items() if number not in self._accepted}
        self._check()
        self._rows = self._rows or [[]]
        self._next = max((*self._accepted, *self._flight), default=-1) + 1

    def _check(self) -> None:
        """Raise an error if the rows do not match the jobs.

        :raises LedgerError: If they do not match.
        """
        calls = (*self._accepted.values(), *self._flight.values())
        if any(not 0 <= begun.job < len(self._jobs) for begun in calls):
            raise corrupt(_INDEX)
        for number, row in enumerate(self._rows):
            for place in row:
                try:
                    self._accepted[place].send_request()
                except (ValueError, IndexError):
                    raise corrupt(_ROW.format(number)) from None

    # ── version 1 ────────────────────────────────────────────────────────────────────────────────────

    def _take_over(self) -> None:
        """Import version 1's receipts, and its calls in flight as in doubt."""
        for old in send_version_1.read(self._store):
            self._jobs.append(Job(name="", content=old.request, epoch=old.epoch, done=old.done))
            job = len(self._jobs) - 1
            for place, (receipt, dropped) in sorted(old.sent.items()):
                begun = Accepted(job=job, epoch=old.epoch, content=old.request, to=(f"call {place}",),
                                 receipt=receipt, dropped=dropped)  # fmt: skip
                self._accepted[self._next] = begun
                self._row_of(self._next)
                self._next += 1
            for place in sorted(old.in_flight):
                self._flight[self._next] = Begun(job=job, epoch=old.epoch, content=old.request, to=(f"call {place}",))
                self._next += 1
        if self._jobs:
            for number, row in enumerate(self._rows):
                self._store.set(_ROW.format(number), [self._row(one) for one in row])
            self._write_flight()
            # The index is written last: while it is missing, the next try imports the old state again.
            self.write_index()

    def _name_old(self, send_requests: Sequence[SendRequest]) -> None:
        """Name the receivers of version 1's calls, if this request is theirs.

        Version 1 stored only the indexes of the calls.
        """
        request = send_version_1.fingerprint_of(send_requests)
        content = fingerprint(sorted({send_request.content for send_request in send_requests}))
        for job in self._jobs:
            if job.content == request:
                job.content = content
        for calls in (self._accepted, self._flight):
            for begun in calls.values():
                if begun.content == request:
                    send_request = send_requests[int(begun.to[0].removeprefix("call "))]
                    begun.content, begun.to = send_request.content, send_request.to


class JobSends:
    """Checkpoint of one send job, with the progress of earlier tries.

    :param sends: All sends of the task instance.
    :param name: Name of the job.
    :param send_requests: Send requests of the job.
    :param content: Fingerprint of the messages, without the receivers.
    """

    def __init__(self, sends: TaskSends, name: str, send_requests: Sequence[SendRequest], content: str) -> None:
        self._sends = sends
        self._name = name
        self._send_requests = send_requests
        self._content = content
        # Version 1 had one job for each task, without a name, so it counts as the first job.
        self._names = (name, "") if name.endswith(":0") else (name,)
        self._last = next((last for one in self._names if (last := sends.last(one)) is not None), None)
        self._number: dict[Address, int] = {}
        self._place = -1
        self._accepted: list[int] = []
        self._doubts: list[int] = []

    @property
    def has_changed(self) -> bool:
        """True if a try since the clear may have sent other content."""
        last = self._job()
        if last is None or self._last is None:
            return False
        return (
            last.epoch == self._sends._epoch  # noqa: SLF001 -- one state in two classes
            and last.content != self._content
            and self._sends.may_have_sent(self._last)
        )

    @property
    def is_cleared(self) -> bool:
        """True if this job was done, and the task was cleared since."""
        last = self._job()
        return (
            last is not None and last.done and last.content == self._content and last.epoch != self._sends._epoch  # noqa: SLF001
        )

    def begin(self, *, anew: bool = False) -> None:
        """Begin the job, or resume it.

        :param anew: True to send all of it again although it was done; default False.
        :raises LedgerError: If the store does not answer.
        """
        last, epoch = self._job(), self._sends._epoch  # noqa: SLF001
        is_same = last is not None and last.content == self._content
        if last is None or self._last is None or not is_same or anew:
            another = last is not None and last.epoch != epoch
            since = epoch if anew or another else last.since if last else 0
            self._place = self._sends.begin(Job(name=self._name, content=self._content, epoch=epoch, since=since))
        else:
            self._place = self._last
            if (last.name, last.epoch) != (self._name, epoch):
                last.name, last.epoch = self._name, epoch
                self._sends.write_index()
        since = self._sends.job_at(self._place).since
        self._accepted, self._doubts = self._sends.take(self._send_requests, since)

    @property
    def is_all_sent(self) -> bool:
        """True if each receiver has a call accepted or in doubt."""
        calls = [*(self._sends.send_request(one).address for one in self._accepted)]
        calls += [self._sends.in_doubt(one) for one in self._doubts]
        settled = Counter((address.content, name) for address in calls for name in address.to)
        return not Counter((one.content, name) for one in self._send_requests for name in one.to) - settled

    def carried(self) -> list[Receipt]:
        """Return this name's earlier receipts that the job does not take up."""
        return [self._sends.send_request(one).receipt for one in self._sends.of_job(*self._names)]

    def finish(self) -> None:
        """Write that the job is done.

        :raises LedgerError: If the store does not answer.
        """
        job = self._sends.job_at(self._place)
        if not job.done:
            job.done = True
            self._sends.write_index()

    def accept_now(self, send_request: AcceptedSend) -> None:
        """Write from the calling thread that DingTalk accepted a call."""
        self._sends.accept(self._number[send_request.address], send_request)

    # ── checkpoint of the core ───────────────────────────────────────────────────────────────────────────

    async def load(self) -> SendProgress:
        """Return the progress that earlier tries made with this job."""
        sent = [self._sends.send_request(one) for one in self._accepted]
        return SendProgress(tuple(sent), tuple(self._sends.in_doubt(one) for one in self._doubts))

    async def intend(self, address: Address) -> None:
        """Write the intent of a call."""
        self._number[address] = await ause(self._sends.intend, self._place, address)

    async def accepted(self, send_request: AcceptedSend) -> None:
        """Write that DingTalk accepted a call."""
        await ause(self.accept_now, send_request)

    async def refused(self, address: Address) -> None:
        """Drop the intent of a call that DingTalk refused."""

        def refuse() -> None:
            self._sends.forget([self._number[address]], write=True)

        await ause(refuse)

    async def clear_doubts(self) -> None:
        """Drop the calls of earlier tries that are in doubt."""
        self._sends.forget(self._doubts, write=False)
        self._doubts = []

    def _job(self) -> Job | None:
        return None if self._last is None else self._sends.job_at(self._last)


class HookSends(JobSends):
    """Checkpoint of a hook's send; receipts and doubts outlive the try.

    It resumes nothing of earlier tries, because code that calls the hook again means to send again.
    """

    def __init__(self, sends: TaskSends) -> None:
        super().__init__(sends, "hook", (), "")
        self.begin()


def _plain(value: Any) -> Any:
    """Return a value as plain JSON; Airflow's store accepts no tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _numbers(rows: Any, key: str) -> list[int]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) and type(row.get("n")) is int for row in rows):
        raise corrupt(key)
    return [row["n"] for row in rows]


def _converted(value: Any, kind: Any, key: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise corrupt(key) from None
