"""DAG that runs when messages are read: known ones, and those that another DAG will send."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from airflow.sdk import Asset, AssetAny, AssetWatcher, dag, task

from airflow_provider_dingtalk.triggers import DingTalkReadEventTrigger


def receipt(name: str) -> dict[str, Any]:
    return {
        "kind": "group",
        "robot_code": "dingsandbox",
        "open_conversation_id": "cidgroup1",
        "process_query_key": f"watched-{name}",
    }


READ = {"min_readers": 1}
SHAPES: dict[str, dict[str, Any]] = {
    "list": {"receipts": [receipt("list")], "wanted": READ},
    "nested": {"receipts": [[receipt("nested")], [None]], "wanted": {"read_by": ["user001"], "match": "any"}},
    "one": {"receipts": receipt("one"), "wanted": {"send_statuses": {"SUCCESS", "RECALLED"}, "min_readers": 1}},
    "text": {"receipts": json.dumps([receipt("text")]), "wanted": json.dumps(READ)},
    "texts": {"receipts": [json.dumps(receipt("texts"))], "wanted": {"min_read_share": 0.5, "audience": 2}},
    "terms": {
        "receipts": (receipt("terms"),),
        "wanted": READ,
        "max_poke_interval": dt.timedelta(minutes=5),
        "max_api_calls": 500,
        "dingtalk_conn_id": "dingtalk_by_uri",
    },
    # A receipt names its connection, so the connection of the watcher is not used.
    "connection": {
        "receipts": [{**receipt("connection"), "version": 2, "conn_id": "dingtalk_by_uri"}],
        "wanted": READ,
        "dingtalk_conn_id": "nowhere",
    },
    "dag": {"from_dag": "real_watched_sends", "wanted": READ, "dag_poll_interval": 2},
    "tasks": {
        "from_dag": "real_watched_sends",
        "from_tasks": ["send_each"],
        "wanted": READ,
        "dag_poll_interval": dt.timedelta(seconds=2),
        "watch_for": dt.timedelta(hours=1),
    },
}
ASSETS = [
    Asset(
        f"watched_{name}",
        watchers=[AssetWatcher(name=f"watcher_{name}", trigger=DingTalkReadEventTrigger(poke_interval=1, **arguments))],
    )
    for name, arguments in SHAPES.items()
]


# Paused except in its test, because other tests count calls.
@dag(schedule=AssetAny(*ASSETS), is_paused_upon_creation=True)
def real_watched():
    @task
    def told(triggering_asset_events: Any = None) -> list[Any]:
        return [
            [asset.name, event.extra["payload"]]
            for asset, events in triggering_asset_events.items()
            for event in events
        ]

    told()


real_watched()
