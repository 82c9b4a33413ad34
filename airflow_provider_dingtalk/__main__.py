"""``python -m airflow_provider_dingtalk``: the commands, where ``airflow dingtalk`` is not at hand."""

from __future__ import annotations

import sys

from airflow_provider_dingtalk.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
