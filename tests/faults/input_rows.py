"""Rows about input: bad, empty, repeated and very long lists, and invalid connections."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from airflow_provider_dingtalk.exceptions import ConfigurationError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.batching import batches
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
    DingTalkRollbackOperator,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.connection.test_settings_refused import BAD as BAD_CONNECTIONS
from tests.faults.fixtures import CanarySandbox
from tests.faults.matrix import RowRun
from tests.faults.scheme import MIXED
from tests.faults.surroundings import MEBIBYTE, MOST_GROWTH, connection_json, environment, measured_memory
from tests.messages.test_receipt_parser import BAD as BAD_RECEIPTS
from tests.support.airflow_seams import TaskInstance, context
from tests.support.local_dingtalk import check_account

#: Maximum length of an error text about bad input.
MOST_TEXT = 1000
TEN_MEGABYTES = "k" * 10_000_000


@contextmanager
def connected(run: RowRun) -> Iterator[tuple[CanarySandbox, SandboxServer]]:
    """Run a sandbox behind a socket, with an Airflow connection to it."""
    sandbox = run.sandbox()
    with ExitStack() as stack:
        server = stack.enter_context(running_sandbox(sandbox.state))
        conn = connection_json(server.url, sandbox.secret)
        stack.enter_context(environment(AIRFLOW_CONN_DINGTALK_DEFAULT=conn))
        yield sandbox, server
    run.done(sandbox)


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────

#: Arguments of operators that recall by keys.
BAD_KEYS: dict[str, Any] = {
    "text": "key",
    "None in a list": [None],
    "dict": {"key": 1},
    "nested": [["key"]],
    "generator": (key for key in ("a", "b")),
    "bytes": b"key",
    "bytes in a list": [b"key"],
    "ints": [1, 2],
    "empty": [""],
    "spaces": ["  "],
    "blanks around": [" key "],
    "line feed": ["a\nb"],
    "NUL": ["a\0b"],
    "half a surrogate": ["a\ud800b"],
    "10 MB": [TEN_MEGABYTES],
    "10 MB of JSON": "[" * 10_000_000,
    "10 MB of text": TEN_MEGABYTES,
    "huge int": [10**5000],
    "float": 1.5,
    "NaN": [float("nan")],
    "true": True,
    "object": object(),
    "one bad among good": ["a", "b", None],
}
BAD_TASKS: dict[str, Any] = {
    "text": "abc",
    "negative": -1,
    "float": [1.5],
    "true": [True],
    "too long": ["1" * 30],
    "hex": ["0x10"],
    "other digits": ["١٢٣"],
    "None": [None],
    "dict": [{"task_id": 1}],
}
BAD_PLACES: dict[str, Any] = {
    "empty": "",
    "spaces": " ",
    "int": 5,
    "list": ["cid"],
    "control": "c\x07",
    "long": "c" * 600,
}


def bad_input_costs_no_call(run: RowRun) -> None:
    """Give every bad input; expect a typed, short error that names the field, and no call."""
    with connected(run) as (sandbox, _):
        _refused(run, "a number", lambda: DingTalkHook().recall(17))  # warm
        with measured_memory() as growth:
            counted = _all_bad(run)
        assert sandbox.calls() == {}, sandbox.calls()
    run.figures.fired += counted
    run.note(f"{counted} bad inputs, memory grew by {growth.peak / MEBIBYTE:.1f} MiB at most")
    assert counted >= 60
    assert growth.peak <= MOST_GROWTH, f"memory grew by {growth.peak / MEBIBYTE:.0f} MiB"


def _all_bad(run: RowRun) -> int:
    cases = [(name, DingTalkRollbackOperator, {"receipts": value}) for name, (value, _) in BAD_RECEIPTS.items()]
    for name, value in BAD_KEYS.items():
        cases.append((name, DingTalkRecallOTOMessagesOperator, {"process_query_keys": value}))
        group = {"process_query_keys": value, "open_conversation_id": "cidgroup1"}
        cases.append((name, DingTalkRecallGroupMessagesOperator, group))
    for name, value in BAD_TASKS.items():
        cases.append((name, DingTalkRecallWorkNotificationOperator, {"msg_task_id": value}))
    for name, value in BAD_PLACES.items():
        group = {"process_query_keys": ["a"], "open_conversation_id": value}
        cases.append((name, DingTalkRecallGroupMessagesOperator, group))
    for name, operator, arguments in cases:
        _refused(run, f"{operator.__name__} with {name}", partial(_execute, operator, **arguments))
    return len(cases)


def _execute(operator: Any, **arguments: Any) -> Any:
    """Run an operator with arguments as they are after templating, without Airflow's checks."""
    task = operator(task_id="recall")
    assert vars(task).keys() >= arguments.keys(), arguments.keys()
    # Set without __setattr__, in which Airflow searches the value recursively for XComs.
    vars(task).update(arguments)
    return task.execute(context(TaskInstance()))


def _refused(run: RowRun, name: str, work: Callable[[], Any]) -> None:
    """Expect Airflow's permanent failure caused by our typed error, or that error."""
    try:
        work()
    except (AirflowFailException, InvalidInputError) as error:
        told = error
    else:
        raise AssertionError(f"{name} was taken")
    cause = told.__cause__ if isinstance(told, AirflowFailException) else told
    assert isinstance(cause, InvalidInputError), f"{name}: {told!r} from {cause!r}"
    assert cause.field and str(cause).startswith(cause.field), str(cause)[:200]
    assert len(str(told)) <= MOST_TEXT, f"{name}: {len(str(told))} characters"
    # The traceback shows lines of code, not values.
    run.sinks.add("exceptions", str(told), repr(told), "".join(traceback.format_exception(told)))


