"""Airflow on several hosts, until Ctrl-C: ``python -m dev.cluster``.

CeleryExecutor, PostgreSQL and Redis; two workers and two triggerers with host names of their own, each behind a
forwarder of its own to the API server. All listen on loopback; nothing outlives the command.
"""

from __future__ import annotations

import itertools
import json
import secrets
import select
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from cryptography.fernet import Fernet

from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_stack import COMPONENTS, AirflowStack
from dev.forwarder import LOOPBACK, Forwarder, Mode
from dev.processes import Process
from dev.sandbox import ROOT, sandbox_process
from dev.services import Postgres, Redis
from dev.steps import print_step, run_until_interrupted
from dev.up import parse_ports

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: Tasks that one worker runs at the same time.
CONCURRENCY = 12
#: Timeout in seconds until a worker takes tasks.
WORKER_TIMEOUT = 120.0
#: Minimum seconds between two starts of a component that ends by itself.
RESTART_INTERVAL = 5.0
BANNER = """
  Airflow     {airflow}/dags
  login       admin, password {password}
  sandbox     {sandbox}/_sandbox/   shows the chats of this local DingTalk
  PostgreSQL  postgresql://{postgres}
  Redis       {redis}
  logs        {home}

  Cut a host off from the API server: type a mode and the host, such as "hold worker-1".
  Modes: {modes}. Hosts: {hosts}.
  Ctrl-C ends all of it.
"""


