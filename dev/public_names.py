"""List the names that DAGs, databases and scripts rely on, in docs/stability.md.

Run from the project's root: ``python -m dev.public_names``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from airflow.sdk import BaseOperator, BaseSensorOperator

import airflow_provider_dingtalk
from airflow_provider_dingtalk.cli.airflow_api import PASSWORD_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE, USER_VARIABLE
from airflow_provider_dingtalk.cli.arguments import COMMANDS, Option
from airflow_provider_dingtalk.cli.exit_codes import ExitCode
from airflow_provider_dingtalk.get_provider_info import get_provider_info
from airflow_provider_dingtalk.jobs.report import Report
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.operators import rollback_on_failure
from airflow_provider_dingtalk.operators.arguments import RollbackOptions, TaskArguments
from airflow_provider_dingtalk.operators.links import DingTalkReportLink
from airflow_provider_dingtalk.task import xcoms
from airflow_provider_dingtalk.task.asset_events import ALIAS, rollback_log

PAGE = Path(__file__).parents[1] / "docs" / "stability.md"
BEGIN, END = "<!-- names: written by python -m dev.public_names -->", "<!-- end of names -->"
PACKAGE = Path(airflow_provider_dingtalk.__file__).parent
EXAMPLES = PAGE.parents[1] / "example_dags"
#: Modules whose classes and functions users import.
MODULES = ("operators", "sensors", "hooks", "triggers", "notifications", "exceptions")
FUNCTIONS = ("rollback_on_failure", "send_dingtalk_notification")
#: Names of rows of Airflow's task state store and asset store.
_ROW = re.compile(r"dingtalk-[a-z]+-[a-z0-9-]*")


def names() -> str:
    """Return all names as Markdown, one in each line."""
    sections = {
        "Python: classes, their methods and arguments": _python(),
        "Python: functions that example DAGs use besides": _of_examples(),
        "Receipts: fields": [*Receipt.__struct_fields__],
        "Reports: fields": [*Report().to_json(), "omitted", *_more_of_reports()],
        "Plans: fields": _plan(),
        "XCom keys": sorted(
            value
            for name, value in vars(xcoms).items()
            if name.isupper() and not name.startswith("_") and isinstance(value, str)
        ),
        "Rows of the task state store and the asset store: beginnings of names": sorted(_rows()),
        "Assets": [rollback_log("DAG_ID").name, rollback_log("DAG_ID").uri, ALIAS],
        "Link in Airflow's UI": [DingTalkReportLink.name],
        "Connection and its extras": _connection(),
        "Options in airflow.cfg": _options(),
        "Environment variables": [URL_VARIABLE, TOKEN_VARIABLE, USER_VARIABLE, PASSWORD_VARIABLE],
        "Commands": [" ".join([command.name, *_flags(command.options)]) for command in COMMANDS],
        "Exit codes": [f"{code.value} {code.name}" for code in ExitCode],
    }
    return "\n\n".join(f"### {title}\n\n" + "\n".join(f"- `{name}`" for name in sections[title]) for title in sections)


def page_with(listed: str) -> str:
    """Return the page with these names in place of its own."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{listed}\n\n{END}{rest.split(END)[1]}"


def _python() -> list[str]:
    return [line for module in MODULES for line in _of_module(f"{airflow_provider_dingtalk.__name__}.{module}")]


def _of_examples() -> list[str]:
    """List the other names that the example DAGs import, because people copy these files."""
    trees = (ast.parse(source.read_text(encoding="utf-8")) for source in sorted(EXAMPLES.glob("*.py")))
    imports = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    ours = {f"{node.module}.{name.name}" for node in imports for name in node.names if PACKAGE.name in str(node.module)}
    return sorted(name for name in ours if name.split(".")[1] not in MODULES)


def _of_module(path: str) -> Iterator[str]:
    module = importlib.import_module(path)
    for name in sorted({*vars(module), *getattr(module, "__all__", ())}):
        value = getattr(module, name)
        is_ours = path.endswith("operators") or getattr(value, "__module__", None) == path
        if is_ours and (name in FUNCTIONS or (inspect.isclass(value) and _is_public(name, path))):
            yield f"{path}.{name}" + ("" if path.endswith("exceptions") else f"({', '.join(_parameters(value))})")
            if name.endswith("Hook"):
                yield from (f"{name}.{method}({', '.join(_parameters(call))})" for method, call in _methods(value))


def _is_public(name: str, path: str) -> bool:
    return name.startswith("DingTalk") or (path.endswith("exceptions") and name.endswith("Error"))


def _parameters(call: object) -> list[str]:
    """List the parameters of a function or class; those of an operator or a block without Airflow's own."""
    parameters = [name for name in inspect.signature(call).parameters if name not in {"self", "cls"}]  # type: ignore[arg-type]
    if call is rollback_on_failure:
        parameters = [*parameters[:-1], *RollbackOptions.__annotations__]
    elif not (inspect.isclass(call) and issubclass(call, BaseOperator)):
        return parameters
    airflows = {name for base in (BaseOperator, BaseSensorOperator) for name in inspect.signature(base).parameters}
    # Airflow 3.1 lacks some of them.
    airflows |= TaskArguments.__annotations__.keys() - {"dingtalk_conn_id"}
    return [name for name in parameters if name == "task_id" or name not in airflows]


def _methods(hook: type) -> list[tuple[str, object]]:
    return [(name, getattr(hook, name)) for name, value in vars(hook).items() if _is_method(name, value)]


def _is_method(name: str, value: object) -> bool:
    return not name.startswith("_") and (callable(value) or isinstance(value, classmethod | staticmethod))


def _rows() -> set[str]:
    sources = chain(PACKAGE.glob("task/**/*.py"), [PACKAGE / "triggers.py"])
    trees = (ast.parse(source.read_text(encoding="utf-8")) for source in sources)
    constants = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str) and _ROW.fullmatch(node.value)}


def _nodes_of_rollbacks() -> Iterator[ast.AST]:
    return ast.walk(ast.parse((PACKAGE / "task" / "rollback.py").read_text(encoding="utf-8")))


def _more_of_reports() -> list[str]:
    """List the fields that a rollback adds to its report."""
    subscripts = (node for node in _nodes_of_rollbacks() if isinstance(node, ast.Subscript))
    return sorted({ast.literal_eval(node.slice) for node in subscripts if ast.unparse(node.value) == "self._more"})


def _plan() -> list[str]:
    """List the fields of a plan, at any depth."""
    assigned = (node for node in _nodes_of_rollbacks() if isinstance(node, ast.Assign))
    (plan,) = (node.value for node in assigned if ast.unparse(node.targets[0]) == "plan")
    keys = (key for node in ast.walk(plan) if isinstance(node, ast.Dict) for key in node.keys)
    return list(
        dict.fromkeys(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    )


def _connection() -> list[str]:
    (connection,) = get_provider_info()["connection-types"]
    return [connection["connection-type"], *connection["conn-fields"]]


def _options() -> list[str]:
    return [
        f"[{section}] {option}"
        for section, about in get_provider_info()["config"].items()
        for option in about["options"]
    ]


def _flags(options: Iterable[Option]) -> list[str]:
    return ["/".join(option.flags) for option in options]


if __name__ == "__main__":
    PAGE.write_text(page_with(names()), encoding="utf-8")
