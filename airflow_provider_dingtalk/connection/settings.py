"""Settings of an Airflow connection of type ``dingtalk``, parsed and validated.

======================  ===============================================================================
field of connection     meaning
======================  ===============================================================================
login                   Client ID (AppKey; SuiteKey of a third-party app)
password                Client Secret (AppSecret; SuiteSecret of a third-party app)
host, port, schema      empty for DingTalk; loopback address of the sandbox
extra ``region``        ``international`` (default) or ``cn``
extra ``app_type``      ``internal`` (default) or ``third_party``
extra ``corp_id``       CorpId of the organisation; required for a third-party app
extra ``suite_ticket_secret``  ticket of a third-party app, or ``variable:NAME``, or
                        ``callable:package.module.function``. The old name ``suite_ticket`` still works, but
                        Airflow shows its value to every user who may see connections
extra ``robot_code``    default robot of operators
extra ``agent_id``      default app of work notifications
extra ``calls_per_second``  rate limit per API; default 20, 0 disables it
extra ``ca_file``       PEM file to trust. By default the first that is set of ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
                        ``REQUESTS_CA_BUNDLE`` and the system's certificates
extra ``proxy``         HTTP proxy as ``host:port`` or ``http://user:password@host:port``. By default the one
                        of ``HTTPS_PROXY`` or ``ALL_PROXY``, unless ``NO_PROXY`` excludes DingTalk's host. The
                        sandbox on loopback with ``http`` uses none
======================  ===============================================================================
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.client.auth import App, InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.content import plain
from airflow_provider_dingtalk.client.hosts import Hosts, hosts_at, hosts_of_region, is_address
from airflow_provider_dingtalk.client.proxy import Proxy, environment_proxy, parse_proxy
from airflow_provider_dingtalk.client.rate_limit.limiter import DEFAULT_CALLS_PER_SECOND
from airflow_provider_dingtalk.client.rate_limit.redis_store import RedisUrl, parse_redis_url
from airflow_provider_dingtalk.exceptions import ConfigurationError, without_frames
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.version_compat import AirflowNotFoundException, call_supervisor, conf

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = get_logger(__name__)

#: Names of the extras of a connection.
EXTRAS = (
    *("region", "app_type", "corp_id", "suite_ticket_secret", "robot_code", "agent_id"),
    *("calls_per_second", "ca_file", "proxy"),
)
#: Old names of extras, and their current names.
RENAMED = {"suite_ticket": "suite_ticket_secret"}
APP_TYPES = ("internal", "third_party")


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of a connection.

    :param ca_file: PEM file to trust; None means the default sources.
    :param proxy: Proxy of the connection; None means the environment's, if there is one.
    :param pace_dir: Folder in which processes of this host share the rate limit; None gives each process its own.
    :param rate_limit_url: Redis server through which all hosts share the rate limit; None shares it within each host.
    :param fingerprint: Hash, without secrets in clear, of connections that must not share a client.
    """

    app: App
    hosts: Hosts
    region: str
    robot_code: str | None
    agent_id: str | None
    calls_per_second: float
    ca_file: str | None
    proxy: Proxy | None = None
    pace_dir: Path | None = None
    rate_limit_url: RedisUrl | None = None
    fingerprint: int

    @property
    def host_label(self) -> str:
        """Name of the region, or base URL of the connection's own host."""
        return self.region if self.hosts == hosts_of_region(self.region) else self.hosts.api

    def __repr__(self) -> str:
        return f"Settings({self.app!r}, {self.hosts.api})"


def read_settings(connection: Connection) -> Settings | ConfigurationError:
    """Read and validate a connection; return an error, which names the field, instead of raising it."""
    try:
        return _settings(connection)
    except ConfigurationError as error:
        # Locals of the frames hold secrets.
        return without_frames(error)


def raise_if_error(found: Settings | ConfigurationError) -> Settings:
    """Return settings, or raise their error."""
    # Inside an error handler, the error's context would hold Airflow's own text, so it is raised here.
    if isinstance(found, ConfigurationError):
        raise found
    return found


def no_connection(conn_id: str, error: Exception) -> ConfigurationError:
    """Return the error of a connection that Airflow cannot read."""
    # Airflow's own text may hold the connection's URI with its secret, so only the type is shown.
    return ConfigurationError(
        f"dingtalk_conn_id: cannot read the connection {conn_id!r} ({type(error).__name__}).",
        message_zh=f"dingtalk_conn_id：无法读取连接 {conn_id!r}（{type(error).__name__}）。",
        next_step="Define it in Airflow with type dingtalk, Client ID as login and Client Secret as password; "
        "if it is there, its JSON or its URI may not be readable.",
        # A failed API server or secrets backend may recover, so only a missing connection is permanent.
        permanent=isinstance(error, AirflowNotFoundException),
    )


