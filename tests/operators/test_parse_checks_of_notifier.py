"""Mistakes in a notifier that the parse of a DAG file reports, since it must not fail when it is needed."""

from __future__ import annotations

import pytest

from tests.support.dag_files import mistake_in, parse

AT_PARSE = {
    "Notifier(to={'open_conversation_id': ''})": "open_conversation_id[0]: is blank, or has blanks around it",
    "Notifier(to={'user_ids': []}, kind='oto')": "user_ids: is empty",
    "Notifier(to={'user_ids': 'a,b'}, kind='oto')": "user_ids: 'a,b' holds a comma: give a list",
    "Notifier(to={'open_conversation_id': 'cid'}, kind='private_chat')": "cool_app_code: is missing; give it",
    "Notifier(to={'user_ids': ['u'], 'remind_type': 'call'}, kind='ding')": (
        "remind_type: is 'call'; use one of app, sms, phone"
    ),
    "Notifier(to={'user_ids': ['u'], 'to_all_user': True}, kind='work_notification')": (
        "user_ids: give user_ids or dept_ids, or to_all_user alone"
    ),
    "Notifier(to={'to_all_user': False}, kind='work_notification')": (
        "user_ids: give user_ids or dept_ids, or to_all_user alone"
    ),
    "Notifier(to={'open_conversation_id': 'cid'}, timeout=timedelta(seconds=5))": (
        "timeout: must be a number of seconds, more than 0"
    ),
    "Notifier(to={'open_conversation_id': 'cid'}, dingtalk_conn_id='{{ params.conn }}')": (
        "dingtalk_conn_id: is '{{ params.conn }}'; use the id of a connection, without a template"
    ),
}
#: Right notifiers that are close to these mistakes.
RIGHT = (
    "Notifier(to={'user_ids': '{{ params.users }}'}, kind='work_notification')",
    "Notifier(to={'user_ids': ['u'], 'to_all_user': '{{ params.all }}'}, kind='work_notification')",
    "Notifier(to={'open_conversation_id': 'cid', 'cool_app_code': None}, text='长' * 20_000, timeout=5)",
)


@pytest.mark.parametrize("snippet", AT_PARSE)
def test_it_is_reported_when_the_file_is_parsed(snippet: str) -> None:
    assert mistake_in(snippet) == AT_PARSE[snippet]


@pytest.mark.parametrize("snippet", RIGHT)
def test_what_is_right_or_not_known_yet_is_parsed(snippet: str) -> None:
    parse(snippet)
