"""The sandbox's own page: messages appear, get read, and vanish when recalled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.real_airflow.fixtures import DingTalk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Shoot


def test_life_of_a_message(chats: Page, dingtalk: DingTalk, shoot: Shoot):
    group = chats.locator("[data-chat=cidgroup1]")
    expect(group).to_contain_text("No messages.")
    first, second = dingtalk.create_messages("group", 2, text="Lunch is ready.")
    expect(group.locator("article")).to_have_count(2)
    dingtalk.read_by(first, "user001", "user002")
    message = group.locator(f'[data-key="{first}"]')
    expect(message).to_contain_text("Lunch is ready.")
    expect(message).to_contain_text("read by 2 of 60")
    shoot(chats, "1_read")
    dingtalk.recall_behind_our_back(first)
    expect(message).to_have_count(0)
    expect(group.locator("article")).to_have_attribute("data-key", second)
    chats.get_by_label("show what was taken back").check()
    expect(message).to_contain_text("taken back")
    shoot(chats, "2_taken_back")


def test_a_message_is_text_whatever_it_says(chats: Page, dingtalk: DingTalk):
    said: list[str] = []
    chats.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    text = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    dingtalk.create_messages("oto", 1, text=text)
    expect(chats.locator("article p")).to_have_text(text)
    assert chats.locator("article img, article script").count() == 0
    assert said == []


def test_it_says_so_when_the_sandbox_is_gone(chats: Page, dingtalk: DingTalk):
    expect(chats.locator("#lost")).to_be_hidden()
    chats.route("**/truth", lambda route: route.abort())
    expect(chats.locator("#lost")).to_be_visible()
