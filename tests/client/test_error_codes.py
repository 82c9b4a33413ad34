"""The table of error codes against DingTalk's own pages and the research, both read while the tests run."""

from __future__ import annotations

import re

import pytest

from airflow_provider_dingtalk.client import error_codes
from airflow_provider_dingtalk.client.error_codes import (
    CODES,
    FAMILIES,
    Retry,
    Scope,
    error_for,
    is_known,
    rule_for,
)
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    BannedError,
    InvalidKeyError,
    InvalidRequestError,
    PartialRecallError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RecallExpiredError,
    ResponseError,
    ServerError,
    StatusUnavailableError,
    ThrottlingError,
)
from tests.client import research
from tests.sandbox.seed_pages import COPIES, error_table, pages

CJK = re.compile(r"[\u4e00-\u9fff]")
SEED_ROWS = [(page, code, status) for page, text in pages().items() for code, status in error_table(text).items()]
#: Families are tried with a member that no table names.
RESEARCH_CODES = [
    code.replace("*", "someField") for code in research.COPY.read_text(encoding="utf-8").splitlines() if code
]


# ── Every documented code ────────────────────────────────────────────────────────────────────────────


def test_all_five_pages_have_a_table() -> None:
    assert {page for page, _, _ in SEED_ROWS} == {"000", "001", "002", "003", "004"}
    assert len(SEED_ROWS) == 60


def test_copies_of_the_pages_have_the_tables_of_the_pages() -> None:
    copies = {path.name[:3]: error_table(path.read_text(encoding="utf-8")) for path in COPIES.glob("00*.txt")}
    assert copies == {page: error_table(text) for page, text in pages().items()}


def test_list_of_research_codes_is_what_the_document_names() -> None:
    codes = research.COPY.read_text().split()
    assert len(codes) == len(set(codes))
    # A clone has the list only; where the document is at hand, the list is held against it.
    if research.DOCUMENT.is_file():
        assert codes == research.codes_of(research.DOCUMENT.read_text(encoding="utf-8"))


def test_list_of_research_codes_covers_tokens_throttling_and_tables() -> None:
    assert len(RESEARCH_CODES) > 70
    for_each_section = {
        "40014",
        "Forbidden.AccessDenied.ApiCountLimitForOrg",
        "-1",
        "recall.ding.exception",
        "1111",
    }
    assert for_each_section < set(RESEARCH_CODES)
    assert {"invalidParameter.robotCode.empty", "invalidParameter.msgParam.tooLong"} < set(RESEARCH_CODES)


@pytest.mark.parametrize("code", sorted({code for _, code, _ in SEED_ROWS} | set(RESEARCH_CODES)))
def test_documented_code_is_known_and_says_what_to_do(code: str) -> None:
    assert is_known(code)
    rule = rule_for(code)
    assert issubclass(rule.error, ResponseError) and rule.error is not ResponseError
    assert rule.retry in Retry and rule.scope in Scope
    assert len(rule.next_step) > 20 and not CJK.search(rule.next_step)
    assert CJK.search(rule.next_step_zh)


@pytest.mark.parametrize(("page", "code", "status"), SEED_ROWS)
def test_error_of_a_documented_code_shows_code_and_next_step(page: str, code: str, status: int) -> None:
    error = error_for(code, "text", status_code=status, endpoint="robot/some/api", request_id="R1")
    assert type(error) is rule_for(code).error
    assert (error.code, error.status_code, error.endpoint, error.request_id) == (
        code,
        status,
        "robot/some/api",
        "R1",
    )
    assert error.permanent == type(error).permanent
    for part in ("robot/some/api", code, "text", error.next_step, error.next_step_zh):
        assert part in str(error)


@pytest.mark.parametrize("rule", {rule.next_step: rule for rule in [*CODES.values(), *FAMILIES.values()]}.values())
def test_every_rule_speaks_both_languages(rule: error_codes.Rule) -> None:
    assert rule.next_step.endswith(".") and not CJK.search(rule.next_step)
    assert CJK.search(rule.next_step_zh) and rule.next_step_zh.endswith("。")


