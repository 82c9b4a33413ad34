"""The sandbox's switches: how DingTalk behaves where its pages are silent, and how busy and slow it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from airflow_provider_dingtalk.api.endpoints import MAX_KEYS_PER_RECALL

Seconds = Annotated[float, Meta(ge=0)]
Code = Annotated[str, Meta(min_length=1, max_length=80)]


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All switches. Defaults are what the pages say, or what they suggest.

    :param calls_per_second: Calls let through per app and API within a second; 0 lets all through.
        20 is documented for a standard organisation.
    :param throttle_window: Our choice ``fixed``: a new allowance at every full second. ``sliding``: no more
        than the allowance within any one second.
    :param throttle_tokens: Whether the token APIs are throttled too: how often they may be called is undocumented.
    :param calls_per_month: Calls the organisation has per calendar month (UTC+8); ``None`` for no limit. Throttled
        calls and the token APIs do not count (documented).
    :param token_seconds: Life of an access token in seconds; 7200 is documented.
    :param corp_token_renewal: Undocumented: whether the old token of a third-party app outlives a new one.
    :param dead_token_status: HTTP status of a dead token on the new host; 400 was seen, where 401 is documented
        for such errors in general.
    :param dead_token_code: Its code.
    :param already_recalled: Undocumented: the answer to a second recall. ``success``; ``failed``: in
        ``failedResult``; ``omitted``: in neither list; ``not_revoke_all``: HTTP 400 ``notRevoke.all.messages``
        after the rest of the batch is recalled; ``refused``: HTTP 400 for the whole batch. DINGs and work
        notifications know success and refusal only.
    :param already_recalled_reason: Undocumented: the reason or code of that. ``SYSTEM_ERROR`` is the only one on
        a page of DingTalk's.
    :param failed_result_form: Claimed by users: ``failedResult`` is a list of objects and no map.
    :param duplicate_keys: Undocumented: a key that is named twice in a call is reported ``once`` or ``twice``, or
        the call is ``refused``.
    :param duplicate_keys_code: The code of that refusal.
    :param unfit_keys: Undocumented: what an unknown, foreign or expired key does. ``whole_batch``: nothing of the
        batch is recalled, HTTP 400 with the code (the error tables suggest it); ``per_key``: the key is in
        ``failedResult`` with the code as reason.
    :param unknown_key_code: The code for a key that DingTalk never gave.
    :param unknown_robot_code: The code for a recall with a robot that there is none of: the pages list several.
    :param unknown_robot_query_code: The code for a query with a robot that there is none of; the page of private
        chats lists ``resource.not.found`` too.
    :param foreign_robot_code: The code for a robot of another app, in recalls and queries; ``None``: that of each
        page. The pages of private chats list ``unauthorized`` too.
    :param foreign_conversation_code: The code for a conversation of another organisation, in recalls and queries;
        ``None``: that of each page. The page of private chats lists ``auth.error`` too.
    :param max_keys: Keys taken in one recall call; 20 is documented.
    :param recall_window_hours: Undocumented: hours in which group and private-chat messages can be recalled;
        ``None`` for ever. One-on-one messages and work notifications have 24 hours (documented).
    :param recall_too_early_seconds: Claimed by users: for so many seconds after a send, a recall of it fails
        with ``SYSTEM_ERROR`` in ``failedResult``.
    :param processing_seconds: Seconds for which a new message is ``PROCESSING``.
    :param status_delay_seconds: Seconds until a query finds the message; before, ``processQueryKey.expireTime``.
    :param status_window_hours: Undocumented: hours in which group and private-chat messages can be queried;
        ``None`` for ever. One-on-one messages have 24 hours (documented).
    :param status_after_recall: What a query tells of a recalled message. ``recalled``: ``RECALLED`` (documented);
        ``unchanged``: what it told before; ``no_status``: ``processQueryKey.expireTime``.
    :param readers_after_recall: Undocumented: whether it still tells who had read it.
    :param query_scope: The pages call robot and conversation of a query optional and list codes for both missing.
        ``optional`` takes the query by key alone (documented), ``required`` refuses it.
    :param unknown_receivers: Documented: a one-on-one send lists people that there are none of, ``listed``. Not
        observed, reported by users: it refuses the whole call with ``staffId.notExisted``, ``refused``.
    :param repeat_filter: Documented: a work notification equal to an earlier one of the day does not reach the
        same person; the send is still answered with ``errcode`` 0.
    :param phone_dings_left: DINGs by SMS or telephone that are paid for; ``None`` for any number.
    """

    calls_per_second: Annotated[int, Meta(ge=0)] = 20
    throttle_window: Literal["fixed", "sliding"] = "fixed"
    throttle_tokens: bool = False
    calls_per_month: Annotated[int, Meta(ge=0)] | None = None
    token_seconds: Annotated[int, Meta(gt=0)] = 7200
    corp_token_renewal: Literal["keeps_old", "revokes_old"] = "keeps_old"
    dead_token_status: Annotated[int, Meta(ge=400, le=499)] = 400
    dead_token_code: Code = "InvalidAuthentication"
    already_recalled: Literal["success", "failed", "omitted", "not_revoke_all", "refused"] = "success"
    already_recalled_reason: Code = "SYSTEM_ERROR"
    failed_result_form: Literal["map", "list"] = "map"
    duplicate_keys: Literal["once", "twice", "refused"] = "once"
    duplicate_keys_code: Code = "invalidParameter.param.invalid"
    unfit_keys: Literal["whole_batch", "per_key"] = "whole_batch"
    unknown_key_code: Code = "invalid.processQueryKey"
    unknown_robot_code: Code = "invalidParameter.robotCode"
    unknown_robot_query_code: Code = "invalidParameter.robotCode.notExsit"
    foreign_robot_code: Code | None = None
    foreign_conversation_code: Code | None = None
    max_keys: Annotated[int, Meta(ge=1)] = MAX_KEYS_PER_RECALL
    recall_window_hours: Seconds | None = None
    recall_too_early_seconds: Seconds = 0
    processing_seconds: Seconds = 0
    status_delay_seconds: Seconds = 0
    status_window_hours: Seconds | None = None
    status_after_recall: Literal["recalled", "unchanged", "no_status"] = "recalled"
    readers_after_recall: Literal["kept", "gone"] = "kept"
    query_scope: Literal["required", "optional"] = "optional"
    unknown_receivers: Literal["listed", "refused"] = "listed"
    repeat_filter: bool = True
    phone_dings_left: Annotated[int, Meta(ge=0)] | None = None

    def changed(self, changes: Mapping[str, Any]) -> Behaviour:
        """A copy with some switches set, by name.

        :raises msgspec.ValidationError: There is no such switch, or it has no such value.
        """
        return msgspec.convert({**msgspec.to_builtins(self), **changes}, Behaviour)


def parse_switch(text: str) -> tuple[str, Any]:
    """``name=value`` of the command line as a pair; values are JSON, or text when they are not."""
    name, separator, value = text.partition("=")
    if not separator or name not in Behaviour.__struct_fields__:
        raise ValueError(f"expected name=value with a name of {', '.join(Behaviour.__struct_fields__)}: {text!r}")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
