"""Errors of Airflow's task state store, hashes of requests, and rows."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError, SupersededError
from airflow_provider_dingtalk.task.checkpoint.store import ause, corrupt, fingerprint, slices, use

SECRET = "token-in-the-error"


def fails(text: str) -> None:
    raise RuntimeError(text)


def test_a_404_means_that_another_try_has_begun() -> None:
    with pytest.raises(SupersededError) as raised:
        use(fails, f"404: the task instance was not found {SECRET}")
    assert raised.value.code == "superseded"


@pytest.mark.parametrize("text", ["503 Service Unavailable", "id 4040 is locked", ""])
def test_another_error_is_a_failed_store_without_the_text_of_the_error(text: str) -> None:
    with pytest.raises(CheckpointError, match="RuntimeError") as raised:
        use(fails, f"{text} {SECRET}")
    assert not isinstance(raised.value, SupersededError)
    assert not raised.value.permanent
    assert raised.value.next_step
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_an_error_of_ours_passes_unchanged() -> None:
    error = corrupt("dingtalk-send-1")

    def work() -> None:
        raise error

    with pytest.raises(CheckpointError) as raised:
        use(work)
    assert raised.value is error
    assert raised.value.permanent
    assert "dingtalk-send-1" in str(raised.value)


@pytest.mark.anyio
async def test_the_store_is_used_alike_from_an_event_loop() -> None:
    assert await ause({"key": 1}.get, "key") == 1
    with pytest.raises(CheckpointError):
        await ause(fails, "503")


def test_a_hash_depends_on_values_and_not_on_the_order_of_names() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert len({fingerprint({"a": 1}), fingerprint({"a": 2}), fingerprint([1]), fingerprint([1], 1)}) == 4
    assert len(fingerprint()) == 32


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 250])
def test_rows_cover_each_index_once(total: int) -> None:
    rows = list(slices(total, 100))
    assert [index for row in rows for index in row] == list(range(total))
    assert all(1 <= len(row) <= 100 for row in rows)
