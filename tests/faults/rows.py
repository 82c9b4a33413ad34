"""The fault matrix as data: 51 rows, numbered in order."""

from __future__ import annotations

from tests.faults.recall_rows import RECALL_ROWS
from tests.faults.scheme import Row

ROWS = (
    *RECALL_ROWS,
    Row(number=29, name="redirect 30x to another host", specials=("wire_rows:no_redirect_is_followed",)),
    Row(number=30, name="gzip bomb / 1 GB body / deep JSON", specials=("wire_rows:bombs_do_not_go_off",)),
    Row(number=31, name="TLS: wrong CA, wrong name, expired", specials=("tls_rows:no_byte_goes_to_a_false_server",)),
    Row(number=32, name="SIGKILL at each named point", elsewhere="tests.faults.kills"),
    Row(
        number=33,
        name="SIGTERM inside a checkpoint write",
        specials=("checkpoint_rows:a_sigterm_inside_a_write_leaves_nothing_in_doubt",),
    ),
    Row(
        number=34,
        name="AirflowTaskTimeout at a random line",
        specials=("checkpoint_rows:a_timeout_at_any_moment_loses_nothing",),
    ),
    Row(
        number=35,
        name="checkpoint: 404, 5xx, timeout, corrupt or foreign value",
        specials=(
            "checkpoint_rows:a_checkpoint_that_fails_stops_the_recall",
            "checkpoint_rows:a_corrupt_checkpoint_leaves_every_message_in_doubt",
            "checkpoint_rows:another_list_inherits_only_what_is_recalled",
        ),
    ),
    Row(number=36, name="two attempts at once (zombie)", elsewhere="tests.faults.kills"),
    Row(
        number=37,
        name="triggerer SIGKILL / run twice / late event",
        elsewhere="tests.faults.real_airflow",
    ),
    Row(
        number=38,
        name="nextToken repeats, hasMore without token, 10^6 pages",
        specials=("status_rows:readers_without_end_are_an_error",),
    ),
    Row(
        number=39,
        name="cursor.invalid mid-paging; processQueryKey.expireTime",
        specials=("status_rows:a_dead_cursor_and_no_status_yet",),
    ),
    Row(number=40, name="unknown sendStatus, None", specials=("status_rows:an_unknown_status_is_not_yet",)),
    Row(number=41, name="sensor: PROCESSING for ever", specials=("status_rows:a_wait_ends_at_its_moment",)),
    Row(
        number=42,
        name="notifier: API down, slow, wrong key",
        specials=("notifier_rows:a_notifier_ends_in_time",),
    ),
    Row(number=43, name="bad input", specials=("input_rows:bad_input_costs_no_call",)),
    Row(number=44, name="empty list", specials=("input_rows:nothing_to_recall_costs_nothing",)),
    Row(number=45, name="duplicates", specials=("input_rows:a_key_named_a_thousand_times",)),
    Row(number=46, name="10,000 / 100,000 keys", specials=("input_rows:a_hundred_thousand_keys",), slow=True),
    Row(
        number=47,
        name="connection missing, broken, or to another host",
        specials=("input_rows:a_bad_connection_costs_no_call",),
    ),
    Row(
        number=48,
        name="proxy env, .netrc, REQUESTS_CA_BUNDLE",
        specials=("tls_rows:the_environment_adds_no_header",),
    ),
    Row(
        number=49,
        name='legacy recall: errcode 0 as "0", 400002, 500, missing errcode',
        specials=("status_rows:the_old_host_is_read_with_care",),
    ),
    Row(number=50, name="send: reset after effect", specials=("send_rows:a_lost_answer_is_unknown_and_not_resent",)),
    Row(number=51, name="send: partial lists", specials=("send_rows:people_left_out_are_named",)),
)
