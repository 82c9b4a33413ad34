"""The incident DAG in a real browser: fill in the form, approve, see the messages vanish."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.on_call import OnCall
from tests.real_airflow.fixtures import DagRun, Environment, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Shoot

INCIDENT, SENDS = "dingtalk_incident_rollback", "dingtalk_rollback_on_failure"
#: Rows of the question, with the numbers of messages.
ROWS = {
    "group messages / 群消息 cidgroup1": 1,
    "one-on-one messages / 单聊消息": 45,
    "private-chat messages / 人与人会话消息": 1,
    "work notifications / 工作通知": 1,
    "DINGs / DING 消息": 1,
    "in all / 合计": 51,
}


def is_asked(environment: Environment, run_id: str, task_id: str = "approve") -> None:
    """Wait for a question by asking Airflow: a person would wait for the sign in its pages."""
    run = DagRun(environment.stack, INCIDENT, run_id)
    wait_until(f"{task_id} asks", lambda: run.states().get(task_id) == "awaiting_input")
    run.wait_until_noted(task_id)


def test_approved(on_call: OnCall, chats: Page, environment: Environment, shoot: Shoot):
    wrong = environment.trigger_and_wait(SENDS, revenue=7)
    assert wrong.state == "success"
    sent = set(environment.dingtalk.messages())
    expect(chats.locator("#visible")).to_have_text("51")
    expect(chats.locator("[data-chat=cidgroup1] article")).to_have_count(1)
    shoot(chats, "1_chats_before")

    form = on_call.open_form(INCIDENT)
    on_call.fill(form, "reason", "The figures were those of last year.")
    on_call.unfold(form, "What a DAG sent")
    expect(form.locator("#list_dag_id option")).to_have_attribute("value", SENDS)
    on_call.fill(form, "dag_id", wrong.dag_id)
    on_call.unfold(form, "Before and afterwards")
    on_call.fill(form, "correction_group", "cidgroup2")
    shoot(on_call.page, "2_form")
    run_id = on_call.send_off(form)

    is_asked(environment, run_id, "dry_run")
    on_call.open_required_action("Which run sent the wrong messages?", wrong.run_id)
    shoot(on_call.page, "3_choice")
    on_call.press(wrong.run_id)

    is_asked(environment, run_id)
    on_call.open_required_action("Take back 51 DingTalk messages?")
    for row, number in ROWS.items():
        # A slash ends the pattern in the browser.
        pattern = re.compile(rf"^{row.replace('/', '.')}.* {number} ")
        expect(on_call.page.get_by_role("row", name=pattern)).to_be_visible()
    shoot(on_call.page, "4_approval")
    expect(chats.locator("#recalled")).to_have_text("0")
    on_call.press("Approve")

    # The chats empty themselves before our eyes. What is left is what the group is told.
    expect(chats.locator("#recalled")).to_have_text("51")
    expect(chats.locator("#visible")).to_have_text("1")
    expect(chats.locator("[data-chat=cidgroup1] article")).to_have_count(0)
    expect(chats.locator("[data-chat=cidgroup2] article")).to_contain_text("51 of 51 messages were taken back")
    shoot(chats, "5_chats_after")
    on_call.look_at_run(INCIDENT, run_id, "Success")
    shoot(on_call.page, "6_run")
    assert environment.dingtalk.gone() == sent


def test_rejected(on_call: OnCall, chats: Page, environment: Environment, shoot: Shoot):
    keys = environment.dingtalk.create_messages("oto", 3)
    expect(chats.locator("[data-key]")).to_have_count(3)

    form = on_call.open_form(INCIDENT)
    on_call.fill(form, "reason", "Perhaps the wrong people.")
    on_call.unfold(form, "Messages by their keys")
    on_call.fill(form, "keys", "\n".join(keys))
    on_call.choose(form, "kind", "one-on-one messages / 单聊消息")
    on_call.unfold(form, "Before and afterwards")
    on_call.fill(form, "correction_group", "cidgroup2")
    shoot(on_call.page, "1_form")
    run_id = on_call.send_off(form)

    is_asked(environment, run_id)
    on_call.open_required_action("Take back 3 DingTalk messages?")
    on_call.press("Reject")
    on_call.look_at_run(INCIDENT, run_id, "Success")
    expect(on_call.task_row("recall")).to_contain_text("Skipped")
    shoot(on_call.page, "2_run")
    expect(chats.locator("[data-chat=cidgroup2] article")).to_contain_text("Nothing was taken back")
    expect(chats.locator("#recalled")).to_have_text("0")
    shoot(chats, "3_chats")
    assert environment.dingtalk.gone() == set()


def test_of_a_time(on_call: OnCall, environment: Environment, shoot: Shoot):
    """Messages of runs before, which are taken back already, do not count."""
    half_an_hour_ago = datetime.now(UTC) - timedelta(minutes=30)
    environment.trigger_and_wait(SENDS, revenue=7)
    form = on_call.open_form(INCIDENT)
    on_call.fill(form, "reason", "All of that morning.")
    on_call.unfold(form, "What a DAG sent")
    on_call.fill(form, "dag_id", SENDS)
    on_call.pick_moment(form, "Since / 开始时间", half_an_hour_ago)
    shoot(on_call.page, "1_form")
    run_id = on_call.send_off(form)
    is_asked(environment, run_id)
    on_call.open_required_action("Take back 51 DingTalk messages?")
    on_call.press("Approve")
    on_call.look_at_run(INCIDENT, run_id, "Success")
    assert environment.dingtalk.gone() == set(environment.dingtalk.messages())


def test_the_form_does_not_go_off_without_a_reason(on_call: OnCall):
    form = on_call.open_form(INCIDENT)
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_disabled()
    on_call.fill(form, "reason", "The wrong people.")
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_enabled()
