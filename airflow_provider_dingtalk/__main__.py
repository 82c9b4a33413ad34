"""Entry point ``python -m airflow_provider_dingtalk``, for use without ``airflow dingtalk``."""

from __future__ import annotations

import sys

from airflow_provider_dingtalk.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
