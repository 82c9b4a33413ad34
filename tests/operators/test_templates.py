"""Templates render as in Airflow, and texts without templates cost nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import jinja2
import pytest
from airflow.sdk import DAG, BaseOperator
from jinja2.ext import Extension

from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkSendOTOMessagesOperator
from airflow_provider_dingtalk.sensors import DingTalkOTOMessageSensor

CONTEXT: Any = {"name": "Zhang", "number": 7}
TEXTS = [
    "",
    "processQueryKey-01",
    "007",
    "[1, 2]",
    "None",
    "营收 5,000",
    "{ no template }",
    "}} nor this",
    "{{ name }}",
    "{% if number %}seven{% endif %}",
    "{# a comment #}x",
    "one line\n",
    "two\nlines",
    "windows\r\n",
    "old\rmac",
    " spaces ",
    "## a Markdown title",
]


class Plain(BaseOperator):
    """An operator as Airflow makes them."""

    template_fields = ("user_ids",)

    def __init__(self, *, user_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids


def rendered(kind: Any, user_ids: Any, **dag_options: Any) -> Any:
    with DAG("d", schedule=None, **dag_options):
        more = {"text": "x"} if kind is DingTalkSendOTOMessagesOperator else {}
        task = kind(task_id="t", user_ids="{{ name }}", **more)
    task.user_ids = user_ids
    task.render_template_fields(CONTEXT)
    return task.user_ids


class Shouting(Extension):
    """Extension that changes texts without a template, too."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return source.upper()


class Word(StrEnum):
    ONE = "one"


def test_what_only_resembles_a_text_becomes_one() -> None:
    (word,) = rendered(DingTalkSendOTOMessagesOperator, [Word.ONE])
    assert word == "one"
    assert type(word) is str


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"render_template_as_native_obj": True},
        {"jinja_environment_kwargs": {"variable_start_string": "<<", "variable_end_string": ">>"}},
        {"jinja_environment_kwargs": {"line_statement_prefix": "#", "keep_trailing_newline": True}},
        {"jinja_environment_kwargs": {"line_comment_prefix": "##"}},
        {"jinja_environment_kwargs": {"extensions": [Shouting]}},
    ],
    ids=["usual", "native", "other marks", "line statements", "line comments", "an extension"],
)
@pytest.mark.parametrize("text", [*TEXTS, "<< name >>"])
def test_a_text_comes_out_as_airflow_would_render_it(text: str, options: dict[str, Any]) -> None:
    given = {"nested": [text, (text, {"deeper": text})]}
    try:
        expected = rendered(Plain, given, **options)
    except jinja2.TemplateError as error:
        with pytest.raises(type(error)):
            rendered(DingTalkSendOTOMessagesOperator, given, **options)
    else:
        assert rendered(DingTalkSendOTOMessagesOperator, given, **options) == expected


class CountingEnvironment(jinja2.Environment):
    """Environment that counts the templates it compiles."""

    compiled = 0

    def from_string(self, *args: Any, **kwargs: Any) -> Any:
        self.compiled += 1
        return super().from_string(*args, **kwargs)


def test_ten_thousand_keys_are_not_ten_thousand_templates() -> None:
    keys = [f"key-{number}" for number in range(10_000)]
    task = DingTalkRecallOTOMessagesOperator(task_id="t", process_query_keys=[*keys, "{{ name }}"])
    environment = CountingEnvironment()
    task.render_template_fields(CONTEXT, environment)
    assert task.process_query_keys == [*keys, "Zhang"]
    assert environment.compiled == 1


def test_a_sensor_leaves_plain_texts_alone_as_well() -> None:
    receipts = [{"kind": "oto", "robot_code": "r", "process_query_key": f"key-{number}"} for number in range(100)]
    task = DingTalkOTOMessageSensor(task_id="t", receipts=receipts)
    environment = CountingEnvironment()
    task.render_template_fields(CONTEXT, environment)
    assert (task.receipts, environment.compiled) == (receipts, 0)


def test_a_file_of_a_template_is_still_one_by_its_name() -> None:
    class FromFile(DingTalkSendOTOMessagesOperator):
        template_ext = (".md",)

    task = FromFile(task_id="t", user_ids=["u"], markdown="message.md")
    task.render_template_fields(CONTEXT, jinja2.Environment(loader=jinja2.DictLoader({"message.md": "Hi {{ name }}"})))
    assert task.markdown == "Hi Zhang"
