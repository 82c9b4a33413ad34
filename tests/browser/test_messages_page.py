"""The Messages page in Airflow: what a run sent and what became of it, and nothing for who may not see it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from airflow_provider_dingtalk.cli.airflow_api import path_of
from airflow_provider_dingtalk.messages.receipt import iso
from dev.processes import Process, free_port, stop_all
from tests.real_airflow.fixtures import DagRun, Environment, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

    from dev.airflow_stack import AirflowStack
    from tests.browser.conftest import Shoot

SENDS, CHECK, INCIDENT = "dingtalk_rollback_on_failure", "check_the_numbers", "dingtalk_incident_rollback"
TITLE = "DingTalk messages"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator(f"iframe[title='{TITLE}']")


def url_of(run: DagRun) -> str:
    return f"{run.stack.url}/dags/{run.dag_id}/runs/{quote(run.run_id)}"


def open_tab(page: Page, url: str) -> FrameLocator:
    """Open a page of Airflow and its tab with the messages."""
    page.goto(url)
    page.get_by_role("link", name=TITLE).click()
    return frame_of(page)


def push(run: DagRun, key: str, value: Any) -> None:
    """Push an XCom of a stranger."""
    tasks = path_of("dags", run.dag_id, "dagRuns", run.run_id, "taskInstances", CHECK, "xcomEntries")
    run.airflow.post(tasks, {"key": key, "value": value})


def outcomes(frame: FrameLocator, receipts: int, omitted: Sequence[str]) -> dict[str, int]:
    """Return the page's count of messages by outcome, when tasks left recalled ones out of their reports."""
    run = {"dag_id": "d", "run_id": "r", "map_index": -1}
    xcoms = [{**run, "task_id": "send", "key": "receipts_0", "value": [receipt(number) for number in range(receipts)]}]
    xcoms.append({**run, "task_id": "rollback", "key": "recalled_0", "value": ["big-0"]})
    xcoms += [{**run, "task_id": task, "key": "report", "value": {"omitted": {"recalled": 2}}} for task in omitted]
    code = """async (_, xcoms) => {
        const { account, counts } = await import(new URL("messages.js", location.href));
        return counts(account(xcoms).messages, 0);
    }"""
    found: dict[str, int] = frame.locator("html").evaluate(code, xcoms)
    return {outcome: number for outcome, number in found.items() if number}


def receipt(number: int, **more: Any) -> dict[str, Any]:
    sent = datetime.now(UTC) - timedelta(hours=1)
    fields = {"version": 2, "kind": "oto", "robot_code": "r", "process_query_key": f"big-{number}"}
    return {**fields, "recipients": 1, "sent_at": iso(sent.timestamp()), **more}


@pytest.fixture(scope="module")
def recalled(stack, sandbox) -> DagRun:
    """Run that failed, and whose rollback took everything back."""
    sandbox.empty()
    return Environment(stack, sandbox).trigger_and_wait(SENDS)


def test_a_run_and_its_recalled_messages(page: Page, recalled: DagRun, shoot: Shoot):
    frame = open_tab(page, url_of(recalled))
    expect(frame.get_by_role("status")).to_have_text("51 messages: recalled 51")
    expect(frame.locator("tbody tr")).to_have_count(51)
    expect(frame.locator("tbody .recalled")).to_have_count(51)
    expect(frame.locator("tbody")).to_contain_text("cidgroup1")
    shoot(page, "1_light")

    page.evaluate("localStorage.setItem('i18nextLng', 'zh-CN'); localStorage.setItem('theme', 'dark')")
    page.reload()
    expect(frame.get_by_role("status")).to_have_text("51 条消息：已撤回 51")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    shoot(page, "2_dark_zh")

    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{recalled.stack.url}/dingtalk-messages/?dag_id={SENDS}&run_id={quote(recalled.run_id)}")
    expect(page.locator("tbody tr")).to_have_count(51)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shoot(page, "3_narrow")


def test_a_task_shows_its_own_messages(page: Page, recalled: DagRun):
    frame = open_tab(page, f"{url_of(recalled)}/tasks/send_to_groups")
    expect(frame.get_by_role("status")).to_have_text("3 messages: recalled 3")


@pytest.fixture(scope="module")
def guarded(stack: AirflowStack) -> Iterator[str]:
    """URL with a base path of a second API server, which wants a login; "guest" has no rights."""
    port, file = free_port(), stack.home / "guarded.json"
    file.write_text(json.dumps({"admin": "admin", "guest": "guest"}))
    options = {
        "API__BASE_URL": f"http://127.0.0.1:{port}/airflow",
        "API__PORT": str(port),
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,guest:",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
    }
    env = {**stack.env, **{f"AIRFLOW__{name}": value for name, value in options.items()}}
    command = [str(Path(sys.executable).with_name("airflow")), "api-server", "--workers", "1", "--host", "127.0.0.1"]
    process = Process("guarded", [*command, "--port", str(port)], env, stack.home / "guarded.log")
    try:
        wait_until("the second API server answers", lambda: answers(options["API__BASE_URL"]))
        yield options["API__BASE_URL"]
    finally:
        stop_all([process])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def cookies(url: str, user: str | None) -> list[Any]:
    """Return the cookies of a login; none without a user."""
    if user is None:
        return []
    answer = httpx.post(f"{url}/auth/token", json={"username": user, "password": user}, trust_env=False)
    return [{"name": "_token", "value": answer.raise_for_status().json()["access_token"], "url": url}]