def _settings(connection: Connection) -> Settings:
    # A receipt names its connection, so a forged XCom could otherwise send another system's secret to DingTalk.
    if connection.conn_type and connection.conn_type != "dingtalk":
        found = connection.conn_type[:40]
        raise ConfigurationError(
            f"Invalid connection type {found!r}; expected dingtalk.",
            message_zh=f"连接类型 {found!r} 无效；应为 dingtalk。",
        )
    extra = _extra(connection.extra)
    _warn_of_misspelt(extra)
    region = _text(extra, "region") or "international"
    hosts = _hosts(connection, region)
    return Settings(
        app=_app(connection, extra),
        hosts=hosts,
        region=region,
        robot_code=_text(extra, "robot_code"),
        agent_id=_agent_id(_text(extra, "agent_id")),
        calls_per_second=_calls_per_second(extra.get("calls_per_second")),
        ca_file=_ca_file(_text(extra, "ca_file")),
        proxy=_proxy(_text(extra, "proxy"), hosts),
        pace_dir=_pace_dir(),
        rate_limit_url=_rate_limit_url(),
        fingerprint=_fingerprint(connection, extra, hosts),
    )


def _proxy(text: str | None, hosts: Hosts) -> Proxy | None:
    """Parse the connection's proxy; without one, validate the environment's."""
    if text:
        return parse_proxy(text, "extra proxy")
    for base_url in (hosts.api, hosts.oapi):
        environment_proxy(base_url)
    return None


def _fingerprint(connection: Connection, extra: dict[str, Any], hosts: Hosts) -> int:
    try:
        text = str(sorted(map(str, extra.items())))
    except ValueError:  # an integer of more digits than Python prints
        raise ConfigurationError("Invalid extra: not a JSON object.") from None
    return hash((connection.login, connection.password, text, hosts))


def _agent_id(value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isdigit()):
        raise ConfigurationError("extra agent_id: must be a number, as the developer console shows it.")
    return value


def _warn_of_misspelt(extra: Mapping[str, Any]) -> None:
    """Log a warning for ignored extras whose names differ only in case, underscores or hyphens."""
    names = {name.replace("_", ""): name for name in (*RENAMED, *EXTRAS)}
    for name in extra:
        meant = names.get(str(name).lower().replace("_", "").replace("-", ""))
        if meant not in (None, name):
            log.warning("Ignoring unknown connection extra %r; did you mean %r?", str(name)[:40], meant)


def _extra(extra: Any) -> dict[str, Any]:
    decoded = {} if extra is None else extra
    if isinstance(extra, str | bytes):
        try:
            decoded = msgspec.json.decode((plain(extra) if isinstance(extra, str) else extra) or "{}")
        except (msgspec.DecodeError, RecursionError):
            decoded = None
    if not isinstance(decoded, dict):
        raise ConfigurationError("Invalid extra: not a JSON object.")
    return decoded


