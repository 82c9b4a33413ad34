"""Recall messages by hand after a dry run and an approval in Airflow's UI.

The user fills in a form, and chooses a run from a list if the form names only its DAG. After the recall, or a
rejection, a message goes to a group. The guide for on-call engineers is docs/incident.md. The DAG needs Airflow 3.2 or
later; in earlier versions the approval repeats the form.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_dingtalk.language import language
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendGroupMessageOperator

#: Language of the form, the questions and the message to the group: "en", "zh" or "both", by [dingtalk] language.
LANGUAGE = language()
#: DAGs that the form suggests. Airflow asks no database while it parses a DAG file, so put the ids of yours here.
DAGS = ["dingtalk_rollback_on_failure"]
#: Most runs to choose from, and most that are asked for their time.
MAX_RUNS, MAX_ASKED = 50, 200
#: Most conversations in the question.
MAX_ROWS = 20


def say(en: str, zh: str, between: str = " / ") -> str:
    """Return a text in the language of the DAG."""
    return {"en": en, "zh": zh}.get(LANGUAGE, f"{en}{between}{zh}")


KINDS = {
    "group": say("group messages", "群消息"),
    "oto": say("one-on-one messages", "单聊消息"),
    "private_chat": say("private-chat messages", "人与人会话消息"),
    "work_notification": say("work notifications", "工作通知"),
    "ding": say("DINGs", "DING 消息"),
}


def field(section: str, title: str, description: str = "", **schema) -> Param:
    """Return an optional field of the form."""
    schema["type"] = ["null", schema.get("type", "string")]
    return Param(None, section=section, title=title, description=description, **schema)


SENT = say("What a DAG sent", "DAG 发出的消息")
KEYS = say("Messages by their keys", "按消息 ID")
AFTER = say("Before and afterwards", "撤回前后")
PARAMS = {
    "reason": Param(
        type="string",
        title=say("Why", "原因"),
        minLength=3,
        description=say("Told to who approves and to the group.", "审批人和群会看到。"),
    ),
    "dag_id": field(
        SENT,
        "DAG",
        say(
            "With neither run nor time, the next step lists the DAG's runs.",
            "不填运行和时间时，下一步会列出该 DAG 的运行。",
        ),
        examples=DAGS,
    ),
    "run_id": field(
        SENT, say("Run", "运行"), say("Empty: choose from a list, or name a time.", "留空：从列表选择，或填写时间。")
    ),
    "since": field(
        SENT,
        say("Since", "开始时间"),
        say("Everything that all runs sent since then.", "此后所有运行发出的消息。"),
        format="date-time",
    ),
    "until": field(SENT, say("Until", "结束时间"), say("Empty: until now.", "留空：到现在。"), format="date-time"),
    "keys": field(
        KEYS,
        say("Keys", "消息 ID"),
        say("One a line", "每行一个") + ": processQueryKey, openDingId, task_id.",
        type="array",
        items={"type": "string"},
    ),
    "kind": Param(
        "group", section=KEYS, title=say("Kind", "种类"), type="string", enum=list(KINDS), values_display=KINDS
    ),
    "open_conversation_id": field(
        KEYS,
        say("Conversation", "会话"),
        say("openConversationId of the group or chat.", "群或会话的 openConversationId。"),
    ),
    "sender": field(
        KEYS,
        say("Sender", "发送者"),
        say("Robot code or agent id. Empty: the connection's.", "机器人编码或 AgentId。留空：用连接里的。"),
    ),
    "with_readers": Param(
        False,
        section=AFTER,
        type="boolean",
        title=say("Count readers", "统计已读"),
        description=say("Takes a call or more for each message, and time.", "每条消息至少调用一次接口，更慢。"),
    ),
    "correction_group": field(
        AFTER,
        say("Group to tell", "要告知的群"),
        say("openConversationId. Empty: no group is told.", "openConversationId。留空：不告知。"),
    ),
}


# ── form and plan ────────────────────────────────────────────────────────────────────────────────────


class PlanOperator(HITLOperator):
    """Operator that checks the form and makes the plan; it asks for a run if the form names only a DAG."""

    def execute(self, context):
        """Return the plan, or wait for the choice of a run."""
        params, ti = context["params"], context["ti"]
        if error := form_error(params, ti):
            raise AirflowFailException(error)
        if params["dag_id"] and not (params["run_id"] or params["since"]):
            self.options = [option(run, self.dag.timezone) for run in latest_runs(ti, params["dag_id"])]
            return super().execute(context)
        return make_plan(context, params["run_id"])

    def execute_complete(self, context, event):
        """Return the plan for the chosen run."""
        if "error" in event:
            self.process_trigger_event_error(event)
        # Airflow takes only an option of the question.
        return make_plan(context, event["chosen_options"][0].split(" · ", 2)[2])


def form_error(params: dict, ti) -> str:
    """Return the reason why the form cannot be right; empty if it may be."""
    dag_id, run_id = params["dag_id"], params["run_id"]
    if run_id and params["since"]:
        return say("The form names a run and a time: use one of them.", "表单同时填写了运行和时间：只填一个。")
    if (run_id or params["since"] or params["until"]) and not dag_id:
        return say("A run or a time needs a DAG.", "填写运行或时间时必须填写 DAG。")
    if params["until"] and not params["since"]:
        return say("Until needs since.", "填写结束时间时必须填写开始时间。")
    if not (dag_id or any(key.strip() for key in params["keys"] or [])):
        return say("The form names nothing to take back.", "表单没有填写要撤回的内容。")
    if dag_id and not ti.get_dr_count(dag_id=dag_id):
        return say(f"Airflow knows no run of the DAG {dag_id!r}.", f"Airflow 没有 DAG {dag_id!r} 的运行。")
    if run_id and not ti.get_task_states(dag_id=dag_id, run_ids=[run_id]):
        return say(f"Airflow knows no run {run_id} of {dag_id}.", f"Airflow 没有 {dag_id} 的运行 {run_id}。")
    return ""


def latest_runs(ti, dag_id: str) -> list:
    """Return the latest runs of a DAG, the newest first."""
    from airflow_provider_dingtalk.version_compat import dag_run

    def time_in(run_id: str) -> str:
        found = re.search(r"\d{4}-\d\d-\d\dT[\d:.]+", run_id)
        return found[0] if found else "x"

    # A worker asks for one run at a time, so those come first whose ids have no time or a late one.
    candidates = sorted(ti.get_task_states(dag_id=dag_id), key=time_in, reverse=True)[:MAX_ASKED]
    runs = [dag_run(dag_id, run_id) for run_id in candidates]
    return sorted(runs, key=lambda run: run.run_after, reverse=True)[:MAX_RUNS]


def option(run, zone) -> str:
    """Return a run as an option of the question: time, state, run id."""
    states = {"success": "成功", "failed": "失败", "running": "运行中", "queued": "排队中"}
    name = str(getattr(run.state, "value", run.state))
    state = say(name, states.get(name, name))
    return f"{pendulum.instance(run.run_after).in_timezone(zone):%Y-%m-%d %H:%M:%S} · {state} · {run.run_id}"


def make_plan(context, run_id: str | None) -> dict:
    """Push what is to be recalled, and return the plan; nothing to recall is a mistake in the form."""
    params, run = context["params"], context["dag_run"]
    what = {
        "receipts": pasted(params),
        "from_dag": params["dag_id"],
        "from_run": run_id,
        "since": params["since"],
        # Messages sent after the run began are not in the plan, so "until" is set.
        "until": (params["until"] or run.run_after.isoformat()) if params["since"] else None,
    }
    context["ti"].xcom_push("what", what)
    rollback = DingTalkRollbackOperator(
        task_id="plan", dry_run=True, on_empty="fail", with_readers=params["with_readers"], **what
    )
    plan = rollback.resume(context)
    if not plan["counts"]["total"]:
        old = plan["counts"]["expired"]
        raise AirflowFailException(
            say(f"All {old} messages are too old to be taken back.", f"全部 {old} 条消息都已过了可撤回的时间。")
        )
    return plan


def pasted(params: dict) -> list[dict]:
    """Make receipts from the message keys in the form."""
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.messages.message_types import message_type

    keys = [key.strip() for key in params["keys"] or [] if key.strip()]
    if not keys:
        return []
    of_kind = message_type(params["kind"])
    known = {**DingTalkHook().defaults(), "open_conversation_id": params["open_conversation_id"]}
    if params["sender"]:
        known |= {"robot_code": params["sender"], "agent_id": params["sender"]}
    of_all = {"kind": params["kind"], **{name: known[name] for name in of_kind.sender_fields}}
    return [{**of_all, of_kind.key_field: key} for key in keys]


# ── question to who approves ─────────────────────────────────────────────────────────────────────────


def question(plan: dict, reason: str, zone) -> str:
    """Return the plan as Markdown, with times in a zone."""
    counts, rows = plan["counts"], plan["conversations"]
    heads = say("messages", "消息"), say("people", "人数"), say("sent", "发送时间"), say("read by", "已读人数")
    is_part = plan["people"] is not None and (plan["more_conversations"] or any("people" not in row for row in rows))
    people = f"{'≥ ' if is_part else ''}{number(plan['people'])}"
    left = plan["more_conversations"] + max(len(rows) - MAX_ROWS, 0)
    lines = [
        f"| {say('to be taken back', '将撤回')} | {' | '.join(heads)} |",
        "| :--- | ---: | ---: | :--- | ---: |",
        *(f"| {' | '.join(cells(row, zone))} |" for row in rows[:MAX_ROWS]),
        f"| **{say('in all', '合计')}** | **{counts['total']}** | **{people}** |  |  |",
        "",
        *([say(f"{left} more conversations are not listed.\n", f"另有 {left} 个会话未列出。\n", "")] if left else []),
        *([of_kinds(counts)] if left else []),
        *doubts(plan),
        f"**{say('Why', '原因')}:** {reason}\n",
        say(
            f"About {plan['api_calls']} API calls. A recall leaves no trace in the chats and cannot be undone. What "
            "was read has been read. Numbers of people are those that are known.",
            f"约需调用接口 {plan['api_calls']} 次。撤回在会话里不留痕迹，也不能恢复；"
            "已读的内容无法收回。人数只含已知的。",
            "\n\n",
        ),
    ]
    return "\n".join(lines)


def cells(row: dict, zone) -> list[str]:
    """Return the cells of a conversation's row."""
    where = row.get("open_conversation_id")
    name = " ".join([KINDS[row["kind"]], *map(quoted, [where] if where else []), *map(quoted, row.get("texts", []))])
    return [name, str(row["messages"]), number(row.get("people")), sent(row, zone), number(row.get("readers"))]


