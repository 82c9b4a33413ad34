"""Take messages back by hand: a form, a dry run, an approval in Airflow's UI, the recall, a word to a group.

For whoever is on call: docs/incident.md.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, task

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendGroupMessageOperator

KINDS = {
    "group": "group messages",
    "oto": "one-on-one messages",
    "private_chat": "private-chat messages",
    "work_notification": "work notifications",
    "ding": "DINGs",
}


def field(section: str, title: str, description: str = "", **schema) -> Param:
    """A field of the form that may stay empty."""
    schema["type"] = ["null", schema.get("type", "string")]
    return Param(None, section=section, title=title, description=description, **schema)


RUN, KEYS, AFTER = "Everything that a run sent", "Messages by their keys", "Afterwards"
PARAMS = {
    "reason": Param(
        type="string", title="Why", minLength=3, description="Told to who approves, and to the group."
    ),
    "dag_id": field(RUN, "DAG"),
    "run_id": field(RUN, "Run", "As Airflow shows it, e.g. scheduled__2026-11-21T09:00:00+00:00."),
    "keys": field(
        KEYS,
        "Keys",
        "One a line: processQueryKey, openDingId, or task_id.",
        type="array",
        items={"type": "string"},
    ),
    "kind": Param("group", section=KEYS, title="Kind", type="string", enum=list(KINDS), values_display=KINDS),
    "open_conversation_id": field(KEYS, "Conversation", "openConversationId, of group and private-chat messages."),
    "sender": field(KEYS, "Sender", "Robot code, or agent id of work notifications. Empty: the connection's."),
    "correction_group": field(AFTER, "Group to tell", "openConversationId. Empty: nobody is told."),
}

SUBJECT = "Take back {{ ti.xcom_pull(task_ids='dry_run')['total'] }} DingTalk messages?"
PLAN = """\
{% set plan = ti.xcom_pull(task_ids="dry_run") -%}
| to be taken back | messages |
| :--- | ---: |
{% for kind, number in plan["by_kind"].items() -%}
| {{ kind }} | {{ number }} |
{% endfor -%}
| **in all** | **{{ plan["total"] }}** |

**Why:** {{ params.reason }}

A recall leaves no trace in the chats and cannot be undone. What was read has been read.
"""
WORD = """\
{% set counts = ti.xcom_pull(task_ids="recall", key="report")["counts"] -%}
## {{ counts["recalled"] }} of {{ counts["total"] }} messages were taken back

{{ params.reason }}
{% for name in ("failed", "expired", "unknown") if counts[name] %}
- {{ name }}: {{ counts[name] }}
{%- endfor %}
"""


@dag(schedule=None, tags=["dingtalk"], params=PARAMS)
def dingtalk_incident_rollback():
    @task
    def find(params: dict, ti) -> list[dict]:
        from airflow.providers.common.compat.sdk import AirflowFailException

        if bool(params["dag_id"]) != bool(params["run_id"]):
            raise AirflowFailException("A run needs both, its DAG and its id.")
        if not (params["run_id"] or params["keys"]):
            raise AirflowFailException("The form names nothing to take back: fill in a run, or keys.")
        return [*sent_by_run(ti, params), *pasted(params)]

    @task
    def dry_run(receipts: list[dict]) -> dict:
        from collections import Counter

        from airflow.providers.common.compat.sdk import AirflowSkipException

        from airflow_provider_dingtalk.messaging.receipts import parse_receipts

        if not receipts:
            print("Nothing to recall.")
            raise AirflowSkipException
        unique = {receipt.key: receipt for receipt in parse_receipts(receipts)}
        return {"total": len(unique), "by_kind": Counter(KINDS[receipt.kind] for receipt in unique.values())}

    receipts = find()
    # Nobody answers: nothing is taken back, and the run fails.
    approve = ApprovalOperator(task_id="approve", subject=SUBJECT, body=PLAN, response_timeout=timedelta(hours=12))
    # What was approved, and not what is found by now.
    recall = DingTalkRollbackOperator(task_id="recall", receipts=receipts)
    # The last task of the chain, so that the run fails with the recall, whatever the group is told.
    dry_run(receipts) >> approve >> recall >> EmptyOperator(task_id="all_taken_back")

    @task.short_circuit(trigger_rule="all_done")
    def somebody_to_tell(params: dict, ti) -> bool:
        return bool(params["correction_group"] and ti.xcom_pull(task_ids="recall", key="report"))

    tell = DingTalkSendGroupMessageOperator(
        task_id="tell", open_conversation_id="{{ params.correction_group }}", markdown=WORD
    )
    recall >> somebody_to_tell() >> tell


def sent_by_run(ti, params: dict) -> list:
    """Receipts of everything that a run sent."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    dag_id, run_id = params["dag_id"], params["run_id"]
    if not run_id:
        return []
    states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id)
    if not states:
        raise AirflowFailException(f"There is no run {run_id} of {dag_id}.")
    # A mapped task's states come as task_0, task_1, …
    tasks = sorted({*states, *(name.rstrip("0123456789").removesuffix("_") for name in states)})
    found, number = [], 0
    while chunks := [
        chunk
        for chunk in ti.xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=tasks, key=f"receipts_{number}")
        if chunk
    ]:
        found += chunks
        number += 1
    return [receipt for chunk in found for receipt in chunk]


def pasted(params: dict) -> list[dict]:
    """Receipts of messages of which somebody has the keys."""
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.messaging.receipts import KEY_FIELD, SENDER_FIELDS

    kind = params["kind"]
    known = {**DingTalkHook().defaults(), "open_conversation_id": params["open_conversation_id"]}
    if params["sender"]:
        known |= {"robot_code": params["sender"], "agent_id": params["sender"]}
    of_all = {"kind": kind, **{name: known[name] for name in SENDER_FIELDS[kind]}}
    return [{**of_all, KEY_FIELD[kind]: key.strip()} for key in params["keys"] or [] if key.strip()]


dingtalk_incident_rollback()
