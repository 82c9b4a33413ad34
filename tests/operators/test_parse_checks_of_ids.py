"""Mistakes in ids, receivers, receipts and options that the parse of a DAG file reports, with the text."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_provider_dingtalk import operators
from airflow_provider_dingtalk.exceptions import InvalidInputError
from tests.support.dag_files import BLOCK, mistake_in, parse

GROUP = "Group(task_id='t', open_conversation_id={})"
OTO = "OTO(task_id='t', text='{{ ds }}', user_ids=%s)"
WORK = "Work(task_id='t', text='{{ ds }}', %s)"
RECALL = "RecallGroup(task_id='t', open_conversation_id='cid', %s)"
ROLLBACK = "Rollback(task_id='t', %s)"
SWEEP = "Sweep(task_id='t', %s)"
SENSOR = "Sensor(task_id='t', %s)"
NOT_A_TIME = "since: is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z"

AT_PARSE = {
    # ── receivers and senders ──
    GROUP.format("'cid ', text='x'"): "open_conversation_id[0]: is blank, or has blanks around it",
    GROUP.format("'cid', text='x', robot_code=''"): "robot_code: is blank, or has blanks around it",
    GROUP.format("'cid', text='x', cool_app_code=7"): "cool_app_code: must be text, not int",
    OTO % "'zhang,li'": "user_ids: 'zhang,li' holds a comma: give a list",
    OTO % "[7]": "user_ids[0]: must be text, not int",
    OTO % "[['zhang', 'li']]": "user_ids[0]: must be text, not list",
    OTO % "['zhang'], one_receipt_per_user='yes'": "one_receipt_per_user: is 'yes'; use True or False",
    "PrivateChat(task_id='t', open_conversation_id='cid', cool_app_code=None, text='x')": (
        "cool_app_code: is missing; give it"
    ),
    WORK % "user_ids=['u'], to_all_user=True": "user_ids: give user_ids or dept_ids, or to_all_user alone",
    WORK % "user_ids=['u'], to_all_user='no'": "to_all_user: is 'no'; use True or False",
    WORK % "dept_ids=['Sales']": "dept_ids[0]: must be a number as DingTalk gave it, not str of another form",
    WORK % "user_ids=['u'], agent_id='ours'": "agent_id: must be a number as DingTalk gave it, not str of another form",
    "Ding(task_id='t', user_ids=['u'], text='{{ ds }}', remind_type='SMS')": (
        "remind_type: is 'SMS'; use one of app, sms, phone"
    ),
    # ── arrays, which have no truth value ──
    GROUP.format("'cid', text='x', on_unknown_send=Array()"): (
        "on_unknown_send: is '[1 2]'; use one of fail, skip, resend"
    ),
    ROLLBACK % "from_tasks='s', only_if_failed=Array()": "only_if_failed: must be a list, not Array",
    ROLLBACK % "from_tasks='s', rollbacks=Array()": "rollbacks: must be a list, not Array",
    SWEEP % "dag_ids=['d'], rollbacks=Array()": "rollbacks: must be a list, not Array",
    # ── content and options ──
    GROUP.format("'cid', text='{{ ds }}', title='T'"): (
        "title: belongs to markdown, which is not given: it would not be sent"
    ),
    "Work(task_id='t', user_ids=['u'], text='长' * 900)": "msg: is 2740 bytes of JSON; DingTalk takes 2048",
    GROUP.format("'cid', text=5"): (
        "text: must be text, not int: quote it, or set render_template_as_native_obj=False if a template made it"
    ),
    GROUP.format("'cid', msg_key='sampleText'"): "msg_param: is missing; give an object (dict)",
    GROUP.format("'cid', text='x', allow_resend='False'"): "allow_resend: is 'False'; use one of True, False",
    GROUP.format("'cid', text='x', dingtalk_conn_id='{{ params.conn }}'"): (
        "dingtalk_conn_id: is '{{ params.conn }}'; use the id of a connection, without a template"
    ),
    GROUP.format("'cid', text='x', dingtalk_conn_id=None"): (
        "dingtalk_conn_id: is 'None'; use the id of a connection, without a template"
    ),
    # ── recalls ──
    RECALL % "process_query_keys='key1'": "process_query_keys: is a string that is not JSON; give a list",
    RECALL % "process_query_keys=[1]": "process_query_keys[0]: must be text, not int",
    RECALL % "receipts=[{**RECEIPT, 'kind': 'grup'}]": (
        "receipts[0].kind: is 'grup'; use one of group, oto, private_chat, work_notification, ding"
    ),
    RECALL % "receipts=[{'kind': 'group', 'process_query_key': 'k'}]": (
        "receipts[0].robot_code: is missing; a receipt of kind group needs it"
    ),
    RECALL % "receipts=Group(task_id='s', open_conversation_id='c', text='x')": (
        "receipts: must be a receipt or a list of receipts, not DingTalkSendGroupMessageOperator, a task; give its "
        "task_id or its output"
    ),
    "RecallOTO(task_id='t', receipts=RECEIPT)": (
        "receipts[0].kind: is group; this task is about oto only. DingTalkRollbackOperator takes any mixture"
    ),
    "RecallGroup(task_id='t', process_query_keys=['k'])": "open_conversation_id: is missing; give it",
    "RecallWork(task_id='t', msg_task_id='abc')": (
        "msg_task_id[0]: must be a number as DingTalk gave it, not str of another form"
    ),
    # ── rollbacks and sweeps ──
    ROLLBACK % "from_tasks=[Group(task_id='s', open_conversation_id='c', text='x')]": (
        "from_tasks[0]: must be text, not DingTalkSendGroupMessageOperator, a task; give its task_id or its output"
    ),
    ROLLBACK % "from_tasks='s', only_if_failed=5": "only_if_failed: must be a list, not int",
    ROLLBACK % "from_tasks='s', only_if_failed=RecallDing(task_id='s', open_ding_ids='{{ x }}').output": (
        "only_if_failed: must be a list, not PlainXComArg"
    ),
    ROLLBACK % "from_tasks='s', from_dag='other'": "since: is missing; give it, or from_run",
    ROLLBACK % "receipts='send'": (
        "receipts: is a text, not a receipt; give keys in the keys argument of the operator of their kind"
    ),
    ROLLBACK % "since='2026-13-45'": NOT_A_TIME,
    ROLLBACK % "since=timedelta(hours=2)": NOT_A_TIME,
    ROLLBACK % "from_tasks='s', older_than=timedelta(hours=2), newer_than=3600": (
        "newer_than: must be more than older_than: no message is of an age between them"
    ),
    ROLLBACK % "from_tasks='s', fail_on=RecallDing(task_id='s', open_ding_ids='{{ x }}').output": (
        "fail_on: must be a set; use some of ['expired', 'failed', 'unknown']"
    ),
    BLOCK.format("from_dag='other'"): "since: is missing; give it, or from_run",
    SWEEP % "dag_ids=[]": "dag_ids: is empty; give one id or more",
    SWEEP % "dag_ids=['d'], rollbacks=[]": "rollbacks: is empty; give one id or more",
    SWEEP % "dag_ids=['d'], from_tasks='send'": (
        "from_tasks: is not for a sweep, which finds out by itself; give dag_ids"
    ),
    SWEEP % "dag_ids=['d'], only_if_failed=True": (
        "only_if_failed: is not for a sweep, whose runs have ended; leave it out"
    ),
    # ── sensors ──
    SENSOR % "process_query_key=['k1', 'k2']": "process_query_key[0]: must be text, not list",
    SENSOR % "process_query_key='k', min_read_share=0.5": (
        "min_read_share: the number of recipients of the group message is unknown; give audience"
    ),
    SENSOR % "receipts='{{ x }}', max_api_calls=0": "max_api_calls: must be a whole number, 1 or more",
    SENSOR % "receipts='{{ x }}', max_poke_interval='2h'": (
        "max_poke_interval: must be a timedelta or a number of seconds, more than 0"
    ),
    SENSOR % "receipts='{{ x }}', match='{{ params.match }}'": "match: is '{{ params.match }}'; use all or any",
    SENSOR % "receipts='{{ x }}', send_statuses='SUCCESS'": "send_statuses: must be a list, not str",
    SENSOR % "receipts='{{ x }}', min_readers=None": "min_readers: must be a whole number, 0 or more",
    SENSOR % "receipts='{{ x }}', read_by=[]": "read_by: is empty; leave it out to wait for any reader",
    SENSOR % "receipts='{{ x }}', push_readers='False'": "push_readers: is 'False'; use one of False, True",
    "WorkSensor(task_id='t', msg_task_id='abc')": (
        "msg_task_id[0]: must be a number as DingTalk gave it, not str of another form"
    ),
}
#: Right snippets that are close to these mistakes.
RIGHT = (
    "Work(task_id='t', dept_ids='{{ params.depts }}', msg={'msgtype': 'text', 'text': {'content': 'x'}})",
    "Work(task_id='t', to_all_user='{{ params.all }}', msg={'msgtype': 'text', 'text': {'content': 'x'}})",
    "Work(task_id='t', user_ids='{{ params.users }}', to_all_user='{{ params.all }}', text='长' * 400)",
    "Work(task_id='t', user_ids=['u'], to_all_user='False', agent_id='123', text='x')",
    WORK % "user_ids=['zhang'], dept_ids=[1, '2']",
    OTO % """'["zhang", "li"]', one_receipt_per_user='True'""",
    "PrivateChat(task_id='t', open_conversation_id='cid', cool_app_code='{{ params.app }}', text='x')",
    "Ding(task_id='t', user_ids='{{ params.user }}', text='x', remind_type='{{ params.type }}')",
    "RecallWork(task_id='t', msg_task_id=5)",
    RECALL % "receipts=[[RECEIPT], None]",
    RECALL % "process_query_keys='{{ params.keys }}', robot_code=None",
    ROLLBACK % "from_tasks='s', only_if_failed='check'",
    ROLLBACK % "since=date(2026, 11, 28), until='2026-11-29T08:00Z', older_than=60, newer_than='{{ params.age }}'",
    SWEEP % "dag_ids='{{ params.dags }}', rollbacks='group.rollback'",
    SENSOR % "process_query_key='k', min_read_share=0.5, audience='{{ params.audience }}'",
    SENSOR % "receipts=[], on_empty='skip'",
)


@pytest.mark.parametrize("snippet", AT_PARSE)
def test_it_is_reported_when_the_file_is_parsed(snippet: str) -> None:
    assert mistake_in(snippet) == AT_PARSE[snippet]


@pytest.mark.parametrize("snippet", RIGHT)
def test_what_is_right_or_not_known_yet_is_parsed(snippet: str) -> None:
    parse(snippet)


def test_options_of_the_default_args_are_checked_too() -> None:
    with pytest.raises(InvalidInputError, match="fail_on: holds 'lost'"):
        parse(BLOCK.format(""), default_args={"fail_on": {"lost"}})
    with pytest.raises(InvalidInputError, match="from_tasks: is not for a sweep"):
        parse(SWEEP % "dag_ids=['d']", default_args={"from_tasks": ["send"]})


def test_a_mapped_task_is_checked_when_its_arguments_are_known() -> None:
    with pytest.raises(InvalidInputError, match="fail_on_dropped: is 'no'"):
        parse("OTO.partial(task_id='t', text='x', fail_on_dropped='no').expand(user_ids=[['u']])")
    with DAG("dag", schedule=None):
        operators.DingTalkSendOTOMessagesOperator.partial(task_id="t", text="x").expand(user_ids=["a,b"])
