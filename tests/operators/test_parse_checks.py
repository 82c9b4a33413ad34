"""Plausible mistakes of DAG authors: when each is reported, and the text."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_dingtalk import operators
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messages.ding import REMIND_TYPES
from airflow_provider_dingtalk.notifications import ARGUMENTS
from airflow_provider_dingtalk.operators import parse_checks
from airflow_provider_dingtalk.task.arguments import ON_EMPTY
from tests.support.dag_files import BLOCK, mistake_in, parse

#: Snippets of a DAG file, each with a mistake, and the error that ends the parse.
AT_PARSE = {
    BLOCK.format("fail_on={'fialed'}"): ("fail_on: holds 'fialed'; use some of ['expired', 'failed', 'unknown']"),
    BLOCK.format("on_empty='skipp'"): "on_empty: is 'skipp'; use one of succeed, skip, fail",
    BLOCK.format("max_messages='ten'"): "max_messages: must be a whole number, 1 or more",
    BLOCK.format("only_unread=True, max_readers=3"): "max_readers: contradicts only_unread; give one of them",
    BLOCK.format("older_than=timedelta(hours=-1)"): (
        "older_than: must be a timedelta or a number of seconds, 0 or more"
    ),
    "Sweep(task_id='t', dag_ids=['d'], look_back='a week')": (
        "look_back: must be a timedelta or a number of seconds, 0 or more"
    ),
    BLOCK.format("") + "\n" + BLOCK.format("").replace("'send'", "'other'"): (
        "rollback_on_failure: has the id 'rollback' of another task here; give task_id=, e.g. rollback_2"
    ),
    "with rollback_on_failure():\n    Sensor(task_id='wait', receipts=[RECEIPT])": (
        "rollback_on_failure: has no task that sends: put the sends inside of the block"
    ),
    "Group(task_id='t', open_conversation_id='cid', text='x', markdown='# x')": (
        "text: give one of text, markdown, msg_key; got text and markdown"
    ),
    "Group(task_id='t', open_conversation_id='cid')": "text: give one of text, markdown, msg_key; got none",
    "Group(task_id='t', open_conversation_id='cid', text='x', title='T')": (
        "title: belongs to markdown, which is not given: it would not be sent"
    ),
    "Group(task_id='t', open_conversation_id='cid', msg_key='sampleLink', msg_param={'text': 'x'})": (
        "msg_param: sampleLink needs title, picUrl, messageUrl"
    ),
    "Group(task_id='t', open_conversation_id=[], text='{{ ds }}')": "open_conversation_id: is empty",
    "OTO(task_id='t', user_ids=['zhang', ''], text='x')": "user_ids[1]: is blank, or has blanks around it",
    "Ding(task_id='t', user_ids='u', text='x', remind_type='call')": (
        "remind_type: is 'call'; use one of app, sms, phone"
    ),
    "Work(task_id='t', text='x')": "user_ids: give user_ids or dept_ids, or to_all_user alone",
    "Group(task_id='t', open_conversation_id='cid', text='x', on_unknown_send='ignore')": (
        "on_unknown_send: is 'ignore'; use one of fail, skip, resend"
    ),
    "Group.partial(task_id='t', text='x', on_cleared_send='again').expand(open_conversation_id=['cid'])": (
        "on_cleared_send: is 'again'; use one of fail, resend, keep"
    ),
    "RecallGroup(task_id='t', process_query_keys=[RECEIPT], open_conversation_id='cid')": (
        "process_query_keys[0]: must be a key, not dict; give receipts as receipts="
    ),
    "RecallGroup(task_id='t', receipts=['key1'])": (
        "receipts[0]: is a text, not a receipt; give keys in the keys argument of the operator of their kind"
    ),
    "RecallDing(task_id='t')": "open_ding_ids: is missing; give it, or receipts",
    "RecallDing.partial(task_id='t', on_empty='fine').expand(open_ding_ids=[['a']])": (
        "on_empty: is 'fine'; use one of succeed, skip, fail"
    ),
    "Rollback(task_id='t')": "from_tasks: is missing; give it, or from_run, since or receipts",
    "Rollback(task_id='t', from_dag='reports')": "since: is missing; give it, or from_run",
    "Rollback(task_id='t', from_tasks='send', until='2026-11-28')": (
        "since: is missing; until ends the window that it starts"
    ),
    "Rollback(task_id='t', from_tasks='s', dry_run='maybe')": "dry_run: is 'maybe'; use True or False",
    "Rollback(task_id='t', since='yesterday')": (
        "since: is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z"
    ),
    "Rollback(task_id='t', from_tasks='send', fail_on=[['failed']])": (
        "fail_on: must be a set; use some of ['expired', 'failed', 'unknown']"
    ),
    "Rollback(task_id='t', from_tasks='send', fail_on=None)": (
        "fail_on: must be a set; use some of ['expired', 'failed', 'unknown']"
    ),
    "Sensor(task_id='t', open_conversation_id='cid')": "process_query_key: is missing; give it, or receipts",
    "Sensor(task_id='t', receipts='{{ x }}', min_read_share=50)": (
        "min_read_share: must be a number over 0 and up to 1, e.g. 0.8"
    ),
    "Sensor(task_id='t', receipts='{{ x }}', send_statuses=['SUCESS'])": (
        "send_statuses: Invalid send_statuses: 'SUCESS'; expected some of: SUCCESS, RECALLED, PROCESSING"
    ),
    "Sensor(task_id='t', receipts='{{ x }}', match='some')": "match: is 'some'; use all or any",
    "Notifier(to='cid')": "to: is 'cid'; use a dict, such as {'open_conversation_id': …}",
    "Notifier(to={'open_conversation_id': 'cid'}, kind='grup')": (
        "kind: is 'grup'; use one of group, private_chat, oto, work_notification, ding"
    ),
    "Notifier(to={'open_conversaton_id': 'cid'})": (
        "to['open_conversaton_id']: is not an argument of kind group; use some of open_conversation_id, "
        "cool_app_code, robot_code, text, title, markdown, msg_key, msg_param"
    ),
    "Notifier(to={'markdown': '# x'}, kind='oto')": "to: lacks the receivers; give user_ids",
}
#: Right snippets that are close to mistakes.
RIGHT = (
    BLOCK.format("max_messages=10, older_than=timedelta(hours=1), with_readers=True"),
    BLOCK.format("max_messages='{{ params.most }}', dry_run='{{ params.dry }}', only_unread=True"),
    BLOCK.format("") + "\n" + BLOCK.format("task_id='rollback_2'").replace("'send'", "'other'"),
    "with rollback_on_failure():\n    task(task_id='check')(lambda: None)()",
    "Group(task_id='t', open_conversation_id='{{ params.to }}', text='{{ params.text }}', markdown='{{ params.md }}')",
    "Group(task_id='t', open_conversation_id=['cid1', 'cid2'], markdown='# x', title='T', robot_code='r')",
    "Group(task_id='t', open_conversation_id='cid', msg_key='sampleText', msg_param={'content': '{{ ds }}'})",
    "Work(task_id='t', dept_ids=[1, 2], text='x')",
    "Work(task_id='t', to_all_user=True, msg={'msgtype': 'text', 'text': {'content': 'x'}})",
    *(
        f"Work(task_id='t', {receivers}, msg={{'msgtype': 'text', 'text': {{'content': 'x'}}}})"
        for receivers in (
            "dept_ids='{{ params.depts }}'",
            "to_all_user='{{ params.all }}'",
            "user_ids='{{ params.users }}', to_all_user='{{ params.all }}'",
            "user_ids=['u'], dept_ids=['{{ params.dept }}'], to_all_user='{{ params.all }}'",
        )
    ),
    "RecallGroup(task_id='t', process_query_keys=Group(task_id='s', open_conversation_id='c', text='x').output)",
    "Rollback(task_id='t', since='2026-11-28 09:00', from_dag='other')",
    "Rollback(task_id='t', since=datetime(2026, 11, 28), until='{{ x }}')",
    "Sensor(task_id='t', process_query_key='k', min_readers=3, min_read_share=0.5, audience=9, read_by=['a'])",
    "Sensor(task_id='t', receipts='{{ x }}', min_readers='{{ params.readers }}', match='any')",
    "Notifier(to={'dept_ids': [1]}, kind='work_notification')",
)


@pytest.mark.parametrize("snippet", AT_PARSE)
def test_it_is_reported_when_the_file_is_parsed(snippet: str) -> None:
    assert mistake_in(snippet) == AT_PARSE[snippet]


@pytest.mark.parametrize("snippet", RIGHT)
def test_what_is_right_or_not_known_yet_is_parsed(snippet: str) -> None:
    parse(snippet)


def test_templates_of_other_delimiters_are_left_to_the_run() -> None:
    parse(BLOCK.format("max_messages='<< params.most >>'"), jinja_environment_kwargs={"variable_start_string": "<<"})


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("group", {"open_conversation_id": "cid", "text": " "}, "text: is blank"),
        (
            "ding",
            {"user_ids": ["u"], "robot_code": "r", "markdown": "# x"},
            "markdown: is not an argument of kind ding",
        ),
        ("groups", {"text": "x"}, "kind: is 'groups'; use one of group, oto, private_chat, work_notification, ding"),
    ],
)
@pytest.mark.usefixtures("hook")
def test_the_hook_reports_at_the_call(kind: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        DingTalkHook().send_requests(kind, **arguments)
    assert str(caught.value) == text


def test_a_right_dag_imports_no_rules() -> None:
    """The dag-processor parses each file again and again."""
    program = (
        "import datetime, sys\n"
        "from airflow.sdk import DAG\n"
        "from airflow_provider_dingtalk import sensors\n"
        "from airflow_provider_dingtalk.operators import *\n"
        "with DAG('dag', schedule=None), rollback_on_failure(max_messages=9, older_than=datetime.timedelta(hours=1)):\n"
        "    sent = DingTalkSendGroupMessageOperator(task_id='send', open_conversation_id='cid', text='{{ ds }}')\n"
        "    DingTalkSendOTOMessagesOperator(task_id='people', user_ids=['u'], markdown='# x', title='T')\n"
        "    sensors.DingTalkGroupMessageSensor(task_id='read', receipts=sent.output, min_readers=3)\n"
        "print([name for name in sys.modules if name.startswith('airflow_provider_dingtalk.messages')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_words_are_those_of_the_run() -> None:
    assert parse_checks.ON_EMPTY == ON_EMPTY
    assert (*REMIND_TYPES,) == parse_checks.REMIND_TYPES
    operator_of = {
        "group": operators.DingTalkSendGroupMessageOperator,
        "private_chat": operators.DingTalkSendPrivateChatMessageOperator,
        "oto": operators.DingTalkSendOTOMessagesOperator,
        "work_notification": operators.DingTalkSendWorkNotificationOperator,
        "ding": operators.DingTalkSendDingOperator,
    }
    assert {kind: set(names) for kind, names in ARGUMENTS.items()} == {
        kind: set(operator.template_fields) for kind, operator in operator_of.items()
    }
