"""Rows 1 to 28 of the fault matrix, about recalls, as data."""

from __future__ import annotations

from airflow_provider_dingtalk.jobs.recall import WORKERS
from tests.faults.checks import at_most_calls_a_bad_key, only_the_bad_are_left, stops_after_the_first_refusal
from tests.faults.prepared import (
    DeadTokens,
    Unreliable,
    of_many_ages,
    that_expire_on_the_way,
    with_poison,
    with_strangers,
)
from tests.faults.scheme import (
    ROBOTS,
    CallFault,
    Case,
    Injection,
    Row,
    body,
    both_sides,
    fault,
    hit_by,
    pages,
    throttled,
)

QUOTA = "Forbidden.AccessDenied.ApiCountLimitForOrg"
TOO_OLD = frozenset({"robot.processQueryKey.expired", "400002"})
GROUP_CODES = ("invalid.openConversationId", "bot.stopped", "template.stopped", "conversation.org.dismatch")
RETRY_AFTER = {"seconds": "3", "date": "Wed, 21 Oct 2026 07:28:00 GMT", "negative": "-5", "1e9": "1000000000",
               "text": "soon"}  # fmt: skip


def refused_group(code: str) -> Case:
    """Return a case in which every recall in a group is refused because of the group."""
    injection = Injection(match="groupMessages", from_call=1, faults=(fault("status", status=400, code=code),))
    return Case(
        label=code, injections=(injection,), failed_codes=frozenset({code}), most=stops_after_the_first_refusal(3)
    )


