"""Structs with secrets: each field is secret unless it is named as shown."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct
from rich.pretty import pretty_repr

from airflow_provider_dingtalk.client.auth import InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.endpoints import AccessToken, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.client.proxy import Proxy
from airflow_provider_dingtalk.client.secret_fields import SecretFields

WORD = "s3cret-w0rd"


class Login(SecretFields, Struct, frozen=True, kw_only=True):
    shown: ClassVar = ("user",)

    user: str
    password: str
    tries: int = 3


def test_only_shown_fields_are_seen_and_texts_of_the_others_are_secrets() -> None:
    login = Login(user="me", password=WORD)
    assert repr(login) == pretty_repr(login) == "Login(user='me')"
    assert login.secrets() == (WORD,)


def test_each_struct_with_a_secret_knows_it() -> None:
    holders = {
        InternalApp(client_id="a", client_secret=WORD): (WORD,),
        ThirdPartyApp(suite_key="a", suite_secret=WORD, corp_id="c", suite_ticket=str): (WORD,),
        AccessToken(access_token=WORD, expire_in=1): (WORD,),
        GetAccessToken(app_key="a", app_secret=WORD): (WORD,),
        GetCorpAccessToken(suite_key="a", suite_secret=WORD, auth_corp_id="c", suite_ticket="t"): (WORD, "t"),
        Proxy(url="http://p:1", authorization=WORD): (WORD,),
    }
    for holder, secrets in holders.items():
        assert WORD not in repr(holder) + pretty_repr(holder)
        assert holder.secrets() == secrets
