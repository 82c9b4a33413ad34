"""Check docstrings, comments, messages and docs against the language rules of CONTRIBUTING.md.

Run from the project's root: ``python -m dev.check_language``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

#: First words that make a question of a docstring.
QUESTION_WORDS = ("What", "Whether", "How", "Who", "Whom", "Whose", "Which", "Where", "When", "Why")
#: Words and phrases to replace, and what to use.
BANNED = {
    r"whoever|whomever": "name the actor",
    r"somebody|someone|nobody|everybody": "name the actor",
    r"whom": "name the actor",
    r"is none\b(?! of)": "Invalid X: <value>; expected ...",
    r"is no (?:text|number|list|moment|id|key|json|task|run|argument)": "Invalid X: <value>; expected ...",
    r"counts for nothing": "is ignored",
    r"cannot be had": "name what failed",
    r"so many\b": "a number",
}
_BANNED = [(re.compile(rf"\b(?:{words})\b", re.IGNORECASE), hint) for words, hint in BANNED.items()]
#: Pages whose words are not ours, or that quote the rules.
LEFT_OUT = ("LICENSE", "tests/samples/", "dev/check_language.py", "docs/benchmarks.json", "CONTRIBUTING.md")


def problems_of_code(path: Path) -> Iterator[tuple[int, str]]:
    """List the problems of a Python file, by line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = dict(_docstrings(tree))
    for start, docstring in docstrings.items():
        if (first := docstring.split(maxsplit=1)[0].strip(",.:")) in QUESTION_WORDS:
            yield start, f"docstring begins with {first!r}"
    for node in ast.walk(tree):
        # Other texts in tests are data: ids of people, what a server may answer.
        is_ours = getattr(node, "lineno", 0) in docstrings or not path.is_relative_to("tests")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_ours:
            for offset, line in enumerate(node.value.splitlines()):
                yield from ((node.lineno + offset, problem) for problem in _banned(line))
    yield from _problems_of_comments(path)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
            yield node.body[0].lineno, docstring


def _problems_of_comments(path: Path) -> Iterator[tuple[int, str]]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield from ((token.start[0], problem) for problem in _banned(token.string))


def problems_of_text(path: Path) -> Iterator[tuple[int, str]]:
    """List the problems of a page of documentation, by line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        yield from ((number, problem) for problem in _banned(line))


def _banned(text: str) -> Iterator[str]:
    for pattern, hint in _BANNED:
        if found := pattern.search(text):
            yield f"{found[0]!r}: {hint}"


def files() -> Iterator[Path]:
    """List the files that are checked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if not name.startswith(LEFT_OUT) and Path(name).exists():
            yield Path(name)


def main() -> int:
    """Print all problems."""
    found = [
        f"{path}:{line}: {problem}"
        for path in files()
        for line, problem in (problems_of_code(path) if path.suffix == ".py" else problems_of_text(path))
    ]
    print("\n".join(found) or "The language rules hold.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
