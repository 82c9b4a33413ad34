"""Encoding of requests and decoding of answers, without a socket.

:func:`request_for` writes the legacy host's token into the URL, as DingTalk requires, so its request is never logged.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from airflow_provider_dingtalk.client.endpoints import Auth, Endpoint, Host, fields_of
from airflow_provider_dingtalk.client.error_codes import CODES, error_for
from airflow_provider_dingtalk.exceptions import (
    InvalidInputError,
    ResponseError,
    UnexpectedHtmlError,
    UnexpectedResponseError,
)

Result = TypeVar("Result")

#: Maximum size of an answer, in bytes. DingTalk's longest, a page of 200 readers, has a few kilobytes.
MAX_BODY_BYTES = 4 * 1024 * 1024
#: Duration of a ban if the answer names none, in seconds.
BAN_SECONDS = 300.0
#: Longest accepted wait of an answer, in seconds.
MAX_RETRY_AFTER = 300.0
#: Maximum length of DingTalk's text in an error, in characters.
_MAX_MESSAGE = 200

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "airflow-provider-dingtalk"}
_BAN = re.compile(rb"punish\W{1,20}deny|\"status\"\s*:\s*1111\b")
_BAN_MINUTES = re.compile(rb'"wait"\s*:\s*"?(\d{1,3})\b')
_CONTENT_TYPE = re.compile(r"[a-z]{1,20}/[a-z.+-]{1,40}\b")


class RawResponse(msgspec.Struct, frozen=True):
    """Undecoded answer.

    :param status_code: HTTP status.
    :param body: At most :data:`MAX_BODY_BYTES`.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes | bytearray


def announced_length(headers: Mapping[str, str]) -> int:
    """Return ``Content-Length`` in bytes; 0 if missing or invalid."""
    length = headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0


def request_for(endpoint: Endpoint[Any], base_url: str, token: str) -> httpx.Request:
    """Build the HTTP request of a call.

    :param base_url: Scheme and host, without a trailing slash.
    :param token: Access token; empty for calls without one.
    :raises InvalidInputError: If a field is missing, has a wrong type, or exceeds DingTalk's limit.
    """
    try:
        return _request(endpoint, base_url, token, fields_of(endpoint))
    except msgspec.ValidationError as error:
        problem = str(error)
    except TypeError:
        problem = "holds something that JSON has no form for"
    except UnicodeEncodeError:
        problem = "holds half a surrogate pair; expected text"
    # Inside the handler, the error's context would hold the text that could not be encoded, so it is raised here.
    raise InvalidInputError(endpoint.name, problem)


def _request(endpoint: Endpoint[Any], base_url: str, token: str, fields: dict[str, Any]) -> httpx.Request:
    http = endpoint.http
    headers = _HEADERS | ({"x-acs-dingtalk-access-token": token} if http.auth is Auth.HEADER else {})
    query = {"access_token": token} if http.auth is Auth.QUERY else {}
    if http.method == "GET":
        query |= _as_texts(fields)
    url = httpx.URL(f"{base_url}{http.path}?{urlencode(query)}") if query else _url(base_url + http.path)
    if http.method == "GET":
        return httpx.Request("GET", url, headers=headers)
    if http.host is Host.OAPI:
        return httpx.Request("POST", url, headers=headers, data=_as_texts(fields))
    headers["content-type"] = "application/json; charset=utf-8"
    return httpx.Request("POST", url, headers=headers, content=msgspec.json.encode(fields))


# Parsing takes a tenth of a call, so the URLs without a query are cached, one for each API.
_url = functools.lru_cache(maxsize=64)(httpx.URL)


def _as_texts(fields: dict[str, Any]) -> dict[str, str]:
    encode = msgspec.json.encode
    return {name: value if isinstance(value, str) else encode(value).decode() for name, value in fields.items()}


def result_of(endpoint: Endpoint[Result], response: RawResponse, secrets: Collection[str] = ()) -> Result:
    """Decode an answer.

    :param secrets: Texts to mask in errors, because DingTalk or a proxy may repeat them; default none.
    :raises ResponseError: If DingTalk answered with an error code; the code decides the class.
    :raises UnexpectedResponseError: If DingTalk does not document such an answer.
    """
    _raise_if_banned(endpoint, response)
    body = _json_object(endpoint, response)
    code, *texts = _legacy_error(body) if "errcode" in body else _error(response, body)
    if code:
        if code not in CODES:  # a known code may contain a very short secret, and masking would corrupt it
            code = _masked(code, secrets)
        message, request_id = (_masked(text, secrets) for text in texts)
        raise _error_for(endpoint, response, code, message, request_id=request_id)
    if 300 <= response.status_code < 400:
        raise _unexpected(endpoint, response, "redirects are not followed")
    if not 200 <= response.status_code < 300:
        raise _error_for(endpoint, response)
    try:
        result: Result = msgspec.convert(body, endpoint.result)
    except msgspec.ValidationError as problem:
        raise _unexpected(endpoint, response, f"its JSON has another shape ({problem})") from None
    return result