def test_no_code_has_two_rules() -> None:
    codes = [code for _, codes in error_codes._TABLE for code in codes.split()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(
    ("code", "error", "retry", "scope"),
    [
        ("InvalidAuthentication", AuthenticationError, Retry.REFRESH, Scope.CALL),
        ("40001", AuthenticationError, Retry.REFRESH, Scope.CALL),
        ("40014", AuthenticationError, Retry.REFRESH, Scope.CALL),
        ("42001", AuthenticationError, Retry.REFRESH, Scope.CALL),
        ("invalidClientIdOrSecret", AuthenticationError, Retry.NEVER, Scope.CALL),
        ("40096", AuthenticationError, Retry.NEVER, Scope.CALL),
        ("Forbidden.AccessDenied.AccessTokenPermissionDenied", PermissionDeniedError, Retry.NEVER, Scope.CALL),
        ("Forbidden.AccessDenied.IpNotInWhiteList", PermissionDeniedError, Retry.NEVER, Scope.CALL),
        ("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("Forbidden.AccessDenied.QpsLimitForApi", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("send.too.fast", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("90002", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("90018", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("90019", ThrottlingError, Retry.WAIT, Scope.CALL),
        ("1111", BannedError, Retry.WAIT, Scope.CALL),
        ("Forbidden.AccessDenied.ApiCountLimitForOrg", QuotaExhaustedError, Retry.NEVER, Scope.CALL),
        ("90020", QuotaExhaustedError, Retry.NEVER, Scope.CALL),
        ("robot.processQueryKey.expired", RecallExpiredError, Retry.NEVER, Scope.KEY),
        ("processQueryKey.expireTime", StatusUnavailableError, Retry.LATER, Scope.KEY),
        ("notRevoke.all.messages", PartialRecallError, Retry.ASK, Scope.KEY),
        ("invalid.processQueryKey", InvalidKeyError, Retry.NEVER, Scope.KEY),
        ("not.allowed.robotCode", InvalidKeyError, Retry.NEVER, Scope.KEY_OR_CALL),
        ("400002", InvalidRequestError, Retry.NEVER, Scope.CALL),
        ("invalidParameter.robotCode.notExsit", InvalidRequestError, Retry.NEVER, Scope.CALL),
        ("system.error", ServerError, Retry.AGAIN, Scope.CALL),
        ("unknown.send.result", ServerError, Retry.AGAIN, Scope.CALL),
        ("500", ServerError, Retry.AGAIN, Scope.CALL),
    ],
)
def test_codes_that_decide_a_recall(code: str, error: type, retry: Retry, scope: Scope) -> None:
    rule = rule_for(code)
    assert (rule.error, rule.retry, rule.scope) == (error, retry, scope)


# ── Spelling, families, statuses ─────────────────────────────────────────────────────────────────────


def test_misspelt_code_is_literal() -> None:
    # The family would take the right spelling as well: the table itself must hold DingTalk's.
    assert "invalidParameter.robotCode.notExsit" in CODES
    assert "invalidParameter.robotCode.notExist" not in CODES
    assert "conversation.org.dismatch" in CODES


@pytest.mark.parametrize(
    ("code", "error", "hint"),
    [
        ("miss.param.content", InvalidRequestError, "msg_param"),
        ("miss.param.somethingNew", InvalidRequestError, "msg_param"),
        ("contain.something.bad", InvalidRequestError, "content rules"),
        ("Forbidden.AccessDenied.QpsLimitForSomethingNew", ThrottlingError, "calls_per_second"),
        ("Forbidden.AccessDenied.QpmLimitForSomethingNew", ThrottlingError, "calls_per_second"),
        ("Forbidden.AccessDenied.SomethingNew", PermissionDeniedError, "permission"),
        ("invalidParameter.robotCode.new", InvalidRequestError, "robot_code"),
        ("invalidParameter.new", InvalidRequestError, "parameter"),
    ],
)
def test_family_answers_for_a_code_that_no_table_names(code: str, error: type, hint: str) -> None:
    assert code not in CODES and is_known(code)
    assert rule_for(code).error is error
    assert hint in rule_for(code).next_step


def test_longest_family_wins() -> None:
    assert rule_for("invalidParameter.robotCode.new") is FAMILIES["invalidParameter.robotCode"]
    assert rule_for("Forbidden.AccessDenied.QpsX") is FAMILIES["Forbidden.AccessDenied.Qps"]


@pytest.mark.parametrize("code", ["", "no.such.code", "4001", "400140", "Invalidauthentication", "xcontain.y"])
def test_unknown_code_is_unknown(code: str) -> None:
    assert not is_known(code)
    rule = rule_for(code)
    assert (rule.error, rule.retry) == (ResponseError, Retry.NEVER)
    assert rule.next_step and CJK.search(rule.next_step_zh)


@pytest.mark.parametrize(
    ("status", "error", "retry"),
    [
        (200, ResponseError, Retry.NEVER),
        (400, ResponseError, Retry.NEVER),
        (404, ResponseError, Retry.NEVER),
        (401, AuthenticationError, Retry.REFRESH),
        (403, PermissionDeniedError, Retry.NEVER),
        (429, ThrottlingError, Retry.WAIT),
        (500, ServerError, Retry.AGAIN),
        (503, ServerError, Retry.AGAIN),
    ],
)
def test_status_speaks_where_the_code_is_unknown(status: int, error: type, retry: Retry) -> None:
    assert (rule_for("brand.new", status).error, rule_for("brand.new", status).retry) == (error, retry)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_known_code_is_stronger_than_any_status(status: int) -> None:
    assert rule_for("Forbidden.AccessDenied.QpsLimitForApi", status).error is ThrottlingError
    assert rule_for("not.allowed.robotCode", status).error is InvalidKeyError
    assert rule_for("InvalidAuthentication", status).retry is Retry.REFRESH


def test_only_throttling_takes_a_time_to_wait() -> None:
    throttled = error_for("90018", "", status_code=200, retry_after=7.0)
    assert isinstance(throttled, ThrottlingError) and throttled.retry_after == 7.0
    assert not hasattr(error_for("system.error", "", status_code=503, retry_after=7.0), "retry_after")


def test_refused_key_names_the_region_as_a_cause() -> None:
    error = error_for("invalidClientIdOrSecret", "", status_code=400)
    assert "region" in error.next_step and "'cn'" in error.next_step and "'international'" in error.next_step
    assert "region" in error.next_step_zh