def quoted(text: str) -> str:
    """Return a text of a chat as plain text in a Markdown table."""
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`"


def number(value: int | None) -> str:
    """Return a number as text."""
    return say("unknown", "未知") if value is None else str(value)


def sent(row: dict, zone) -> str:
    """Return the time of the first send, and its age."""
    if "sent_from" not in row:
        return number(None)
    moment = pendulum.parse(row["sent_from"])
    ages = (moment.diff_for_humans(locale=locale) for locale in ("en", "zh"))
    return f"{moment.in_timezone(zone):%Y-%m-%d %H:%M:%S %Z} ({say(*ages)})"


def of_kinds(counts: dict) -> str:
    """Return the numbers of messages by kind."""
    return ", ".join(f"{counts[kind]} {name}" for kind, name in KINDS.items() if kind in counts) + "\n"


def doubts(plan: dict) -> list[str]:
    """Return what is not in the plan, and why."""
    found, old = [], plan["counts"]["expired"]
    for field, english, chinese in (
        (
            "missing",
            "**Not all is known:** {} receipts of these tasks cannot be read: {}.",
            "**信息不全：** 以下任务有 {} 个回执无法读取：{}。",
        ),
        (
            "sends_in_doubt",
            "**In doubt:** {} sends at most left a message that has no receipt: {}.",
            "**存疑：** 最多 {} 次发送留下了没有回执的消息：{}。",
        ),
    ):
        if numbers := plan.get(field):
            about = sum(numbers.values()), ", ".join(numbers)
            found.append(say(english.format(*about), chinese.format(*about), "\n\n"))
    if old:
        found.append(say(f"{old} more are too old to be taken back.", f"另有 {old} 条已过可撤回时间。"))
    return [f"{text}\n" for text in found]


# ── message to the group ─────────────────────────────────────────────────────────────────────────────


def result(report: dict | None, states: dict, total: int, reason: str) -> str:
    """Return the message to the group after a recall, a rejection, or no answer; empty before a question."""
    if report:
        return f"{of_report(report['counts'])}\n\n{reason}\n\n{left_over(report['counts'])}"
    if (states.get("approve"), states.get("recall")) == ("success", "skipped"):
        why = say(f"The recall of {total} messages was rejected.", f"撤回 {total} 条消息的申请被拒绝。", "\n\n")
    elif states.get("approve") == "failed":
        why = say(f"The recall of {total} messages was not approved.", f"撤回 {total} 条消息未获批准。", "\n\n")
    else:
        return ""
    return f"## {say('Nothing was taken back', '未撤回任何消息')}\n\n{reason}\n\n{why}"


def of_report(counts: dict) -> str:
    """Return the heading of a recall's result."""
    recalled, total = counts["recalled"], counts["total"]
    text = say(f"{recalled} of {total} messages were taken back", f"{total} 条消息中已撤回 {recalled} 条")
    return f"## {text}"


def left_over(counts: dict) -> str:
    """Return the numbers of messages that may still be in the chats."""
    names = {
        "failed": say("failed", "失败"),
        "expired": say("too old", "已过期"),
        "unknown": say("unknown", "未知"),
    }
    return "\n".join(f"- {text}: {counts[name]}" for name, text in names.items() if counts[name])


@dag(schedule=None, tags=["dingtalk"], params=PARAMS, user_defined_macros={"say": say, "question": question})
def dingtalk_incident_rollback():
    # Without an answer within 12 h nothing is recalled, and the run fails.
    waits = {"response_timeout": timedelta(hours=12)}
    dry_run = PlanOperator(
        task_id="dry_run",
        subject="{{ say('Which run sent the wrong messages?', '哪次运行发错了消息？') }} {{ params.dag_id }}",
        body="{{ params.reason }}",
        options=["-"],
        **waits,
    )
    plan = "ti.xcom_pull(task_ids='dry_run')"
    total = f"{plan}['counts']['total']"
    approve = ApprovalOperator(
        task_id="approve",
        subject=say(f"Take back {{{{ {total} }}}} DingTalk messages?", f"撤回 {{{{ {total} }}}} 条钉钉消息？"),
        body=f"{{{{ question({plan}, params.reason, dag.timezone) }}}}",
        **waits,
    )
    recall = DingTalkRollbackOperator(
        task_id="recall",
        # The approved number: if a run has sent more since the plan, nothing is recalled.
        max_messages=f"{{{{ {total} + {plan}['counts']['expired'] }}}}",
        receipts="{{ ti.xcom_pull(task_ids='dry_run', key='what')['receipts'] | tojson }}",
        **{
            name: f"{{{{ ti.xcom_pull(task_ids='dry_run', key='what')['{name}'] }}}}"
            for name in ("from_dag", "from_run", "since", "until")
        },
    )
    # The empty task is a leaf, so the run fails if the recall fails, even if the message to the group succeeds.
    dry_run >> approve >> recall >> EmptyOperator(task_id="all_taken_back")

    @task.short_circuit(trigger_rule="all_done")
    def has_correction_group(params: dict, ti) -> str:
        """Return the text for the group; without a group or a text, nothing is sent."""
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=["approve", "recall"], run_ids=[ti.run_id])
        found = ti.xcom_pull(task_ids="dry_run")
        total = found["counts"]["total"] if found else 0
        report = ti.xcom_pull(task_ids="recall", key="report")
        text = result(report, states.get(ti.run_id, {}), total, params["reason"])
        return text if params["correction_group"] else ""

    told = has_correction_group()
    tell = DingTalkSendGroupMessageOperator(
        task_id="tell", open_conversation_id="{{ params.correction_group }}", markdown=told
    )
    recall >> told >> tell


dingtalk_incident_rollback()