class Cluster(AirflowStack):
    """Airflow with CeleryExecutor, PostgreSQL and Redis; arguments are those of :class:`AirflowStack`.

    What ends by itself is started again, as systemd or Kubernetes would: an immediate restart of PostgreSQL ends
    scheduler, dag-processor and triggerers.
    """

    components: ClassVar[Mapping[str, Sequence[str]]] = {
        **{name: COMPONENTS[name] for name in ("api-server", "scheduler", "dag-processor")},
        **{name: ["triggerer", "--skip-serve-logs"] for name in TRIGGERERS},
        **{name: ["celery", "worker", "--skip-serve-logs", "--concurrency", str(CONCURRENCY)] for name in WORKERS},
    }

    def __init__(self, dags: Path, env: Mapping[str, str] | None = None, *arguments: Any, **named: Any) -> None:
        super().__init__(dags, None, *arguments, **named)
        self.postgres, self.redis = Postgres(self.home), Redis(self.home)
        self.forwarders: dict[str, Forwarder] = {}
        #: More environment variables of one component, by its name.
        self.more_env: dict[str, dict[str, str]] = {}
        self.env |= {**self._cluster_environment(), **(env or {})}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._is_over = threading.Event()

    def _cluster_environment(self) -> dict[str, str]:
        options = {
            "CELERY__BROKER_URL": f"{self.redis.url}/0",
            # By default the scheduler gives up a message to Redis after one second.
            "CELERY__OPERATION_TIMEOUT": 10,
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{self.postgres.address}",
            # With more, the scheduler starts as many processes each time that it has several tasks to send.
            "CELERY__SYNC_PARALLELISM": 1,
            "CORE__EXECUTOR": "CeleryExecutor",
            # Each component would write its own key otherwise.
            "CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "CORE__HOSTNAME_CALLABLE": "dev.cluster_host.name",
            "CORE__MAX_ACTIVE_RUNS_PER_DAG": 64,
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": 64,
            "CORE__PARALLELISM": 64,
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.postgres.address}",
            # Airflow's default; stacks on SQLite need more.
            "WORKERS__EXECUTION_API_TIMEOUT": 5,
        }
        ours = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
        return {**ours, "PYTHONPATH": str(ROOT), "CLUSTER_HOST": "cluster"}

    def __enter__(self) -> Self:
        try:
            self._print_step("starting PostgreSQL and Redis")
            self.postgres.create()
            self.postgres.start()
            self.redis.start()
            self.forwarders = {name: Forwarder(self.port) for name in (*WORKERS, *TRIGGERERS)}
        except BaseException:
            self.stop()
            raise
        super().__enter__()
        threading.Thread(target=self._keep_alive, name="keep-alive", daemon=True).start()
        return self

    def start(self, name: str) -> Process:
        """Start a component, or start it again after it has ended.

        :raises RuntimeError: If the cluster was stopped, since nothing would end the component.
        """
        with self._lock:
            if self._is_over.is_set():
                raise RuntimeError(f"{name} is not started: the cluster was stopped")
            log = self.home / f"{name}.log"
            if name in WORKERS and log.exists():
                # What the worker wrote before must not be taken for what it writes now.
                log.rename(self.home / f"{name}-{next(self._numbers)}.log")
            return super().start(name)

    def kill(self, name: str) -> None:
        """Kill a component with all processes that it started; it stays down until it is started."""
        with self._lock:
            process = self.processes.pop(name)
        process.kill()

    def restart(self, *names: str) -> None:
        """Kill components and start them again, e.g. with another environment."""
        for name in names:
            self.kill(name)
        for name in names:
            self.start(name)
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Wait until all components are healthy and the workers take tasks."""
        super().wait_until_healthy()
        for name in set(WORKERS) & set(self.processes):
            self.processes[name].wait_for_output(rf"({name}@{name} ready)", WORKER_TIMEOUT)

    def raise_if_dead(self) -> None:
        """Start components again that have ended by themselves."""
        with self._lock:
            living = {} if self._is_over.is_set() else self.processes
            ended = {name: process for name, process in living.items() if process.has_ended}
            for name, process in ended.items():
                self._print_step(f"{name} has ended and is started again")
                process.kill()
                self.start(name)

    def _keep_alive(self) -> None:
        while not self._is_over.wait(RESTART_INTERVAL):
            self.raise_if_dead()

    def stop(self) -> None:
        """Stop all processes and remove their folders."""
        self._is_over.set()
        with self._lock:
            super().stop()
        for forwarder in self.forwarders.values():
            forwarder.close()
        self.redis.remove()
        self.postgres.remove()

    def _command(self, name: str) -> list[str]:
        command = super()._command(name)
        if name in WORKERS:
            # The file of a killed worker would keep the next one from starting.
            pid_file = self.home / f"{name}-{next(self._numbers)}.pid"
            command += ["--celery-hostname", f"{name}@{name}", "--queues", f"default,{name}", "--pid", str(pid_file)]
        return command

    def _env_of(self, name: str) -> Mapping[str, str]:
        env = {**self.env, "CLUSTER_HOST": name}
        if name in WORKERS:
            # Two hosts share no file.
            env["AIRFLOW__DINGTALK__PACE_DIR"] = str(self.home / f"pace-{name}")
        if name in self.forwarders:
            port = self.forwarders[name].port
            env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://{LOOPBACK}:{port}/execution/"
        return env | self.more_env.get(name, {})


def main(argv: Sequence[str] | None = None) -> int:
    """Start the cluster and the sandbox, and wait until the user interrupts the command."""
    airflow_port, sandbox_port = parse_ports("python -m dev.cluster", __doc__, argv)
    password = secrets.token_urlsafe(9)
    with sandbox_process(port=sandbox_port) as sandbox:
        print_step(f"the sandbox listens on {sandbox}")
        env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection_to(sandbox))}
        with Cluster(ROOT / "example_dags", env, print_step, port=airflow_port, password=password) as cluster:
            print_step("the cluster is healthy; it reads the example DAGs within seconds")
            _print_addresses(cluster, sandbox, password)
            while True:
                _obey(cluster)


def _print_addresses(cluster: Cluster, sandbox: str, password: str) -> None:
    addresses = {"airflow": cluster.url, "sandbox": sandbox, "postgres": cluster.postgres.address}
    hosts, modes = ", ".join(cluster.forwarders), ", ".join(Mode)
    more = {"redis": cluster.redis.url, "home": cluster.home, "password": password, "hosts": hosts, "modes": modes}
    print(BANNER.format(**addresses, **more), flush=True)


def _obey(cluster: Cluster) -> None:
    """Wait a second for a line such as ``refuse worker-1`` from a terminal, and do it."""
    is_typed = sys.stdin.isatty() and select.select([sys.stdin], [], [], 1.0)[0]
    line = sys.stdin.readline() if is_typed else ""
    if not line:
        time.sleep(1.0)
    with suppress(ValueError, KeyError):
        mode, host = line.split()
        cluster.forwarders[host].set_mode(Mode(mode))
        print_step(f"{host}: {mode}")


if __name__ == "__main__":
    run_until_interrupted(main)
