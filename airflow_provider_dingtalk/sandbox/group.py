"""Group messages."""

from __future__ import annotations

from airflow_provider_dingtalk.client.endpoints import QueryGroupMessage, RecallGroupMessages, SendGroupMessage
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.robot_messages import conversation_type

TYPE = conversation_type("group", GROUPS[0], send=SendGroupMessage, recall=RecallGroupMessages, query=QueryGroupMessage)