@pytest.mark.parametrize(
    ("user", "status", "rows"),
    [
        ("admin", "51 messages: recalled 51", 51),
        ("guest", "Your account may not see this. Nothing is shown.", 0),
        (None, "You are not logged in to Airflow. Log in and reload the page.", 0),
    ],
)
def test_who_may_not_see_the_run_sees_nothing(
    page: Page, recalled: DagRun, guarded: str, user: str | None, status: str, rows: int
):
    page.context.add_cookies(cookies(guarded, user))
    page.goto(f"{guarded}/dingtalk-messages/?dag_id={SENDS}&run_id={quote(recalled.run_id)}")
    expect(page.get_by_role("status")).to_have_text(status)
    expect(page.locator("tbody tr")).to_have_count(rows)
    expect(page.locator("#incident")).to_be_visible(visible=rows > 0)


def test_the_incident_form_takes_the_values_and_the_page_knows_what_it_recalled(page: Page, environment: Environment):
    run = environment.trigger_and_wait(SENDS, revenue=7)
    frame = open_tab(page, url_of(run))
    expect(frame.get_by_role("status")).to_have_text("51 messages: sent 51")
    values = json.loads(frame.locator("#conf").input_value())
    run_id = run.airflow.trigger(INCIDENT, {**values, "reason": "The wrong numbers."})
    incident = DagRun(run.stack, INCIDENT, run_id)
    wait_until("the approval is asked for", lambda: incident.states().get("approve") == "awaiting_input")
    incident.wait_until_noted("approve")
    task = path_of("dags", INCIDENT, "dagRuns", incident.run_id, "taskInstances", "approve", "-1", "hitlDetails")
    incident.airflow.patch(task, {"chosen_options": ["Approve"], "params_input": {}})
    assert incident.wait().state == "success"
    page.reload()
    expect(frame.get_by_role("status")).to_have_text("51 messages: recalled 51")


def test_ten_thousand_messages_and_hostile_values(page: Page, environment: Environment, shoot: Shoot):
    before = datetime.now(UTC)
    run = environment.trigger_and_wait(SENDS, revenue=7)
    for chunk in range(100):
        push(run, f"receipts_{chunk}", [receipt(100 * chunk + number) for number in range(100)])
    hostile = receipt(0, kind="group", process_query_key=HOSTILE, open_conversation_id=HOSTILE)
    push(run, "receipts_late", [hostile, None, "text", {"kind": "__proto__"}, {"kind": "oto"}])
    push(run, "report", {"failed": {HOSTILE: {"code": HOSTILE, "message": "m", "next_step": "n"}}, "expired": [7]})
    push(run, "unknown", [{"to": [HOSTILE], "code": "no_response"}])
    push(run, "receipts_count", 10_002)

    page.goto(f"{run.stack.url}/plugin/dingtalk-messages")
    frame = frame_of(page)
    expect(frame.get_by_role("status")).to_have_text("Choose a DAG.")
    frame.get_by_label("DAG", exact=True).fill(SENDS)
    frame.get_by_label("Runs since").fill(before.strftime("%Y-%m-%dT%H:%M:%S"))
    frame.get_by_role("button", name="Show").press("Enter")
    expect(frame.get_by_role("status")).to_have_text("10052 messages: failed 1, sent 10051")
    expect(frame.locator("tbody tr")).to_have_count(100)
    expect(frame.locator("#position")).to_have_text("1–100 of 10052")
    frame.get_by_role("button", name="Next").click()
    expect(frame.locator("#position")).to_have_text("101–200 of 10052")
    expect(frame.locator("#notes")).to_contain_text("2 receipts cannot be read")
    shoot(page, "1_nav")

    frame.get_by_label("Outcome").select_option("failed")
    expect(frame.locator("tbody tr")).to_have_count(1)
    expect(frame.locator("tbody")).to_contain_text(HOSTILE)
    expect(frame.locator("#notes")).to_contain_text(HOSTILE)
    expect(frame.locator("img, main script")).to_have_count(0)
    assert frame.locator("html").evaluate("() => document.title") == TITLE
    frame.get_by_text("Take these messages back").click()
    expect(frame.locator("#conf")).to_have_value(
        f'{{\n  "reason": "",\n  "dag_id": "{SENDS}",\n  "since": "{before:%Y-%m-%dT%H:%M:%S}.000Z"\n}}'
    )
    shoot(page, "2_failed_and_incident")
    assert outcomes(frame, receipts=3, omitted=["recall"]) == {"recalled": 1, "unlisted": 2}
    assert outcomes(frame, receipts=3, omitted=["recall", "rollback"]) == {"recalled": 1, "unlisted": 2}
    assert outcomes(frame, receipts=3, omitted=["rollback"]) == {"recalled": 1, "sent": 2}
    # Without a time, the incident DAG asks for the run.
    frame.get_by_label("Runs since").fill("")
    frame.get_by_role("button", name="Show").press("Enter")
    expect(frame.locator("#conf")).to_have_value(f'{{\n  "reason": "",\n  "dag_id": "{SENDS}"\n}}')
    frame.get_by_role("button", name="Open the DAG").click()
    page.wait_for_url(f"**/dags/{INCIDENT}")


def test_the_reasons_are_in_the_language_of_the_page(page: Page, environment: Environment):
    run = environment.trigger_and_wait(SENDS, revenue=7)
    reason = {"code": "not_attempted", "message": "One of DingTalk's texts.", "next_step": "Run the recall again."}
    push(run, "receipts_late", [receipt(0)])
    push(run, "report", {"failed": {"big-0": reason}})
    frame = open_tab(page, url_of(run))
    expect(frame.locator(".reason")).to_have_text("not_attempted One of DingTalk's texts. Run the recall again.")
    page.evaluate("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.reload()
    expect(frame.locator(".reason")).to_have_text("not_attempted One of DingTalk's texts. 请重新执行撤回。")
