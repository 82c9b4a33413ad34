"""Language of texts for people: the option, the locale, and a Chinese text for each next step."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import airflow_provider_dingtalk
from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.language import (
    CHINESE,
    VARIABLE,
    Language,
    choose,
    get_logger,
    in_each_language,
    in_language,
    language,
)

PACKAGE = Path(airflow_provider_dingtalk.__file__).parent
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Language.BOTH),
        ({"LANG": "C.UTF-8"}, Language.BOTH),
        ({"LANG": "en_US.UTF-8"}, Language.BOTH),
        ({"LANG": "zh_CN.UTF-8"}, Language.ZH),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, Language.ZH),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C"}, Language.BOTH),
        ({"LANG": "zh_CN.UTF-8", VARIABLE: "en"}, Language.EN),
        ({"LANG": "zh_CN.UTF-8", VARIABLE: " Both "}, Language.BOTH),
        ({"LANG": "C", VARIABLE: "zh"}, Language.ZH),
        ({"LANG": "zh_CN.UTF-8", VARIABLE: ""}, Language.ZH),
        ({"LANG": "zh_CN.UTF-8", VARIABLE: "klingon"}, Language.ZH),
    ],
    ids=str,
)
def test_the_option_decides_and_else_a_chinese_locale(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], expected: Language
) -> None:
    for name in (*LOCALES, VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() is expected


def test_an_invalid_option_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(VARIABLE, "french")
    for _ in range(3):
        assert choose("Stop.", "停。") == "Stop. 停。"
    assert [record.message for record in caplog.records] == [
        "Ignoring invalid option language 'french' in airflow.cfg, section [dingtalk]; expected en, zh or both."
    ]


@pytest.mark.parametrize(
    ("option", "texts"),
    [
        ("en", ["Stop.", "Stop.", "停。"]),
        ("zh", ["停。", "Stop.", "停。"]),
        ("both", ["Stop. 停。", "Stop.", "停。"]),
    ],
)
def test_a_text_is_never_lost(monkeypatch: pytest.MonkeyPatch, option: str, texts: list[str]) -> None:
    monkeypatch.setenv(VARIABLE, option)
    assert [choose("Stop.", "停。"), choose("Stop."), choose("", "停。")] == texts


def two_lines() -> str:
    return f"{choose('Stop.', '停。')}\n{choose('failed')} 2"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("en", "Stop.\nfailed 2"),
        ("zh", "停。\n失败 2"),
        ("both", "Stop.\nfailed 2\n停。\n失败 2"),
    ],
)
def test_a_long_text_is_whole_in_each_language(monkeypatch: pytest.MonkeyPatch, option: str, text: str) -> None:
    monkeypatch.setenv(VARIABLE, option)
    assert in_each_language(two_lines) == text
    assert in_each_language(lambda: in_each_language(two_lines)) == text
    assert in_language(Language.EN, two_lines) == "Stop.\nfailed 2"


def test_the_language_of_one_text_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "both")
    with pytest.raises(ZeroDivisionError):
        in_language(Language.ZH, lambda: str(1 // 0))
    assert language() is Language.BOTH


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("en", "Run r1: Gone. Run the recall again."),
        ("zh", "运行 r1：Gone. 请重新执行撤回。"),
        ("both", "Run r1: Gone. Run the recall again. 运行 r1：Gone. 请重新执行撤回。"),
    ],
)
def test_a_log_text_and_its_error_are_in_the_language_of_the_option(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, option: str, told: str
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    log = get_logger("tests.language")
    assert get_logger("tests.language") is log
    with caplog.at_level(logging.INFO, "tests.language"):
        log.info("Run %s: %s", "r1", DingTalkError("Gone.", next_step="Run the recall again."))
        log.info("100 %% of %s", "nothing")
    assert caplog.messages == [told, "100 % of nothing"]


def test_without_airflow_the_environment_decides() -> None:
    code = (
        "import sys; from airflow_provider_dingtalk.exceptions import DingTalkError\n"
        "print(DingTalkError('Gone.', next_step='Run the recall again.').advice, 'airflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {VARIABLE: "zh", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert done.stdout == "请重新执行撤回。 False\n"


#: Modules of the package, without the one that holds the Chinese texts.
TREES = [
    ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "language.py"
]


def constant(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def next_steps() -> Iterator[str]:
    """Yield the next steps that the code writes down without a Chinese text of their own."""
    for call in (node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call)):
        named = {word.arg: constant(word.value) for word in call.keywords}
        is_positional = getattr(call.func, "id", "") in ("Reason", "Obstacle") and len(call.args) >= 3
        step = constant(call.args[2]) if is_positional else named.get("next_step")
        if step and "next_step_zh" not in named:
            yield step


def test_each_next_step_has_a_chinese_text() -> None:
    assert len(set(next_steps())) > 10
    assert set(next_steps()) - set(CHINESE) == set()


#: Log texts in English only: one for each message, and one while a DAG file is parsed.
STAY_ENGLISH = {
    "DingTalk accepted %s %s, sent to %s.",
    "The rollback log cannot be an outlet; rollbacks of this DAG leave no events.",
}
PLACEHOLDER = re.compile(r"%(?:\.\d+)?[a-z]")


def log_texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts that a module logs; not those that hold arguments only."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        levels = ("debug", "info", "warning", "error", "exception", "critical")
        is_log = getattr(call.func, "attr", "") in levels and ast.unparse(call.func).rpartition(".")[0].endswith("log")
        if is_log and (text := constant(call.args[0])) and re.search("[a-z]", PLACEHOLDER.sub("", text)):
            yield text


#: First arguments of errors in English only: no text, a text of a caller, and what is odd about an answer.
ENGLISH_ERRORS = {"''", "problem", "f'{endpoint.name}: {problem}.'"}


def errors_without_chinese() -> Iterator[str]:
    """Yield the texts of errors that have no Chinese text; not those about arguments."""
    classes = {
        name for name, cls in vars(exceptions).items() if isinstance(cls, type) and issubclass(cls, DingTalkError)
    }
    for call in (node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        name, given = getattr(call.func, "id", ""), {word.arg for word in call.keywords}
        is_told = "message_zh" in given or constant(call.args[0]) in CHINESE
        if name in classes - {"InvalidInputError"} and not is_told:
            yield ast.unparse(call.args[0])


def test_each_error_has_a_chinese_text() -> None:
    assert set(errors_without_chinese()) == ENGLISH_ERRORS


def test_each_log_text_has_a_chinese_text() -> None:
    texts = {text: tree for tree in TREES for text in log_texts(tree)}
    assert set(texts) - set(CHINESE) == STAY_ENGLISH
    for text in set(texts) - STAY_ENGLISH:
        assert "log = get_logger(__name__)" in ast.unparse(texts[text]), text


def test_a_log_text_has_the_same_arguments_in_both_languages() -> None:
    different = {en for en, zh in CHINESE.items() if PLACEHOLDER.findall(en) != PLACEHOLDER.findall(zh)}
    assert different == set()


def test_each_chinese_text_is_for_a_text_of_the_package() -> None:
    written = {constant(node) for tree in TREES for node in ast.walk(tree)}
    assert set(CHINESE) - written == set()
