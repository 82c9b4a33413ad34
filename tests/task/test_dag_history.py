"""Requests to Airflow for what a DAG's runs sent: few, and none of the messages is missed.

Airflow's own API server answers, on a database of runs that never ran.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from itertools import chain, count, repeat
from typing import Any

import httpx
import pytest
from airflow import __version__
from airflow.utils.db import initdb

from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.task.dag_history import DagHistory
from airflow_provider_dingtalk.task.registry import SendRegistry
from airflow_provider_dingtalk.task.rollback_source import of_unfinished, of_window
from airflow_provider_dingtalk.task.xcoms import with_run_id
from dev.past_runs import PastRuns, add_dag, add_runs, receipts, send_xcoms
from tests.support.execution_api import Asked, task_of_another_dag
from tests.support.runs import keys

# Airflow's server in this process imports what warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")
#: Before Airflow 3.2 a worker cannot ask for the end of a run, so it looks into all runs.
KNOWS_ENDS = tuple(map(int, __version__.split(".")[:2])) >= (3, 2)
_numbers = count()
NOW = dt.datetime.now(dt.UTC)
SINCE = NOW - dt.timedelta(hours=1)


def before(**age: float) -> dt.datetime:
    return NOW - dt.timedelta(**age)


@pytest.fixture(scope="module", autouse=True)
def database() -> None:
    initdb()


@pytest.fixture
def asked(database: None) -> Iterator[Asked]:
    with task_of_another_dag() as asked:
        yield asked


@pytest.fixture
def past() -> PastRuns:
    dag_id = f"past_{next(_numbers)}"
    add_dag(dag_id)
    return PastRuns(dag_id)


def window(asked: Asked, past: PastRuns) -> dict[str, list[str]]:
    """Return the keys of the last hour, of the runs that have any."""
    found = of_window(asked.context, past.dag_id, SINCE.timestamp(), None)
    return {run_id: found for run_id, found in keys(found).items() if found}


def requests_of_window(asked: Asked, runs: int, messages: int, names_run: bool) -> int:
    dag_id = f"past_{next(_numbers)}"
    add_runs(dag_id, runs, messages)
    tasks = {("send", -1): "success", ("rollback", -1): "success"}
    gone = send_xcoms(["gone"], rollback="rollback", run_id="rolled back" if names_run else "")
    gone |= {("rollback", -1, "recalled_0"): ["gone"]}
    PastRuns(dag_id).add("rolled back", tasks, gone, ended=before(minutes=30))
    asked.requests.clear()
    found = of_window(asked.context, dag_id, SINCE.timestamp(), None)
    assert sum(len(one.receipts) for one in found) == runs * messages
    return len(asked.requests)


@pytest.mark.parametrize(("names_run", "each"), [(True, 1), (False, 2)])
@pytest.mark.parametrize("messages", [1, 10])
def test_a_window_takes_a_request_for_each_run_or_two_if_receipts_name_none(
    asked: Asked, messages: int, names_run: bool, each: int
):
    few, many = (requests_of_window(asked, runs, messages, names_run) for runs in (10, 40))
    assert many - few == 30 * (each if KNOWS_ENDS else 17)
    assert few < (11 * each + 30 if KNOWS_ENDS else 11 * 17 + 5)


def test_a_sweep_takes_requests_for_the_unfinished_runs_only(asked: Asked):
    def requests(runs: int) -> int:
        dag_id = f"past_{next(_numbers)}"
        add_runs(dag_id, runs, 2, unfinished=3)
        asked.requests.clear()
        assert sum(len(one.receipts) for one in of_unfinished(asked.context, dag_id, ["rollback"])) == 6
        return len(asked.requests)

    assert requests(10) == requests(40) <= 50


SENT: dict[str, tuple[Any, Any]] = {
    "by hook, also by a task that failed": (
        {("work", -1): "failed"},
        {("work", -1, "receipts_0"): receipts(["a", "b"], before(minutes=9)), ("work", -1, "receipts_count"): 2},
    ),
    "by an alert": ({("work", -1): "failed"}, {("work", -1, "alert_receipts"): receipts(["a", "b"])}),
    "late": (
        {("work", -1): "success"},
        {("work", -1, "receipts_0"): receipts(["a"]), ("work", -1, "receipts_late"): receipts(["b"])},
    ),
    "by a mapped task": (
        {("work", 0): "success", ("work", 1): "failed", ("work_1", -1): "success"},
        {("work", index, "receipts_0"): receipts([key]) for index, key in enumerate("ab")},
    ),
    "by a version that returned receipts": (
        {("work", -1): "success"},
        {("work", -1, "return_value"): {"sent": receipts(["a", "b"])}},
    ),
    "in a cleared task": (
        {("work", -1): None, ("other", -1): "success"},
        {("work", -1, "receipts_0"): receipts(["a", "b"])},
    ),
}


@pytest.mark.parametrize("how", SENT)
def test_among_runs_that_sent_nothing_one_that_sent_is_found(asked: Asked, past: PastRuns, how: str):
    tasks, xcoms = SENT[how]
    states = dict.fromkeys(tasks, "success")
    (first, *_) = tasks
    for number in range(5):
        past.add(f"quiet {number}", states, {(*first, "return_value"): 1}, ended=before(minutes=9 - number))
    past.add("run", tasks, xcoms, ended=before(minutes=8), state="failed")
    assert window(asked, past) == {"run": ["a", "b"]}


@pytest.mark.parametrize(
    "values", [{("work", index): 1 for index in range(30)}, {("work", -1): "x" * 600_000}], ids=["many", "large"]
)
def test_a_returned_receipt_is_found_among_values_that_are_not_all_read_at_once(
    asked: Asked, past: PastRuns, values: dict[tuple[str, int], Any]
):
    for run in ("one", "two"):
        returned = {(*task, "return_value"): value for task, value in values.items()}
        past.add(run, dict.fromkeys(values, "success"), returned, ended=before(minutes=9))
    tasks = {("work", 0): "success", ("work", 99): "success"}
    past.add("sent", tasks, {("work", 99, "return_value"): receipts(["a"])}, ended=before(minutes=8))
    assert window(asked, past) == {"sent": ["a"]}


def test_values_that_a_custom_backend_may_keep_are_read_one_by_one(
    asked: Asked, past: PastRuns, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "store.XCom")
    for run in "abcd":
        past.add(run, {("work", -1): "success"}, {("work", -1, "return_value"): "s3://key"}, ended=before(minutes=9))
    assert window(asked, past) == {}
    assert asked.number_of("/return_value") >= 4


def add_sent(past: PastRuns, run: str, *chunks: Any, index: int = -1, **more: Any) -> None:
    """Add a run of a task ``send`` that pushed chunks of receipts."""
    xcoms = {("send", index, f"receipts_{number}"): chunk for number, chunk in enumerate(chunks)}
    past.add(run, {("send", index): "success"}, xcoms, **{"ended": before(minutes=9), **more})


def registered(run: str, *keys: str) -> list[dict[str, Any]]:
    return with_run_id(receipts(keys), run)


def test_receipts_of_all_runs_are_told_apart_by_the_runs_that_they_name(asked: Asked, past: PastRuns):
    add_sent(past, "one", registered("one", "a"), registered("one", "b"))
    add_sent(past, "two", registered("two", "c"), index=0)
    add_sent(past, "none")
    add_sent(past, "early", registered("early", "d"), ended=before(hours=2))
    add_sent(past, "open", registered("open", "e"), ended=None, state="running")
    early = {} if KNOWS_ENDS else {"early": ["d"]}
    assert window(asked, past) == {"one": ["a", "b"], "two": ["c"], "open": ["e"], **early}
    assert asked.number_of("/xcoms/") < 40 or not KNOWS_ENDS


FOREIGN: dict[str, list[Any]] = {
    "a copy": registered("one", "a", "b"),
    "an older version": receipts(["c"]),
    "a copy of what is gone": registered("gone", "c"),
    "of two runs": [*registered("quiet", "c"), *registered("two", "d")],
    "in part": [*registered("quiet", "c"), *receipts(["d"])],
    "no run": [one | {"run_id": ["two"]} for one in receipts(["c"])],
    "no receipts": ["x", 1, None],
    "empty": [],
}


@pytest.mark.parametrize("what", FOREIGN)
def test_receipts_that_do_not_name_their_run_hide_no_message(asked: Asked, past: PastRuns, what: str):
    add_sent(past, "quiet")
    add_sent(past, "one", registered("one", "a"))
    add_sent(past, "two", FOREIGN[what])
    kept = sorted(one["process_query_key"] for one in FOREIGN[what] if isinstance(one, dict))
    assert window(asked, past) == {"one": ["a"], **({"two": kept} if kept else {})}


def test_a_text_in_the_place_of_receipts_hides_no_message(asked: Asked, past: PastRuns):
    add_sent(past, "one", registered("one", "a"))
    add_sent(past, "two", "run_id")
    assert window(asked, past) == {"one": ["a"]}


def test_a_sweep_takes_those_of_the_mapped_instances_whose_rollback_did_not_run(asked: Asked, past: PastRuns):
    tasks: dict[tuple[str, int], str | None] = {("send", index): "success" for index in range(2)}
    tasks |= {("rollback", 0): "success", ("rollback", 1): "skipped"}
    xcoms: dict[tuple[str, int, str], Any] = {}
    for index, key in enumerate("ab"):
        xcoms["send", index, "receipts_0"] = registered("run", key)
        xcoms["send", index, "sending"] = {"is_over": True, "rollbacks": ["rollback"]}
    past.add("run", tasks, xcoms, ended=before(minutes=9), state="failed")
    assert sweep(asked, past) == {"run": ["b"]}


def test_what_tasks_registered_is_found_in_one_answer(asked: Asked, past: PastRuns):
    for run in ("one", "two", "three"):
        add_sent(past, run)
        registry = SendRegistry(asked.as_task(past.dag_id, run, "send"))
        registry.register(parse_receipts(receipts([run])))
        registry.publish()
    asked.requests.clear()
    assert window(asked, past) == {"one": ["one"], "two": ["two"], "three": ["three"]}
    assert asked.number_of("/receipts_0") == (2 if KNOWS_ENDS else 3)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_cleared_run_that_has_not_ended_again_is_read(asked: Asked, past: PastRuns, state: str):
    past.add("ended", {("send", -1): "success"}, {}, ended=before(minutes=9))
    past.add("never began", {("send", -1): None}, {}, ended=None, state="queued")
    past.add("cleared", {("send", -1): None}, send_xcoms(["a"]), ended=None, state=state, clear_number=1)
    assert window(asked, past) == {"cleared": ["a"]}
    assert asked.number_of("never began") == 1 or not KNOWS_ENDS


def test_a_run_of_an_old_date_that_was_cleared_and_ran_again_is_in_the_window(asked: Asked, past: PastRuns):
    past.add("new", {("send", -1): "success"}, send_xcoms(["new"]), ended=before(minutes=2))
    past.add(
        "old", {("send", -1): "success"}, send_xcoms(["again"], before(minutes=5)), ended=before(minutes=4),
        logical_date=before(days=30), clear_number=1,
    )  # fmt: skip
    past.add("gone", {("send", -1): "success"}, send_xcoms(["gone"], before(hours=2)), ended=before(hours=2))
    assert window(asked, past) == {"new": ["new"], "old": ["again"]}


def test_runs_without_a_date_and_of_a_date_to_come_are_read(asked: Asked, past: PastRuns):
    chunks = {"none": 2, "coming": 2, "past": 1}
    for run, date in (("none", None), ("coming", NOW + dt.timedelta(days=9)), ("past", before(days=9))):
        xcoms = {("send", -1, f"receipts_{number}"): receipts([f"{run} {number}"]) for number in range(chunks[run])}
        past.add(run, {("send", -1): "success"}, xcoms, ended=before(minutes=5), logical_date=date)
    assert window(asked, past) == {run: [f"{run} {number}" for number in range(chunks[run])] for run in chunks}


def test_chunks_that_are_gone_are_missing_in_a_run_among_others(asked: Asked, past: PastRuns):
    past.add("well", {("send", -1): "success"}, send_xcoms(["a"]), ended=before(minutes=5))
    full = send_xcoms([str(number) for number in range(100)]) | {("send", -1, "receipts_count"): 150}
    past.add("gone", {("send", -1): "success"}, full, ended=before(minutes=5))
    found = of_window(asked.context, past.dag_id, SINCE.timestamp(), None)
    assert [one.missing for one in found] == [{"send": 50}, {}]


def test_a_send_that_was_cut_off_is_in_doubt_among_others_that_were_not(asked: Asked, past: PastRuns):
    for run, is_over in (("well", True), ("killed", False)):
        sending = {"is_over": is_over, "rollbacks": ["rollback"]}
        xcoms = send_xcoms([run]) | {("send", -1, "sending"): sending}
        past.add(run, {("send", -1): "failed", ("rollback", -1): "skipped"}, xcoms, ended=before(minutes=5))
    found = of_unfinished(asked.context, past.dag_id, ["rollback"])
    assert {one.run_id: one.in_doubt for one in found} == {"well": {}, "killed": {"send": 1}}


def test_what_a_failed_rollback_recalled_is_left_out(asked: Asked, past: PastRuns):
    for run in ("whole", "part"):
        xcoms = send_xcoms([f"{run} 1", f"{run} 2"], rollback="rollback")
        if run == "part":
            xcoms |= {("rollback", -1, "recalled_0"): ["x"], ("rollback", -1, "recalled_1"): ["part 1"]}
        tasks = {("send", -1): "success", ("rollback", -1): "failed"}
        past.add(run, tasks, xcoms, ended=before(minutes=5), state="failed")
    expected = {"part": ["part 2"], "whole": ["whole 1", "whole 2"]}
    assert keys(of_unfinished(asked.context, past.dag_id, ["rollback"])) == expected
    assert window(asked, past) == expected


def test_a_sweep_leaves_out_runs_that_ended_too_long_ago_and_says_so(asked: Asked, past: PastRuns, caplog: Any):
    tasks = {("send", -1): "success", ("rollback", -1): "skipped"}
    for run, ended in (("old", before(days=8)), ("new", before(days=6)), ("running", None)):
        state = "failed" if ended else "running"
        past.add(run, tasks, send_xcoms([run], rollback="rollback"), ended=ended, state=state)
    caplog.set_level("INFO")
    found = keys(of_unfinished(asked.context, past.dag_id, ["rollback"], before(days=7).timestamp()))
    assert found == {"new": ["new"], **({} if KNOWS_ENDS else {"old": ["old"]})}
    assert ("Leaving out 1 runs" in caplog.text) is KNOWS_ENDS
    assert keys(of_unfinished(asked.context, past.dag_id, ["rollback"])) == {"new": ["new"], "old": ["old"]}


def test_a_run_that_a_sweep_finished_is_left_out_until_it_ran_again(asked: Asked, past: PastRuns):
    tasks = {("send", -1): "success", ("rollback", -1): "skipped"}
    for run, ended in (("swept", before(hours=3)), ("part", before(hours=3)), ("cleared", before(minutes=5))):
        past.add(run, tasks, send_xcoms([run], rollback="rollback"), ended=ended, state="failed", clear_number=1)
        past.add_event(before(hours=2), {"run_id": run, "swept": 1, "left": int(run == "part"), "recalled": 0})
    found = of_unfinished(asked.context, past.dag_id, ["rollback"], before(days=7).timestamp())
    assert keys(found) == {**({"cleared": ["cleared"]} if KNOWS_ENDS else {}), "part": ["part"]}


def test_a_send_in_doubt_is_told_if_its_run_is_wholly_in_the_window(asked: Asked, past: PastRuns):
    doubt = {"to": ["user001"], "code": "no_answer", "message": "", "next_step": ""}
    for run, began, clears in (("within", before(minutes=30), 0), ("across", before(hours=2), 0),
                               ("unknown", None, 0), ("cleared", before(minutes=30), 1)):  # fmt: skip
        xcoms = {("send", -1, "unknown"): [doubt]}
        past.add(
            run, {("send", -1): "failed"}, xcoms, began=began, ended=before(minutes=5), state="failed",
            clear_number=clears,
        )  # fmt: skip
    for until, told in ((None, ["within"]), (NOW.timestamp(), ["within"]), (before(minutes=9).timestamp(), [])):
        found = of_window(asked.context, past.dag_id, SINCE.timestamp(), until)
        assert [one.run_id for one in found if one.in_doubt] == (told if KNOWS_ENDS else [])


def test_states_that_are_older_than_the_end_of_a_run_say_nothing_of_it(asked: Asked, past: PastRuns):
    for run, ended in (("before", before(minutes=31)), ("soon", before(seconds=1805)), ("after", before(minutes=29))):
        past.add(run, {("send", -1): "success"}, {}, ended=ended)
    read = before(minutes=30).timestamp()
    history = DagHistory(asked.context, past.dag_id, now=chain([read], repeat(NOW.timestamp())).__next__)
    history.read_states()
    runs = [run for run, _ in history.ask(["before", "soon", "after"])]
    assert [run for run in runs if history.of(run)] == (["before"] if KNOWS_ENDS else [])


@pytest.mark.parametrize("state", ["running", "success"])
def test_a_run_that_began_after_its_states_were_read_is_read(asked: Asked, past: PastRuns, state: str):
    ended = dt.datetime.now(dt.UTC) if state == "success" else None
    past.add("run", {("send", -1): None}, send_xcoms(["a"]), ended=ended, state=state)
    assert window(asked, past) == {"run": ["a"]}


def sweep(asked: Asked, past: PastRuns) -> dict[str, list[str]]:
    found = of_unfinished(asked.context, past.dag_id, ["rollback"])
    return {run_id: found for run_id, found in keys(found).items() if found}


def add_unfinished(past: PastRuns, *runs: str) -> None:
    """Add runs whose rollback did not run, each newer than the one before."""
    for number, run in enumerate(runs):
        tasks = {("send", -1): "success", ("rollback", -1): "skipped"}
        past.add(run, tasks, send_xcoms([run], rollback="rollback"), ended=before(minutes=9 - number), state="failed")


@pytest.mark.parametrize("find", [window, sweep])
@pytest.mark.parametrize("part", ["/dag-runs/" if KNOWS_ENDS else "/xcoms/", "/xcoms/"])
def test_a_run_that_is_deleted_during_the_search_hides_no_other(
    past: PastRuns, find: Callable[[Asked, PastRuns], dict[str, list[str]]], part: str
):
    """Airflow lists the XComs up to the newest run; without that run it lists none."""
    add_unfinished(past, "first", "second", "newest")

    def delete(request: httpx.Request) -> None:
        if part in request.url.path and "/newest" in request.url.path:
            past.delete("newest")

    with task_of_another_dag(delete) as asked:
        assert find(asked, past) == {"first": ["first"], "second": ["second"]}
