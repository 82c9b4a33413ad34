"""Real Airflow as child processes: API server, scheduler with LocalExecutor, dag-processor and triggerer.

It listens on free loopback ports and keeps all files in a temporary folder, which it removes when it stops.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cryptography.fernet import Fernet

from airflow_provider_dingtalk.cli.airflow_api import PASSWORD_VARIABLE, USER_VARIABLE
from dev.airflow_api import AirflowApi
from dev.processes import Process, free_port, stop_all, tail

#: Timeout in seconds until all components are healthy. It takes about 12 s on two cores, twice that without
#: byte code.
START_TIMEOUT = 180.0
COMPONENTS = {
    "api-server": ["api-server", "--workers", "1"],
    "scheduler": ["scheduler"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer"],
}
DATABASE_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
#: Timeouts, in seconds, of a writer that waits for SQLite's lock. After 5 s, Python's default, the scheduler would end
#: with "database is locked" when many runs begin at once. Sync and async sessions of the API server may wait for each
#: other, and nothing is answered until one of them gives up, so there it must be short.
LOCK_TIMEOUT, API_SERVER_LOCK_TIMEOUT = "timeout=60", "timeout=5"
#: Seconds after which DAG files are parsed again. Airflow loses a DAG whose parse took too long or met a locked SQLite,
#: and may look at its file again in an hour only.
PARSE_AGAIN = 60.0


class AirflowStack:
    """Context manager that runs one Airflow.

    A subclass may have other components, with commands and environments of their own.

    :param dags: Folder of DAG files.
    :param env: Additional environment variables, e.g. ``AIRFLOW_CONN_…``.
    :param print_step: Called with a line about each step; default prints nothing.
    :param port: Loopback port of the API server; default a free one.
    :param password: Password of the user ``admin``; default None, which makes every user an admin without a login.
    """

    components: ClassVar[Mapping[str, Sequence[str]]] = COMPONENTS

    def __init__(
        self,
        dags: Path,
        env: Mapping[str, str] | None = None,
        print_step: Callable[[str], None] = lambda _: None,
        *,
        port: int = 0,
        password: str | None = None,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="airflow-"))
        self._dags = dags
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = AirflowApi(self.url)
        self.env = {**_environment(self.home, dags, self.port), **(env or {})}
        self.processes: dict[str, Process] = {}
        self._print_step = print_step
        self._login: dict[str, str] = {}
        if password:
            self._require_login(password)

    def _require_login(self, password: str) -> None:
        file = self.home / "passwords.json"
        _write_private(file, json.dumps({"admin": password}))
        self.env |= {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
        }
        self._login = {USER_VARIABLE: "admin", PASSWORD_VARIABLE: password}

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self._print_step(f"starting {', '.join(self.components)}")
            for name in self.components:
                self.start(name)
            self.wait_until_healthy()
            self.api.log_in(self._login)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            self._print_step(f"last lines of Airflow's logs:\n{self.logs()}")
        self.stop()

    def start(self, name: str) -> Process:
        """Start a component, or start it again after it was killed."""
        command = [_airflow(), *self._command(name)]
        self.processes[name] = Process(name, command, self._env_of(name), self.home / f"{name}.log")
        return self.processes[name]

    def _command(self, name: str) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(self.port)] if name == "api-server" else []
        return [*self.components[name], *address]

    def _env_of(self, name: str) -> Mapping[str, str]:
        if name != "api-server":
            return self.env
        database = self.env[DATABASE_VARIABLE].replace(LOCK_TIMEOUT, API_SERVER_LOCK_TIMEOUT)
        return {**self.env, DATABASE_VARIABLE: database}

    def stop(self) -> None:
        """Stop all processes and remove the folder."""
        self.api.close()
        # The other components end within 3 s while the API server answers, and within 10 s if it does not, so it
        # is stopped last. Airflow 3.3.2: it does not end within 4 s, and nothing of it is needed, so it is killed.
        server = [self.processes[name] for name in self.processes if name == "api-server"]
        stop_all([process for process in self.processes.values() if process not in server])
        stop_all(server, grace=0)
        shutil.rmtree(self.home, ignore_errors=True)

    def logs(self, lines: int = 8) -> str:
        """Return the last lines of each component's log."""
        return "\n".join(f"{name}:\n{tail(process.log, lines)}" for name, process in self.processes.items())

    def wait_for_dag(self, dag_id: str, timeout: float = 180.0, parse_again: float = PARSE_AGAIN) -> None:
        """Wait until the dag-processor has parsed a DAG.

        :param timeout: Timeout in seconds; default 180, because a busy machine parses slowly.
        :param parse_again: Seconds after which all files are parsed again; default 60.
        :raises RuntimeError: If a DAG file cannot be imported, or the DAG does not appear.
        """
        began = time.monotonic()
        parse_at = began + parse_again
        while (now := time.monotonic()) < began + timeout:
            if now >= parse_at:
                parse_at = now + parse_again
                self._parse_again()
            if self.api.knows_dag(dag_id):
                return
            if errors := self.api.import_errors():
                raise RuntimeError("\n".join(errors))
            self.raise_if_dead()
            time.sleep(0.5)
        raise RuntimeError(f"{dag_id} did not appear:\n{tail(self.home / 'dag-processor.log')}")

    def _parse_again(self) -> None:
        """Let the dag-processor parse all files: it does if they are newer than their last parse."""
        self._print_step("parsing the DAG files again")
        for file in self._dags.rglob("*.py"):
            with suppress(PermissionError):
                file.touch()

    def _prepare(self) -> None:
        """Write the configuration and make the database; from the second start on it is a copy of the first."""
        self._print_step("preparing Airflow's database")
        _write_private(self.home / "airflow.cfg", _configuration())
        database, first = self.home / "airflow.db", _first_database()
        is_sqlite = database.as_posix() in self.env[DATABASE_VARIABLE]
        if is_sqlite and first.exists():
            shutil.copy(first, database)
            return
        self._migrate()
        if is_sqlite:
            _keep(database, first)

    def _migrate(self) -> None:
        log = self.home / "migrate.log"
        with log.open("wb") as output:
            command = [_airflow(), "db", "migrate"]
            done = subprocess.run(command, env=self.env, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{tail(log)}")

    def wait_until_healthy(self) -> None:
        """Wait until the API server answers that all components are healthy.

        :raises RuntimeError: If a component has ended, or they are not healthy after 180 s.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while not self.api.is_healthy():
            self.raise_if_dead()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Airflow is not healthy after {START_TIMEOUT:.0f} s\n{self.logs()}")
            time.sleep(0.25)

    def raise_if_dead(self) -> None:
        """Raise an error if a component has ended.

        :raises RuntimeError: If one has ended; the message holds the end of its log.
        """
        for process in self.processes.values():
            process.raise_if_dead()


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _configuration() -> str:
    """Return an airflow.cfg: without one, each component would write its own, with other keys."""
    return f"[core]\nfernet_key = {Fernet.generate_key().decode()}\n[api]\nsecret_key = {secrets.token_urlsafe(32)}\n"


def _first_database() -> Path:
    """Return the path of the database that the first start in this environment made; Airflow takes 6 s to make one."""
    return Path(sys.prefix) / f".airflow-{version('apache-airflow')}.db"


def _keep(database: Path, path: Path) -> None:
    """Copy a database. Several stacks may do so at the same time, so it is moved there as a whole."""
    with suppress(OSError), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        Path(shutil.copy(database, folder)).replace(path)


def _airflow() -> str:
    return str(Path(sys.executable).with_name("airflow"))


def _environment(home: Path, dags: Path, port: int) -> dict[str, str]:
    """Return the environment of all components.

    It has none of the caller's ``AIRFLOW…`` variables, short intervals, and few processes.
    """
    # PYTHONDONTWRITEBYTECODE would make every process compile Airflow again, so it is left out.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW") and name != "PYTHONDONTWRITEBYTECODE"
    }
    # Components call each other on loopback, so the caller's proxy must not apply.
    inherited["NO_PROXY"] = inherited["no_proxy"] = "127.0.0.1,localhost"
    # Airflow starts its command ``airflow`` by name.
    inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited.get('PATH', '')}"
    options = {
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__PORT": port,
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__DAGS_FOLDER": dags,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__PARALLELISM": 4,
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 10,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?{LOCK_TIMEOUT}",
        "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
        "USAGE_DATA_COLLECTION__ENABLED": False,
        # Longer than the API server waits for a lock, so that a task hears of it and tries again.
        "WORKERS__EXECUTION_API_TIMEOUT": 15,
    }
    ours = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    return {**inherited, "AIRFLOW_HOME": str(home), **ours}
