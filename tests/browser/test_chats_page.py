"""The sandbox's own page: messages appear, get read, and disappear when recalled; faults, clock, languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.real_airflow.fixtures import DingTalk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Shoot

MARKDOWN = "# Report of **08:00**\n- one\n- [two](https://example.org)\n1. ![chart](https://example.org/c.png)\n[bad](javascript:alert(1))"
CARD = {"title": "Deploy?", "text": "**Now**", "btnOrientation": "0"} | {
    "actionTitle1": "Yes",
    "actionURL1": "https://example.org/yes",
    "actionTitle2": "No",
    "actionURL2": "https://example.org/no",
}


def test_life_of_a_message(chats: Page, dingtalk: DingTalk, shoot: Shoot):
    group = chats.locator("[data-chat=cidgroup1]")
    expect(group).to_contain_text("No messages.")
    first, second = dingtalk.create_messages("group", 2, text="Lunch is ready.")
    expect(group.locator("article")).to_have_count(2)
    message = group.locator(f'[data-key="{first}"]')
    expect(message).to_contain_text("Lunch is ready.")
    chats.get_by_label("Read as").select_option("user002")
    message.get_by_role("button", name="Read").click()
    expect(message).to_contain_text("read by 1 of 60")
    message.locator("summary").click()
    expect(message).to_contain_text("Name of user002")
    shoot(chats, "1_read")
    message.get_by_role("button", name="Recall").click()
    expect(message).to_contain_text("recalled")
    expect(message).to_have_count(0)
    expect(group.locator("article")).to_have_attribute("data-key", second)
    assert dingtalk.gone() == {first}
    chats.get_by_label("show recalled messages").check()
    expect(message).to_contain_text("recalled")
    chats.get_by_role("button", name="Reset everything").click()
    expect(chats.locator("article")).to_have_count(0)
    assert dingtalk.messages() == {}


def test_markdown_cards_and_a_chat_for_each_person(chats: Page, dingtalk: DingTalk, shoot: Shoot):
    dingtalk.create_messages("group", 1, msg_key="sampleMarkdown", msg_param={"title": "t", "text": MARKDOWN})
    dingtalk.create_messages("oto", 1, user_ids=["user003", "user004"], msg_key="sampleActionCard2", msg_param=CARD)
    group = chats.locator("[data-chat=cidgroup1]")
    expect(group.get_by_role("heading", name="Report of 08:00")).to_be_visible()
    expect(group.get_by_role("link", name="two")).to_have_attribute("href", "https://example.org")
    expect(group.locator("li")).to_have_count(3)
    expect(group.locator(".image")).to_contain_text("chart")
    expect(group.locator("[href^=javascript]")).to_have_count(0)
    person = chats.locator("[data-chat=user004]")
    expect(person.get_by_role("link", name="No")).to_have_attribute("href", "https://example.org/no")
    person.get_by_role("button", name="Read").press("Enter")
    expect(chats.locator("[data-chat=user003] article")).to_contain_text("read by 1 of 2")
    for scheme in ("light", "dark"):
        chats.emulate_media(color_scheme=scheme)
        shoot(chats, scheme)
    chats.set_viewport_size({"width": 400, "height": 900})
    assert chats.evaluate("document.documentElement.scrollWidth") <= 400
    shoot(chats, "narrow")


def test_fault_calls_and_clock(chats: Page, dingtalk: DingTalk):
    chats.locator("#fault").select_option("throttle")
    chats.locator("#times").fill("2")
    chats.get_by_role("button", name="Add fault").click()
    expect(chats.locator("#rules")).to_contain_text("throttle · all · before · applied 0 times / 2")
    chats.request.post(f"{dingtalk.server.url}/v1.0/robot/groupMessages/query", data={})
    row = chats.locator("#calls tr").first
    expect(row).to_contain_text("robot/groupMessages/query")
    expect(row).to_contain_text("QpsLimitForAppkeyAndApi")
    expect(chats.locator("#rules")).to_contain_text("applied 1 times / 2")
    chats.get_by_role("button", name="Remove all faults").click()
    expect(chats.locator("#rules")).to_contain_text("No faults.")
    chats.get_by_role("button", name="+1 h").click()
    expect(chats.locator("#offset")).to_contain_text("3600 s")
    chats.get_by_role("button", name="Real time").click()
    expect(chats.locator("#offset")).to_contain_text("0 s from the real time")


def test_chinese_by_the_browsers_language_and_the_switch(browser: Browser, dingtalk: DingTalk, shoot: Shoot):
    context = browser.new_context(locale="zh-CN")
    chats = context.new_page()
    chats.goto(f"{dingtalk.server.url}/_sandbox/")
    dingtalk.create_messages("group", 1, text="午饭好了。")
    article = chats.locator("[data-chat=cidgroup1] article")
    expect(article).to_contain_text("0/60 人已读")
    expect(chats.locator("html")).to_have_attribute("lang", "zh-CN")
    shoot(chats, "zh")
    chats.get_by_role("button", name="English").click()
    expect(article).to_contain_text("read by 0 of 60")
    chats.reload()
    expect(chats.get_by_role("button", name="中文")).to_be_visible()
    context.close()


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
    chats.route("**/chats", lambda route: route.abort())
    expect(chats.locator("#lost")).to_be_visible()