def _raise_if_banned(endpoint: Endpoint[Any], response: RawResponse) -> None:
    """Raise an error for an HTML page, or for the JSON under HTTP 200 with which DingTalk bans an address.

    https://open.dingtalk.com/document/development/how-to-process-api-throttling-on-the-dingtalk-server
    """
    head = response.body[:8192]
    minutes = _BAN_MINUTES.search(head)
    seconds = min(float(minutes.group(1)) * 60 if minutes else BAN_SECONDS, MAX_RETRY_AFTER)
    if _BAN.search(head):
        raise _error_for(endpoint, response, "1111", "this address is shut out", retry_after=seconds)
    if head.lstrip()[:1] == b"<" and response.status_code < 500 and response.status_code != 429:
        rule = CODES["html_page"]
        raise UnexpectedHtmlError(
            f"{endpoint.name}: HTTP {response.status_code} with a page for people.",
            message_zh=f"{endpoint.name}：HTTP {response.status_code}，返回的是网页。",
            code="html_page",
            next_step=rule.next_step,
            next_step_zh=rule.next_step_zh,
            retry_after=seconds,
        )


def _json_object(endpoint: Endpoint[Any], response: RawResponse) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        body = None
    if isinstance(body, dict):
        return body
    if response.status_code == 429 or 500 <= response.status_code < 600:
        raise _error_for(endpoint, response)
    raise _unexpected(endpoint, response, "not a JSON object")


def _error_for(
    endpoint: Endpoint[Any], response: RawResponse, code: str = "", message: str = "", **details: Any
) -> ResponseError:
    # DingTalk does not document Retry-After, so only a number of seconds is accepted, within 1 and MAX_RETRY_AFTER.
    retry_after = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}", retry_after):
        details.setdefault("retry_after", min(max(float(retry_after), 1.0), MAX_RETRY_AFTER))
    return error_for(code, message, status_code=response.status_code, endpoint=endpoint.name, **details)


def _error(response: RawResponse, body: dict[str, Any]) -> tuple[str, str, str]:
    """Return code, text and request id of an error; three empty texts without one."""
    if 200 <= response.status_code < 300:
        return "", "", ""
    return _text(body.get("code")), _text(body.get("message")), _text(body.get("requestid"))


def _legacy_error(body: dict[str, Any]) -> tuple[str, str, str]:
    """Return code, text and request id of the legacy host's error; three empty texts without one."""
    code, message = _text(body.get("errcode")), _text(body.get("errmsg"))
    if code == "0":
        return "", "", ""
    # Code 88 wraps the cause in sub_code, or else in the text, e.g. ``ding talk error[subcode=90002,…]``.
    if inner := _text(body.get("sub_code")):
        code, message = inner, _text(body.get("sub_msg")) or message
    elif code == "88" and (found := re.search(r"subcode=(-?\d+)", message)):
        code = found.group(1)
    return code, message, _text(body.get("request_id"))


def _text(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python prints
        return ""
    return "".join(char if char.isprintable() else " " for char in text)


def _masked(text: str, secrets: Collection[str]) -> str:
    """Mask the secrets in a text, also quoted as in a URL, and shorten it to 200 characters."""
    for secret in filter(None, secrets):
        anyhow = "".join(f"(?:{re.escape(char)}|{re.escape(quote(char, safe=''))})" for char in secret)
        text = re.sub(anyhow, "***", text, flags=re.IGNORECASE)
    # Shortened last, because a cut secret would not be found.
    return text[:_MAX_MESSAGE]


def _unexpected(endpoint: Endpoint[Any], response: RawResponse, problem: str) -> UnexpectedResponseError:
    # The answer is untrusted text, so the message holds nothing of it except a well-formed content type.
    found = _CONTENT_TYPE.match(response.headers.get("content-type", ""))
    content_type = found.group() if found else "no known type"
    size = len(response.body)
    return unexpected_answer(endpoint, f"HTTP {response.status_code} with {size} bytes of {content_type}: {problem}")


def unexpected_answer(endpoint: Endpoint[Any], problem: str) -> UnexpectedResponseError:
    """Return the error for an answer that DingTalk does not document."""
    return UnexpectedResponseError(
        f"{endpoint.name}: {problem}.",
        code="unexpected_answer",
        next_step="See whether a proxy stands between this machine and DingTalk.",
        next_step_zh="请检查本机与钉钉之间是否有代理。",
    )
