"""Entry point ``python -m airflow_provider_dingtalk.sandbox``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from airflow_provider_dingtalk.client.hosts import is_loopback
from airflow_provider_dingtalk.probe.observed import read_observed
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour, parse_switch
from airflow_provider_dingtalk.sandbox.default import GROUPS, PEOPLE, PRIVATE_CHAT, default_state
from airflow_provider_dingtalk.sandbox.observed import switches_of
from airflow_provider_dingtalk.sandbox.server import listen, make_server
from airflow_provider_dingtalk.sandbox.testing import connection_to

PORT = 8848


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the server, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not options.expose and not is_loopback(options.host):
        parser.error(f"{options.host} is no loopback address and there is no login here: --expose if you mean it")
    try:
        behaviour = _behaviour(options)
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        parser.error(str(error))
    try:
        sock = listen(options.host, options.port)
    except OSError as error:
        parser.error(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    scheme = "https" if options.tls_cert else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"{scheme}://{host}:{sock.getsockname()[1]}"
    # Uvicorn raises the signal that ended it again, so without these handlers the exit status would be 143, not 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    tls = {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key} if options.tls_cert else {}
    state = default_state(seed=options.seed, behaviour=behaviour)
    hosts = [options.host, *options.allow_host]
    greet = partial(print, _greeting(url, behaviour), flush=True)
    make_server(state, ready=greet, allowed_hosts=hosts, **tls).run([sock])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_dingtalk.sandbox",
        description="A local DingTalk: it keeps state, refuses what DingTalk refuses, and fails on demand.",
        epilog=f"switches of --behaviour: {', '.join(Behaviour.__struct_fields__)}",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=PORT, help="port, 0 for a free one (default %(default)s)")
    add("--calls-per-second", type=int, help="per app and API; 0 for no limit (default 20)")
    add("--seed", type=int, help="make keys, tokens and chance faults repeat from run to run")
    add("--behaviour", action="append", default=[], metavar="NAME=VALUE", help="set a switch")
    add("--observed", type=Path, metavar="FILE", help="behave as a real tenant did, by the file of a probe")
    add("--tls-cert", help="certificate file (PEM): serve https")
    add("--tls-key", help="key file of the certificate (PEM)")
    add("--expose", action="store_true", help="allow an address that other machines can reach")
    add("--allow-host", action="append", default=[], metavar="NAME", help="serve /_sandbox/ under this host name too")
    return parser


def _behaviour(options: argparse.Namespace) -> Behaviour:
    switches = switches_of(read_observed(options.observed)) if options.observed else {}
    switches |= dict(parse_switch(text) for text in options.behaviour)
    if options.calls_per_second is not None:
        switches["calls_per_second"] = options.calls_per_second
    return Behaviour().changed(switches)


def _greeting(url: str, behaviour: Behaviour) -> str:
    return f"""\
listening on {url}

DingTalk's two hosts, api and oapi, are both here. In Airflow:
  export AIRFLOW_CONN_DINGTALK_DEFAULT='{msgspec.json.encode(connection_to(url)).decode()}'

groups      {", ".join(GROUPS)}
chat of two {PRIVATE_CHAT}
people      user001 … user{PEOPLE:03d}
limit       {behaviour.calls_per_second or "any number of"} calls a second per app and API
chats       {url}/_sandbox/
snapshot    curl '{url}/_sandbox/truth?brief=1'
faults      curl -X PUT {url}/_sandbox/faults -d '[{{"match": "recall", "nth": [1], "action": {{"type": "drop"}}}}]'
stop        Ctrl-C"""


if __name__ == "__main__":
    sys.exit(main())
