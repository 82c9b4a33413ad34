"""Fast part of the harness: the quick rows, the secret scanner, the bad clients."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator

import pytest

from tests.faults.bad_clients import BAD_CLIENTS, SHIPPED, broken_by, caught
from tests.faults.fixtures import CanarySandbox, Sinks, recording
from tests.faults.matrix import run_row
from tests.faults.rows import ROWS
from tests.faults.scheme import Row
from tests.faults.secret_scanner import WINDOW, forms, leaks_in, sweep, windows

SEED = 7
KEYS = 400
RUN_HERE = [row for row in ROWS if (row.cases or row.specials) and not row.slow]


def test_the_matrix_has_51_rows_in_order_each_run_or_said_not_to_be() -> None:
    assert [row.number for row in ROWS] == list(range(1, 52))
    for row in ROWS:
        assert sum(map(bool, (row.cases or row.specials, row.elsewhere, row.missing))) == 1, row.number
    assert [row.number for row in ROWS if row.missing] == []


@pytest.fixture(autouse=True)
def forgiving_sockets() -> Iterator[None]:
    """Ignore the resource warnings of connections that a fault broke."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize("row", RUN_HERE, ids=lambda row: f"{row.number}-{row.name}")
def test_the_row_holds_and_shows_no_secret(row: Row) -> None:
    sinks = Sinks()
    figures = run_row(row, seed=SEED, keys=KEYS, sinks=sinks, fast=True)
    assert figures.state == "held", figures.line()
    assert (figures.lost, figures.double, figures.false_recalled, figures.false_failed) == (0, 0, 0, 0)
    assert sweep(sinks) == []
    assert sinks.secrets or not sinks.texts


# ── the secret scanner ───────────────────────────────────────────────────────────────────────────────

SECRET = CanarySandbox(SEED).secret
FORMS = list(dict.fromkeys(forms(SECRET)))


def into_logs(sinks: Sinks, text: str) -> None:
    with recording(sinks):
        logging.getLogger("airflow_provider_dingtalk.client").debug("got %s", text)


def into_the_log_of_httpx(sinks: Sinks, text: str) -> None:
    with recording(sinks):
        logging.getLogger("httpx").info("HTTP Request: POST https://x/?access_token=%s", text)


def into_the_log_of_aiohttp(sinks: Sinks, text: str) -> None:
    with recording(sinks):
        logging.getLogger("aiohttp.client").debug("headers %r", [(b"token", text.encode())])


def into_a_logged_traceback(sinks: Sinks, text: str) -> None:
    with recording(sinks):
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("airflow_provider_dingtalk").exception("failed")


def into_an_exception(sinks: Sinks, text: str) -> None:
    sinks.add_error(RuntimeError("failed", {"header": text}))


def into_a_cause(sinks: Sinks, text: str) -> None:
    error = RuntimeError("failed")
    error.__cause__ = ValueError(text)
    sinks.add_error(error)


def into_a_hidden_context(sinks: Sinks, text: str) -> None:
    error = RuntimeError("failed")
    error.__context__ = KeyError(text)
    error.__suppress_context__ = True
    sinks.add_error(error)


def into_an_attribute(sinks: Sinks, text: str) -> None:
    error = RuntimeError("failed")
    error.url = f"https://x/?access_token={text}"  # type: ignore[attr-defined]
    sinks.add_error(error)


def into_an_xcom(sinks: Sinks, text: str) -> None:
    sinks.add("xcoms", {"report": {"unknown": {"key": {"message": text}}}})


def into_a_checkpoint(sinks: Sinks, text: str) -> None:
    sinks.add("checkpoints", json.dumps([{"code": "c", "message": f"m {text}"}]))


def into_a_triggers_arguments(sinks: Sinks, text: str) -> None:
    sinks.add("trigger arguments", {"wait_spec": {"token": text}})


def into_a_report(sinks: Sinks, text: str) -> None:
    sinks.add("reports", f"  3 failed: {text}")


def into_a_repr(sinks: Sinks, text: str) -> None:
    sinks.add("reprs", f"DingTalkClient(secret={text})")


PLACES = [value for name, value in list(globals().items()) if name.startswith("into_")]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[0])
@pytest.mark.parametrize("leak", PLACES, ids=lambda place: place.__name__)
def test_a_leak_is_found_wherever_it_is_and_in_every_form(
    leak: Callable[[Sinks, str], None], form: tuple[str, str]
) -> None:
    sinks = Sinks()
    sinks.secrets.add(SECRET)
    leak(sinks, form[1])
    assert sweep(sinks)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[0])
def test_any_eight_characters_in_a_row_are_found_and_seven_are_not(form: tuple[str, str]) -> None:
    wanted = windows([SECRET])
    text = form[1]
    for start in range(len(text) - WINDOW + 1):
        assert leaks_in([f"before {text[start : start + WINDOW]} after"], wanted)
        assert not leaks_in([f"before \0{text[start : start + WINDOW - 1]}\0 after"], wanted)


def test_texts_without_a_secret_are_clean() -> None:
    sinks = Sinks()
    sinks.secrets.update(CanarySandbox(SEED).secrets())
    sinks.add("logs", "robot/groupMessages/recall: system.error (HTTP 500): injected fault.", "dingsandbox" * 50)
    sinks.add("checkpoints", "R" * 1000)
    assert sweep(sinks) == []


# ── bad clients ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", BAD_CLIENTS)
def test_a_bad_client_is_caught_by_the_invariant_it_breaks(name: str) -> None:
    assert caught(name, SEED) == BAD_CLIENTS[name].broken


def test_the_shipped_client_passes_the_same_trials() -> None:
    assert broken_by(SHIPPED, SEED) == set()
