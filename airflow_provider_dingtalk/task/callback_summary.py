"""Summary of a callback's context, the notifier's default text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk._shared.secrets_masker import redact

from airflow_provider_dingtalk.language import Language, choose, in_each_language, language
from airflow_provider_dingtalk.messages.alert import shorten
from airflow_provider_dingtalk.version_compat import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Maximum characters of an error.
_MAX_ERROR = 500


def callback_summary(context: Context) -> str:
    """Return lines about the task or run of the callback; the error is last, because the end is shortened.

    For both languages the first line is there twice; of the others only the labels, so that nothing else is repeated.
    """
    ti: Any = context.get("ti")
    try:
        lines = _lines_of_run(context) if ti is None else _lines_of_task(ti, context.get("reason"))
    except Exception:  # of a context that is not Airflow's
        lines = _lines_of_run({})
    if (error := context.get("exception")) is not None:
        lines += _labelled({"Error": one_line(error)})
    return "\n".join(lines)


def _lines_of_task(ti: Any, reason: str | None) -> list[str]:
    """Return lines about a task.

    :param reason: Airflow's reason for the end of the run, in callbacks of DAGs; the task is then its last one.
    """
    index = getattr(ti, "map_index", -1)
    task = ti.task_id if index is None or index < 0 else f"{ti.task_id} [{index}]"
    state = getattr(ti, "state", None) or "failed"
    # In Airflow's workers it is an enum whose text is not its value.
    state = getattr(state, "value", state)
    of_task = {"Run": ti.run_id, "Try": ti.try_number, "Log": _link(getattr(ti, "log_url", ""))}
    if reason:
        return [_headline(f"DAG {ti.dag_id}", f"DAG {ti.dag_id}", reason), *_labelled({"Task": task, **of_task})]
    names = f"DAG {ti.dag_id}, task {task}", f"DAG {ti.dag_id}，任务 {task}"
    return [_headline(*names, state), *_labelled(of_task)]


def _lines_of_run(context: Mapping[str, Any]) -> list[str]:
    """Return lines about a run, which is a plain dictionary in the context of a deadline."""
    run, dag = context.get("dag_run"), context.get("dag")
    plain = run if isinstance(run, Mapping) else {}
    dag_id = plain.get("dag_id") or getattr(run or dag, "dag_id", "")
    run_id = plain.get("dag_run_id") or getattr(run, "run_id", "") or context.get("run_id", "")
    state = context.get("reason") or ("missed a deadline" if "deadline" in context else "needs a look")
    page = _run_url(dag_id, run_id) if dag_id and run_id else ""
    names = (f"DAG {dag_id}", f"DAG {dag_id}") if dag_id else ("A DAG", "DAG")
    return [_headline(*names, state), *_labelled({"Run": run_id, "Page": page})]


def _run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page, which Airflow has no property for."""
    base_url: str = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return _link(f"{base_url.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}")


def _headline(en: str, zh: str, state: str) -> str:
    return in_each_language(lambda: choose(f"{en}: {state}", f"{zh}：{choose(str(state))}"))


def labelled(label: str, value: object) -> str:
    """Return a value after its label, with the colon of the language."""
    return f"{choose(label)}{'：' if language() is Language.ZH else ': '}{value}"


def _labelled(values: Mapping[str, Any]) -> list[str]:
    return [labelled(label, value) for label, value in values.items() if value]


def _link(url: str) -> str:
    """Return a URL in ASCII, because chats end a link at other characters."""
    return quote(url, safe="%/:?#[]@!$&'()*+,;=~")


def one_line(error: BaseException | str) -> str:
    """Return an error in one line without the secrets that Airflow masks."""
    try:
        told = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    except Exception:  # of the user's own exception class
        told = type(error).__name__
    # A part of a secret is not masked, so the text is shortened afterwards.
    return shorten(" ".join(str(redact(told)).split()).removesuffix(":"), _MAX_ERROR)
