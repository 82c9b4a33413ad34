"""Recalled messages by rollback logs: each event is read once, and only those of tasks that recalled."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_dingtalk.messages.receipt import Receipt, iso
from airflow_provider_dingtalk.task.recall_log import RecallLog

SENT = 1_764_000_000.0


def receipt(sent_at: float | None) -> Receipt:
    more: dict[str, Any] = {} if sent_at is None else {"sent_at": iso(sent_at)}
    return Receipt(kind="oto", robot_code="r", process_query_key="k", **more)  # type: ignore[arg-type]


def event(task_id: str | None, **extra: Any) -> Any:
    return SimpleNamespace(
        source_dag_id="undo", source_run_id="r1", source_task_id=task_id, extra={"version": 1, **extra}
    )


class Log(RecallLog):
    """Log over events and keys that are given, and what was asked for."""

    def __init__(self, *events: Any, earliest: float = math.inf) -> None:
        self.asked: list[Any] = []
        super().__init__(
            lambda after: self._answer(after, events), lambda *source: self._answer(source, {"k"}), earliest
        )

    def _answer(self, asked: Any, answer: Any) -> Any:
        self.asked.append(asked)
        return answer


def test_the_task_behind_an_event_says_what_it_recalled_once() -> None:
    log = Log(event("undo", recalled=1), event("undo", recalled=2))
    assert log.recalled([receipt(SENT)]) == {"k"}
    assert log.asked == [iso(SENT), ("undo", "r1", "undo")]


def test_the_keys_are_put_together_once_for_all_runs() -> None:
    log = Log(*(event("undo", recalled=1) for _ in range(3)), earliest=SENT)
    assert log.recalled([receipt(SENT)]) is log.recalled([receipt(SENT + 9)])
    assert log.asked == [iso(SENT), ("undo", "r1", "undo")]


@pytest.mark.parametrize("one", [event("undo", recalled=0), event("undo", kept=3), event(None, recalled=3)])
def test_an_event_of_no_recall_or_no_task_says_nothing(one: Any) -> None:
    log = Log(one)
    assert log.recalled([receipt(SENT)]) == set()
    assert log.asked == [iso(SENT)]


@pytest.mark.parametrize(
    ("sent", "earliest", "after"),
    [
        ([SENT, SENT + 9], math.inf, iso(SENT)),
        ([SENT], SENT - 60, iso(SENT - 60)),
        ([None], SENT, None),
        ([SENT], -math.inf, iso(0.0)),
    ],
)
def test_events_are_read_from_the_oldest_message_on(
    sent: list[float | None], earliest: float, after: str | None
) -> None:
    log = Log(earliest=earliest)
    assert log.recalled([receipt(one) for one in sent]) == set()
    assert log.asked == [after]


def test_without_messages_no_event_is_read() -> None:
    log = Log()
    assert log.recalled([]) == set()
    assert log.asked == []
