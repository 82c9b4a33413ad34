"""Release check: the contents of a wheel and an sdist."""

from __future__ import annotations

import pytest

from dev.release_check import ReleaseError, check_contents

PACKAGE = "airflow_provider_dingtalk"
TRACKED = (f"{PACKAGE}/hooks.py", "README.md", "docs/design.md", ".gitignore")
WHEEL = {f"{PACKAGE}/hooks.py", f"{PACKAGE}-0.1.0.dist-info/METADATA"}
SDIST = {f"{PACKAGE}/hooks.py", "README.md", "docs/design.md", "PKG-INFO"}


def test_complete_archives_pass():
    check_contents(TRACKED, WHEEL, SDIST)


@pytest.mark.parametrize(
    ("wheel", "sdist", "problem"),
    [
        (WHEEL - {f"{PACKAGE}/hooks.py"}, SDIST, "missing in the wheel"),
        (WHEEL, SDIST - {"docs/design.md"}, "missing in the sdist"),
        (WHEEL | {f"{PACKAGE}/__pycache__/hooks.pyc"}, SDIST, "unwanted"),
        (WHEEL, SDIST | {"demo/airflow.db"}, "unwanted"),
        (WHEEL | {"tests/conftest.py"}, SDIST, "not of the package"),
    ],
)
def test_incomplete_and_unclean_archives_are_refused(wheel, sdist, problem):
    with pytest.raises(ReleaseError, match=problem):
        check_contents(TRACKED, wheel, sdist)