# ── empty, repeated, many ────────────────────────────────────────────────────────────────────────────


def nothing_to_recall_costs_nothing(run: RowRun) -> None:
    """Recall no messages; expect an empty report, a skip or a failure, and no call, not even for a token."""
    from airflow_provider_dingtalk.version_compat import AirflowSkipException

    with connected(run) as (sandbox, _):
        for empty in (None, [], "[]", "None", [None], [[], [None]]):
            report = _execute(DingTalkRollbackOperator, receipts=empty)
            assert report["counts"]["total"] == 0
            run.sinks.add("reports", report)
        for empty in (None, [], "[]", "None"):
            assert _execute(DingTalkRecallOTOMessagesOperator, process_query_keys=empty)["counts"]["total"] == 0
        for on_empty, error in (("skip", AirflowSkipException), ("fail", AirflowFailException)):
            try:
                _execute(DingTalkRollbackOperator, receipts=[], on_empty=on_empty)
            except error as told:
                run.sinks.add_error(told)
            else:
                raise AssertionError(f"on_empty={on_empty} did nothing")
        assert sandbox.calls() == {}, sandbox.calls()
    assert _recalled(run, run.sandbox(), []).counts()["total"] == 0


def a_key_named_a_thousand_times(run: RowRun) -> None:
    """Repeat keys; expect each message once in the calls and in the report."""
    sandbox = run.sandbox()
    receipts = sandbox.plant_mixture(dict(MIXED), max(400, run.keys // 10))
    (one,) = sandbox.create_messages(Kind.OTO)
    named = receipts * 2 + [one] * 1000
    run.rng.shuffle(named)
    report = _recalled(run, sandbox, named)
    check_account(sandbox, report, named)
    assert report.duplicates == len(named) - len(receipts) - 1
    messages = sandbox.state.messages.values()
    assert all(message.recalls == 1 for message in messages)
    assert sandbox.recall_calls() == len(batches([*receipts, one]))
    run.figures.keys += len(named)
    run.figures.fired += report.duplicates
    run.figures.hit_share = round(report.duplicates / len(named), 3)
    run.done(sandbox)


def _recalled(run: RowRun, sandbox: CanarySandbox, receipts: list[Any]) -> Any:
    report = asyncio.run(Recall(receipts, clock=sandbox.clock).run(sandbox.open()))
    run.sinks.add("reports", report.to_json(), report.table())
    return report


def a_hundred_thousand_keys(run: RowRun) -> None:
    """Recall 100,000 keys; expect bounded memory, XCom size and time."""
    for keys in (min(run.keys, 10_000), run.keys * 10):
        sandbox = run.sandbox()
        receipts = sandbox.create_messages(Kind.OTO, keys)
        with measured_memory() as growth:
            began = time.monotonic()
            report = _recalled(run, sandbox, receipts)
            seconds = time.monotonic() - began
        size = len(json.dumps(report.to_json()))
        check_account(sandbox, report, receipts)
        assert report.counts()["recalled"] == keys
        assert sandbox.recall_calls() == -(-keys // 20)
        assert size < 65_536, f"the report has {size} bytes"
        most = MOST_GROWTH if keys <= 10_000 else 4 * MOST_GROWTH
        assert growth.peak <= most, f"{keys} keys: memory grew by {growth.peak / MEBIBYTE:.0f} MiB"
        run.note(f"{keys} keys: {seconds:.1f} s, memory +{growth.peak / MEBIBYTE:.0f} MiB, report {size} bytes")
        run.figures.keys += keys
        run.done(sandbox)


# ── connections ──────────────────────────────────────────────────────────────────────────────────────


def a_bad_connection_costs_no_call(run: RowRun) -> None:
    """Use missing, broken and foreign connections; expect a typed error without the secret, and no call."""
    with connected(run) as (sandbox, server):
        good = json.loads(connection_json(server.url, sandbox.secret))
        for changes, _ in BAD_CONNECTIONS:
            if isinstance(changes, str):
                continue
            # The secret is the canary, except in cases where the secret itself is invalid.
            merged = {**good, **changes}
            if isinstance(changes.get("extra"), dict):
                merged["extra"] = {**good["extra"], **changes["extra"]}
            _no_connection(run, json.dumps(merged))
        _no_connection(run, None)
        assert sandbox.calls() == {}, sandbox.calls()


def _no_connection(run: RowRun, definition: str | None) -> None:
    variables = {} if definition is None else {"AIRFLOW_CONN_DINGTALK_BAD": definition}
    with environment(**variables):
        hook = DingTalkHook("dingtalk_bad")
        try:
            hook.recall([{"kind": "oto", "robot_code": "r", "process_query_key": "k"}])
        except ConfigurationError as error:
            run.sinks.add_error(error)
            run.sinks.add("reprs", repr(hook), repr(vars(hook)), hook.test_connection()[1])
            run.figures.fired += 1
        except DingTalkError as error:
            raise AssertionError(f"{definition}: {error!r}") from error
        else:
            raise AssertionError(f"a bad connection was taken: {definition}")
