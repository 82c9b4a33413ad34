"""Provider metadata for Airflow, valid by ``airflow/provider_info.schema.json``."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.cli.arguments import KINDS


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, its modules, and its connection form."""
    return {
        "package-name": "airflow-provider-dingtalk",
        "name": "DingTalk",
        "description": "Send DingTalk messages, wait until they are read, and take them back.",
        "integrations": [
            {"integration-name": "DingTalk", "external-doc-url": "https://open.dingtalk.com/", "tags": ["service"]}
        ],
        "operators": _modules(*(f"operators.{name}" for name in (*KINDS, "rollback"))),
        "sensors": _modules("sensors"),
        "hooks": _modules("hooks"),
        "triggers": _modules("triggers"),
        "notifications": ["airflow_provider_dingtalk.notifications.DingTalkNotifier"],
        "extra-links": ["airflow_provider_dingtalk.operators.links.DingTalkReportLink"],
        "cli": ["airflow_provider_dingtalk.cli.definition.get_dingtalk_cli_commands"],
        "connection-types": [
            {
                "connection-type": "dingtalk",
                "hook-class-name": "airflow_provider_dingtalk.hooks.DingTalkHook",
                "hook-name": "DingTalk",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "login": "Client ID (AppKey)",
                        "password": "Client Secret (AppSecret)",
                        "host": "Sandbox URL (or empty)",
                        # The page of Airflow 3.3.2 tests a connection without a port as one with port 0, and its
                        # server refuses that as another connection than the stored one.
                        "port": "Port (0, or Airflow cannot test)",
                    },
                    "placeholders": {"login": "dingxxxxxxxx", "host": "http://127.0.0.1:8848", "port": "0"},
                },
                "conn-fields": _connection_fields(),
            }
        ],
        "config": {
            "dingtalk": {
                "description": "Options of the DingTalk provider, for Airflow's administrator.",
                "options": {
                    "allowed_hosts": _option(
                        "Host names, separated by commas, that a connection may name besides DingTalk and "
                        "loopback; reached by https only.",
                        "dingtalk.gateway.example.com",
                    ),
                    "suite_ticket_callables": _option(
                        "Functions, as package.module.function and separated by commas, that a connection may "
                        "name to get the suite ticket of a third-party app.",
                        "my_company.dingtalk.suite_ticket",
                    ),
                    "pace_dir": _option(
                        "Folder in which all processes of a host share the pace of their calls, best on a local "
                        "disk. It must belong to the user who runs the tasks, and to no other user; it is made if "
                        "missing. Empty: dingtalk/pace in AIRFLOW_HOME. none: each process keeps its own pace.",
                        "/var/lib/airflow/dingtalk/pace",
                    ),
                    "rate_limit_url": _option(
                        "Redis server, as redis://host:port/database or rediss://user:password@host:port/database, "
                        "through which all hosts share the rate limit of an app. Needs the extra redis. While it is "
                        "away, and if empty, each host keeps to the limit alone.",
                        "rediss://dingtalk:secret@redis.example.com:6379/0",
                        sensitive=True,
                    ),
                    "api_server_timeout": _option(
                        "Seconds for which a task waits for Airflow's API server while it is away, as in a rolling "
                        "restart, before the task fails. 0: no wait.",
                        "300",
                        type="float",
                        default="120",
                    ),
                    "language": _option(
                        "Language of texts for people (next steps, reports, plans, alerts, commands): en, zh, or both. "
                        "Empty: zh in a Chinese locale (LC_ALL, LC_MESSAGES, LANG), otherwise both.",
                        "zh",
                    ),
                },
            }
        },
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    modules = [f"airflow_provider_dingtalk.{name}" for name in names]
    return [{"integration-name": "DingTalk", "python-modules": modules}]


def _connection_fields() -> dict[str, dict[str, Any]]:
    return {
        "region": _field(
            "Region",
            "Keys are bound to a region; cn is mainland China. 消息 ID 与区域绑定；cn 为中国大陆。",
            enum=["international", "cn"],
            default="international",
        ),
        "app_type": _field(
            "App type",
            "App of your organisation (internal) or of a vendor. 企业内部应用（internal）或第三方应用。",
            enum=["internal", "third_party"],
            default="internal",
        ),
        "corp_id": _field("CorpId", "Third-party app: the organisation that authorised it. 第三方应用：授权企业。"),
        "suite_ticket_secret": _field(
            "Suite ticket",
            "Third-party app: the ticket, or variable:NAME, or callable:package.module.function. "
            "第三方应用：ticket 本身，或上述两种写法。",
            "password",
        ),
        "robot_code": _field(
            "Robot code",
            "Robot to send and recall with, unless an operator names one. 默认用于发送和撤回的机器人。",
        ),
        "agent_id": _field(
            "Agent ID",
            "App to send work notifications as, unless an operator names one. 默认用于发送工作通知的应用。",
        ),
        "calls_per_second": {
            "label": "Calls per second",
            "description": "Limit of DingTalk per app and API: 20 in the standard edition. 0: no limit. "
            "每秒调用次数：标准版中每个应用每个 API 为 20；0 为不限。",
            "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 10000},
        },
        "ca_file": _field(
            "CA file", "PEM file to trust instead of the system's certificates. 替代系统证书的 PEM 文件。"
        ),
        "proxy": _field(
            "Proxy",
            "host:port or http://user:password@host:port. By default HTTPS_PROXY of the environment. "
            "默认使用环境变量 HTTPS_PROXY。",
            "password",
        ),
    }


def _field(label: str, description: str, text_format: str | None = None, **schema: Any) -> dict[str, Any]:
    shape = {"type": ["string", "null"], **({"format": text_format} if text_format else {}), **schema}
    return {"label": label, "description": description, "schema": shape}


def _option(description: str, example: str, **more: Any) -> dict[str, Any]:
    shared = {"version_added": "0.1.0", "type": "string", "default": "", **more}
    return {"description": description, "example": example, **shared}
