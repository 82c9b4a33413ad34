"""Recall messages by hand after a dry run and an approval in Airflow's UI.

The user fills in a form. After the recall a message goes to a group. The guide for on-call engineers is
docs/incident.md. The DAG needs Airflow 3.2 or later; in earlier versions the approval repeats the form.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

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
    """Return an optional field of the form."""
    schema["type"] = ["null", schema.get("type", "string")]
    return Param(None, section=section, title=title, description=description, **schema)


SENT, KEYS, AFTER = "What a DAG sent", "Messages by their keys", "Afterwards"
PARAMS = {
    "reason": Param(type="string", title="Why", minLength=3, description="Told to who approves and to the group."),
    "dag_id": field(SENT, "DAG"),
    "run_id": field(SENT, "Run", "Its id, as Airflow shows it: everything that it sent. Or a time:"),
    "since": field(
        SENT, "Since", "Everything that all runs sent since then; in Airflow's time zone.", format="date-time"
    ),
    "until": field(SENT, "Until", "Empty: until now.", format="date-time"),
    "keys": field(
        KEYS, "Keys", "One a line: processQueryKey, openDingId or task_id.", type="array", items={"type": "string"}
    ),
    "kind": Param("group", section=KEYS, title="Kind", type="string", enum=list(KINDS), values_display=KINDS),
    "open_conversation_id": field(KEYS, "Conversation", "openConversationId, of group and private-chat messages."),
    "sender": field(KEYS, "Sender", "Robot code, or agent id of work notifications. Empty: the connection's."),
    "correction_group": field(AFTER, "Group to tell", "openConversationId. Empty: no group is told."),
}

SUBJECT = "Take back {{ ti.xcom_pull(task_ids='dry_run')['counts']['total'] }} DingTalk messages?"
APPROVED = "{% set counts = ti.xcom_pull(task_ids='dry_run')['counts'] %}{{ counts['total'] + counts['expired'] }}"
PLAN = """\
{% set counts = ti.xcom_pull(task_ids="dry_run")["counts"] -%}
| to be taken back | messages |
| :--- | ---: |
{% for kind, name in KINDS.items() if kind in counts -%}
| {{ name }} | {{ counts[kind] }} |
{% endfor -%}
| **in all** | **{{ counts["total"] }}** |

{% set plan = ti.xcom_pull(task_ids="dry_run") -%}
{% if plan["people"] is not none -%}
They went to {{ plan["people"] }} people, as far as is known, and take about {{ plan["api_calls"] }} API calls.
{% endif -%}
{% if plan.get("missing") -%}
**Not all is known:** {{ plan["missing"].values() | sum }} receipts of these tasks cannot be read:
{{ plan["missing"] | join(", ") }}.
{% endif -%}
{% if plan.get("sends_in_doubt") -%}
**In doubt:** {{ plan["sends_in_doubt"].values() | sum }} sends at most left a message that has
no receipt and cannot be recalled: {{ plan["sends_in_doubt"] | join(", ") }}.
{% endif -%}
{% if counts["expired"] -%}
{{ counts["expired"] }} more are too old to be taken back.
{% endif %}
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


@dag(schedule=None, tags=["dingtalk"], params=PARAMS, user_defined_macros={"KINDS": KINDS})
def dingtalk_incident_rollback():
    @task
    def pasted(params: dict, ti) -> list[dict]:
        """Make receipts from the message keys in the form."""
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.messages.message_types import message_type

        check(params, ti)
        of_kind, keys = message_type(params["kind"]), [key.strip() for key in params["keys"] or []]
        known = {**DingTalkHook().defaults(), "open_conversation_id": params["open_conversation_id"]}
        if params["sender"]:
            known |= {"robot_code": params["sender"], "agent_id": params["sender"]}
        of_all = {"kind": params["kind"], **{name: known[name] for name in of_kind.sender_fields}}
        return [{**of_all, of_kind.key_field: key} for key in keys if key]

    what: dict[str, Any] = {
        "receipts": pasted(),
        "from_dag": "{{ params.dag_id or '' }}",
        "from_run": "{{ params.run_id }}",
        "since": "{{ params.since }}",
        # Messages sent after the run began were not in the plan, so "until" is set.
        "until": "{{ (params.until or dag_run.run_after.isoformat()) if params.since else '' }}",
    }
    # A run or a time without messages may be a mistake in the form, so the task fails and names what it searched.
    dry_run = DingTalkRollbackOperator(task_id="dry_run", dry_run=True, on_empty="fail", **what)

    @task.short_circuit
    def anything_to_recall(plan: dict) -> bool:
        return plan["counts"]["total"] > 0

    # Without an answer within 12 h nothing is recalled, and the run fails.
    approve = ApprovalOperator(task_id="approve", subject=SUBJECT, body=PLAN, response_timeout=timedelta(hours=12))
    # max_messages is the approved number: if a run has sent more since the plan, nothing is recalled.
    recall = DingTalkRollbackOperator(task_id="recall", max_messages=APPROVED, **what)
    # The empty task is a leaf, so the run fails if the recall fails, even if the message to the group succeeds.
    anything_to_recall(dry_run.output) >> approve >> recall >> EmptyOperator(task_id="all_taken_back")

    @task.short_circuit(trigger_rule="all_done")
    def has_correction_group(params: dict, ti) -> bool:
        return bool(params["correction_group"] and ti.xcom_pull(task_ids="recall", key="report"))

    tell = DingTalkSendGroupMessageOperator(
        task_id="tell", open_conversation_id="{{ params.correction_group }}", markdown=WORD
    )
    recall >> has_correction_group() >> tell


def check(params: dict, ti) -> None:
    """Reject contradictory or incomplete values of the form.

    :raises AirflowFailException: If the form is not valid.
    """
    from airflow.sdk.exceptions import AirflowFailException

    run, time = bool(params["run_id"]), bool(params["since"])
    if run and time:
        raise AirflowFailException("The form names a run and a time: use one of them.")
    if bool(params["dag_id"]) != (run or time):
        raise AirflowFailException("A DAG needs a run or a time, and they need a DAG.")
    if params["dag_id"] and not ti.get_dr_count(dag_id=params["dag_id"]):
        raise AirflowFailException(f"Airflow knows no run of the DAG {params['dag_id']!r}. Check the id.")
    if run and not ti.get_task_states(dag_id=params["dag_id"], run_ids=[params["run_id"]]):
        raise AirflowFailException(f"Airflow knows no run {params['run_id']} of {params['dag_id']}.")
    if not (run or time or params["keys"]):
        raise AirflowFailException("The form names nothing to take back: fill in a run, a time, or keys.")


dingtalk_incident_rollback()
