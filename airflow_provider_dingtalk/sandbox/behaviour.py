"""Switches of the sandbox for undocumented behaviour, limits and delays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL

Seconds = Annotated[float, Meta(ge=0)]
Code = Annotated[str, Meta(min_length=1, max_length=80)]


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switches of the sandbox. Defaults follow DingTalk's pages, or what they suggest.

    :param calls_per_second: Calls allowed per app and API within a second; default 20, as documented for a standard
        organisation. 0 allows any number.
    :param throttle_window: ``fixed`` (default, our choice) gives a new allowance at every full second; ``sliding``
        allows no more than the allowance within any one second.
    :param throttle_tokens: Throttle the token APIs too; default False. Their rate limit is undocumented.
    :param calls_per_month: Quota of the organisation per calendar month (UTC+8); default None for no limit.
        Throttled calls and the token APIs do not count (documented).
    :param token_seconds: Life of an access token in seconds; default 7200, as documented.
    :param corp_token_renewal: Effect of a third-party app's new token on the old one (undocumented); ``keeps_old``
        (default) or ``revokes_old``.
    :param dead_token_status: HTTP status for a dead token on the new host; default 400, which was observed, whereas
        401 is documented for such errors in general.
    :param dead_token_code: Code for a dead token on the new host.
    :param already_recalled: Response to a second recall (undocumented). ``success`` is the default; with ``failed``
        the key is in ``failedResult``, with ``omitted`` in neither list. ``not_revoke_all`` is HTTP 400
        ``notRevoke.all.messages`` after the rest of the batch is recalled, ``refused`` HTTP 400 for the whole batch.
        DINGs and work notifications have success and API error only.
    :param already_recalled_reason: Reason or code of that response (undocumented); default ``SYSTEM_ERROR``, the only
        one on a page of DingTalk.
    :param failed_result_form: Form of ``failedResult``; ``map`` (default), or ``list`` of objects as claimed by users.
    :param duplicate_keys: Response to a key that a call names twice (undocumented); the key is reported ``once``
        (default) or ``twice``, or the call is ``refused`` with ``duplicate_keys_code``.
    :param unfit_keys: Effect of an unknown, foreign or expired key (undocumented). With ``whole_batch`` (default)
        nothing is recalled and the response is HTTP 400 with the code, as the error tables suggest. With ``per_key``
        the key is in ``failedResult`` with the code as reason.
    :param unknown_key_code: Code for a key that DingTalk never issued.
    :param unknown_robot_code: Code for a recall with an unknown robot; the pages list several.
    :param unknown_robot_query_code: Code for a query with an unknown robot; the page of private chats lists
        ``resource.not.found`` too.
    :param foreign_robot_code: Code for a robot of another app in recalls and queries; default None for that of each
        page. The pages of private chats list ``unauthorized`` too.
    :param foreign_conversation_code: Code for a conversation of another organisation in recalls and queries; default
        None for that of each page. The page of private chats lists ``auth.error`` too.
    :param max_keys: Maximum number of keys in a recall call; default 20, as documented.
    :param recall_window_hours: Recall window of group and private-chat messages in hours (undocumented); default None
        for no limit. One-on-one messages and work notifications have 24 hours (documented).
    :param recall_too_early_seconds: Seconds after a send in which a recall fails with ``SYSTEM_ERROR`` in
        ``failedResult``, as claimed by users; default 0.
    :param processing_seconds: Seconds for which a new message is ``PROCESSING``; default 0.
    :param status_delay_seconds: Seconds in which a query for a new message gets ``processQueryKey.expireTime``;
        default 0.
    :param status_window_hours: Hours in which group and private-chat messages can be queried (undocumented); default
        None for no limit. One-on-one messages have 24 hours (documented).
    :param status_after_recall: Status of a recalled message; ``recalled`` (default) is ``RECALLED`` (documented),
        ``unchanged`` the status before, ``no_status`` the code ``processQueryKey.expireTime``.
    :param readers_after_recall: Readers of a recalled message (undocumented); ``kept`` (default) or ``gone``.
    :param query_scope: ``optional`` (default) accepts a query by key alone (documented), ``required`` refuses it. The
        pages call robot and conversation optional and list codes for both missing.
    :param unknown_receivers: Response to a one-on-one send to unknown people; ``listed`` (default) lists them
        (documented), ``refused`` refuses the call with ``staffId.notExisted`` (reported by users, not observed).
    :param repeat_filter: Withhold a work notification that equals an earlier one of the day from the same person,
        with ``errcode`` 0 for the send (documented); default True.
    :param phone_dings_left: Number of paid DINGs by SMS or telephone; default None for any number.
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
        """Return a copy with some switches changed.

        :param changes: New values by name of the switch.
        :raises msgspec.ValidationError: If there is no such switch, or a value is invalid.
        """
        return msgspec.convert({**msgspec.to_builtins(self), **changes}, Behaviour)


def parse_switch(text: str) -> tuple[str, Any]:
    """Parse ``name=value`` of the command line.

    A value that is not valid JSON is text.

    :returns: Name and value.
    :raises ValueError: If the form or the name is invalid.
    """
    name, separator, value = text.partition("=")
    if not separator or name not in Behaviour.__struct_fields__:
        raise ValueError(f"expected name=value with a name of {', '.join(Behaviour.__struct_fields__)}: {text!r}")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
