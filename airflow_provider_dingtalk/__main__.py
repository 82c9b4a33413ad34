"""Entry point ``python -m airflow_provider_dingtalk``, for use without ``airflow dingtalk``."""

from __future__ import annotations

import sys


def _main() -> int:
    try:
        from airflow_provider_dingtalk.cli.main import main

        return main()
    except KeyboardInterrupt:  # while modules are imported
        return 130


if __name__ == "__main__":
    sys.exit(_main())