#: Rows 1 to 28, about recalls.
RECALL_ROWS = (
    Row(
        number=1,
        name="connect refused / DNS failure",
        cases=(Case(way=Unreliable),),
        specials=("wire_rows:nobody_listens", "wire_rows:a_total_outage_ends_every_request_in_time"),
    ),
    Row(
        number=2,
        name="reset before processing",
        cases=(hit_by(fault("drop"), fault("drop", reset=True), over_socket=True),),
    ),
    Row(
        number=3,
        name="reset after processing, no answer",
        cases=(hit_by(fault("drop", "after"), fault("drop", "after", reset=True), over_socket=True),),
    ),
    Row(
        number=4,
        name="answer cut mid-JSON after effect",
        cases=(hit_by(fault("truncate", bytes=17), fault("truncate", bytes=1), over_socket=True),),
    ),
    Row(
        number=5,
        name="read timeout, effect applied / not applied",
        cases=(
            hit_by(*both_sides("delay", seconds=2), over_socket=True, deadline=1.0),
            # Pauses take real time in this case, so it has a fifth of the keys.
            hit_by(
                fault("delay", seconds=0.3, although_gone=True),
                over_socket=True,
                deadline=0.2,
                label="late",
                wall_clock=True,
                slow=True,
            ),
        ),
    ),
    Row(
        number=6,
        name="slow-loris body",
        cases=(hit_by(fault("trickle", bytes_per_second=60), over_socket=True, deadline=1.0),),
        specials=("wire_rows:a_trickling_body_is_cut_at_the_deadline",),
    ),
    Row(number=7, name="500 system.error, effect not applied", cases=(hit_by(fault("status", status=500)),)),
    Row(
        number=8,
        name="500 system.error, effect applied",
        cases=tuple(
            hit_by(fault("status", "after"), switches={"already_recalled": again}, label=f"again: {again}")
            for again in ("success", "failed", "not_revoke_all")
        ),
    ),
    Row(number=9, name="502/503/504 HTML from a proxy", cases=(hit_by(*pages(502), *pages(503), *pages(504)),)),
    Row(
        number=10,
        name="200 with HTML / empty / wrong Content-Type",
        cases=(
            hit_by(*body(""), *body("ok"), *body("{}", content_type="text/plain"), *body("[]")),
            hit_by(*pages(200), runs=200, label="a page may be a ban"),
        ),
    ),
    Row(
        number=11,
        name="200 {}, null lists, list in place of map, number keys",
        cases=(
            hit_by(
                *body("{}"),
                *body('{"successResult":[1],"failedResult":{}}'),
                *body('{"failedResult":["x"]}'),
                *body('{"successResult":{"a":1}}'),
                *body('{"failedResult":{"a":1}}'),
                *body('{"errcode":{}}'),
                fault("null_lists"),
            ),
            hit_by(
                CallFault(({"type": "fail_keys", "first": 3}, {"type": "list_form"})),
                label="list for map",
                failed_codes=frozenset({"SYSTEM_ERROR"}),
            ),
        ),
    ),
    Row(
        number=12,
        name="partial failedResult",
        cases=(
            hit_by(
                *(
                    fault("fail_keys", first=3, reason=reason)
                    for reason in (
                        "SYSTEM_ERROR",
                        "not.allowed.robotCode",
                        "robot.processQueryKey.expired",
                        "who knows",
                    )
                ),
                failed_codes=frozenset({"SYSTEM_ERROR", "not.allowed.robotCode", "who knows"}),
                expired=True,
            ),
        ),
    ),
    Row(
        number=13,
        name="key absent from both lists",
        cases=(
            hit_by(
                fault("omit_keys", first=4),
                fault("omit_keys", first=4, recalled=False),
                failed_codes=frozenset({"not_reported"}),
            ),
        ),
    ),
    Row(number=14, name="key in both lists", cases=(hit_by(fault("both", first=5), fault("both")),)),
    Row(
        number=15,
        name="key never asked for in the answer",
        cases=(hit_by(fault("extra"), fault("extra", result="failed")),),
    ),
    Row(
        number=16,
        name="429 + Retry-After (s, date, negative, 1e9, text)",
        cases=(
            *(hit_by(throttled(headers={"Retry-After": text}), label=text) for text in RETRY_AFTER),
            hit_by(throttled(headers={"Retry-After": "999999"}), label="long", runs=300),
            hit_by(
                throttled(headers={"Retry-After": "50"}),
                label="beyond 24 h",
                prepare=that_expire_on_the_way,
                expired=True,
            ),
        ),
    ),
    Row(
        number=17,
        name="QPS errors",
        cases=(
            hit_by(
                fault("throttle"),
                fault("throttle", code="Forbidden.AccessDenied.QpsLimitForApi", errcode=90002),
                fault("throttle", code="Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", errcode=90019),
            ),
            Case(label="a real limit", switches={"calls_per_second": 2}, hits_of="refused"),
        ),
    ),
    Row(
        number=18,
        name="IP ban",
        cases=(
            hit_by(fault("ban"), fault("ban", wait=30), runs=200, label="JSON"),
            hit_by(fault("ban", form="html"), runs=200, label="HTML"),
        ),
    ),
    Row(
        number=19,
        name="monthly quota",
        cases=(
            Case(
                injections=(Injection(faults=(fault("throttle", code=QUOTA, errcode=90020),), from_call=8),),
                failed_codes=frozenset({QUOTA, "90020"}),
                most=stops_after_the_first_refusal(WORKERS + 2),
            ),
        ),
    ),
    Row(
        number=20,
        name="token expired mid-batch",
        cases=(
            Case(way=DeadTokens, label="once a call"),
            hit_by(fault("dead_token"), fault("dead_token", revoke=True), runs=200, cleared=True, label="revoked"),
            hit_by(
                fault("status", status=401, code="no.such.code", errcode=42001, wrapped=True),
                runs=200,
                cleared=True,
                label="401 and 42001",
            ),
        ),
        specials=("token_rows:a_token_that_stays_dead_is_renewed_once",),
    ),
    Row(
        number=21,
        name="token endpoint down / wrong secret / expireIn 0, huge, text",
        specials=("token_rows:no_token_means_no_recall", "token_rows:a_third_party_app_shows_no_ticket"),
    ),
    Row(number=22, name="20 threads/tasks need a token", specials=("token_rows:twenty_need_one_token",)),
    Row(number=23, name="400 request-scoped", cases=tuple(map(refused_group, GROUP_CODES))),
    Row(
        number=24,
        name="400 key-scoped for a whole batch",
        cases=tuple(
            Case(
                label=code,
                prepare=with_poison(code),
                hits_of="refused",
                failed_codes=frozenset({code}),
                expired=True,
                most=at_most_calls_a_bad_key,
            )
            for code in ("invalid.processQueryKey", "robot.processQueryKey.expired", "not.allowed.robotCode")
        ),
    ),
    Row(
        number=25,
        name="400 notRevoke.all.messages, with partial effect",
        cases=tuple(
            hit_by(
                fault("partial", first=7),
                fault("partial", first=0),
                mix=ROBOTS,
                label=f"again: {again}",
                switches={"already_recalled": again},
                failed_codes=frozenset({"notRevoke.all.messages"}),
            )
            for again in ("success", "failed", "not_revoke_all")
        ),
    ),
    Row(
        number=26,
        name="21 keys -> overMax, or a lower limit",
        cases=tuple(
            Case(label=f"at most {most}", switches={"max_keys": most}, mix=ROBOTS, hits_of="refused")
            for most in (10, 7, 1)
        ),
    ),
    Row(
        number=27,
        name="older than 24 h, clock skew +-10 min, deadline passes during retries",
        cases=tuple(
            Case(
                label=f"skew {skew:+.0f} s",
                prepare=of_many_ages(skew),
                failed_codes=TOO_OLD,
                expired=True,
                hits_of="keys",
                most=only_the_bad_are_left,
            )
            for skew in (-600.0, 0.0, 600.0)
        ),
    ),
    Row(
        number=28,
        name="keys of another robot",
        cases=tuple(
            Case(
                label=unfit,
                prepare=with_strangers(share),
                switches={"unfit_keys": unfit},
                hits_of=counted,
                failed_codes=frozenset({"not.allowed.robotCode"}),
                most=only_the_bad_are_left,
            )
            for unfit, share, counted in (("whole_batch", 0.02, "refused"), ("per_key", 0.2, "keys"))
        ),
    ),
)