def _text(extra: dict[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if value is None:
        return None
    # Python refuses to print an integer of 5,000 digits.
    is_huge = isinstance(value, int) and value.bit_length() >= 128
    if isinstance(value, bool) or not isinstance(value, str | int) or is_huge:
        kind = type(value).__name__
        raise ConfigurationError(
            f"extra {name}: must be text, not {kind}.", message_zh=f"extra {name}：应为文本，而不是 {kind}。"
        )
    return str(value).strip() or None


def _hosts(connection: Connection, region: str) -> Hosts:
    by_region = hosts_of_region(region)
    if not connection.host:
        return by_region
    # Airflow removes the brackets of an IPv6 address in a connection's URI, so they are added again.
    host = f"[{connection.host}]" if is_address(connection.host, 6) else connection.host
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    if connection.port and not 0 < connection.port < 2**16:
        raise ConfigurationError("host: must have a port from 1 to 65535.")
    if connection.port and not url.rstrip("/").endswith(f":{connection.port}"):
        url = f"{url.rstrip('/')}:{connection.port}"
    return hosts_at(url, _list_option("allowed_hosts"))


def _list_option(name: str) -> frozenset[str]:
    """Return the items of a comma-separated option of airflow.cfg."""
    return frozenset(item.strip() for item in _option(name).split(",") if item.strip())


def _option(name: str) -> str:
    """Return an option of ``[dingtalk]`` in airflow.cfg; default empty."""
    value: str = conf.get("dingtalk", name, fallback="")
    return value.strip()


def _pace_dir() -> Path | None:
    value = _option("pace_dir")
    if value.lower() == "none":
        return None
    if not value:
        # Computed as Airflow does: for a user without a home, "~" is a folder then.
        value = (os.environ.get("AIRFLOW_HOME") or "~/airflow") + "/dingtalk/pace"
        return Path(os.path.expanduser(value))  # noqa: PTH111 -- pathlib's raises if there is no home
    path = os.path.expanduser(os.path.expandvars(value))  # noqa: PTH111 -- as above
    if path.startswith("~") or not path.isprintable():
        raise ConfigurationError(
            "Invalid option pace_dir in airflow.cfg, section [dingtalk]; expected a folder, or none.",
            next_step="Write the whole path: the home of its user is not known.",
        )
    return Path(path)


def _rate_limit_url() -> RedisUrl | None:
    value = _option("rate_limit_url")
    if value and parse_redis_url(value) is None:
        raise ConfigurationError(
            "Invalid option rate_limit_url in airflow.cfg, section [dingtalk]; expected redis://host:port/database or "
            "rediss://user:password@host:port/database.",
            next_step="Characters such as @ : / # % in user or password must be percent-encoded.",
        )
    return parse_redis_url(value)


def _calls_per_second(value: Any) -> float:
    if value is None or value == "":
        return DEFAULT_CALLS_PER_SECOND
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 10_000:
        raise ConfigurationError("extra calls_per_second: must be a number from 0 (no limit) to 10000.")
    return number


def _ca_file(path: str | None) -> str | None:
    try:
        is_there = path is None or Path(path).is_file()
    except OSError:  # a path that is too long, or a folder without access
        is_there = False
    if not is_there:
        raise ConfigurationError("extra ca_file: there is no such file.")
    return path


def _app(connection: Connection, extra: dict[str, Any]) -> App:
    app_type = _text(extra, "app_type") or "internal"
    if app_type not in APP_TYPES:
        types = ", ".join(APP_TYPES)
        raise ConfigurationError(
            f"Invalid extra app_type {app_type!r}; expected one of: {types}.",
            message_zh=f"extra app_type {app_type!r} 无效；应为其中之一：{types}。",
        )
    key = (connection.login or "").strip()
    secret = (connection.password or "").strip()
    if not key:
        raise ConfigurationError("login: is empty; it must be the app's Client ID.")
    if not secret:
        raise ConfigurationError("password: is empty; it must be the app's Client Secret.")
    if app_type == "internal":
        return InternalApp(client_id=key, client_secret=secret)
    corp_id, ticket = _text(extra, "corp_id"), _ticket(extra)
    if not corp_id:
        raise ConfigurationError("extra corp_id: is empty; a third-party app needs the organisation's CorpId.")
    if not ticket:
        raise ConfigurationError(
            "extra suite_ticket_secret: is empty; give the ticket, variable:NAME, or callable:package.module.function."
        )
    return ThirdPartyApp(suite_key=key, suite_secret=secret, corp_id=corp_id, suite_ticket=_suite_ticket(ticket))


def _ticket(extra: dict[str, Any]) -> str | None:
    old = _text(extra, "suite_ticket")
    if old and not old.startswith(("variable:", "callable:")):
        log.warning(
            "Rename the connection's extra 'suite_ticket' to 'suite_ticket_secret'; Airflow hides the values of "
            "names that say secret, and shows this one in its API and its connection form."
        )
    return _text(extra, "suite_ticket_secret") or old


def _suite_ticket(source: str) -> Callable[[], str]:
    """Return the function that gets the newest ticket, because Airflow cannot receive DingTalk's push."""
    if source.startswith("variable:"):
        return lambda: _from_variable(source.removeprefix("variable:"))
    if source.startswith("callable:"):
        path = source.removeprefix("callable:")
        # A user who edits connections must not run arbitrary functions, so airflow.cfg lists the allowed ones.
        if path not in _list_option("suite_ticket_callables"):
            raise ConfigurationError(
                f"extra suite_ticket_secret: {path!r} is not allowed.",
                message_zh=f"extra suite_ticket_secret：不允许 {path!r}。",
                next_step="List it in airflow.cfg, section [dingtalk], option suite_ticket_callables.",
            )
        return lambda: _from_callable(path)
    return lambda: _masked(source)


def _masked(ticket: str) -> str:
    """Mask a ticket in logs, because Airflow does not treat the name "ticket" as a secret."""
    from airflow.sdk.log import mask_secret

    call_supervisor(mask_secret, ticket)
    return ticket


def _from_variable(name: str) -> str:
    from airflow.sdk import Variable

    ticket = call_supervisor(Variable.get, name, default=None)
    if not isinstance(ticket, str) or not ticket:
        raise ConfigurationError(
            f"extra suite_ticket_secret: the Variable {name!r} is not set.",
            message_zh=f"extra suite_ticket_secret：变量 {name!r} 未设置。",
        )
    return _masked(ticket)


def _from_callable(path: str) -> str:
    module, _, function = path.rpartition(".")
    try:
        ticket = getattr(importlib.import_module(module), function)()
    except Exception as error:
        problem = type(error).__name__
    else:
        if isinstance(ticket, str) and ticket:
            return _masked(ticket)
        raise ConfigurationError(
            f"extra suite_ticket_secret: {path} gave no text.",
            message_zh=f"extra suite_ticket_secret：{path} 没有返回文本。",
        )
    # The error of foreign code may be temporary, so it is not permanent. Inside the handler, the error's context
    # would hold its text, so it is raised here.
    raise ConfigurationError(
        f"extra suite_ticket_secret: {path} failed ({problem}).",
        message_zh=f"extra suite_ticket_secret：{path} 出错（{problem}）。",
        permanent=False,
    )
