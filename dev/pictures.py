"""Take the pictures of the README from real pages: ``python -m dev.pictures``.

It needs the environment of ``make test-browser``, with Chromium.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_stack import AirflowStack
from dev.sandbox import ROOT, sandbox_process
from dev.steps import print_step, run_until_interrupted

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
DAG_ID, TITLE = "dingtalk_rollback_on_failure", "DingTalk messages"


@contextmanager
def new_page() -> Iterator[Page]:
    """Open a page in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    # Chromium refuses to run its own sandbox as root.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield chromium.new_page(locale="en-GB", timezone_id="UTC", viewport={"width": 1280, "height": 720})
        chromium.close()


def run_dag(airflow: AirflowStack, revenue: int) -> str:
    """Run the DAG to its end and return the run's URL; a negative revenue makes it take its messages back."""
    run_id = airflow.api.trigger(DAG_ID, {"revenue": revenue})
    airflow.api.wait_run(DAG_ID, run_id)
    return f"{airflow.url}/dags/{DAG_ID}/runs/{run_id}"


def main() -> int:
    """Take a picture of the sandbox's page after a good run, and of the Messages page after a failed run."""
    IMAGES.mkdir(exist_ok=True)
    with sandbox_process() as sandbox:
        env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection_to(sandbox))}
        with AirflowStack(ROOT / "example_dags", env, print_step) as airflow, new_page() as page:
            airflow.wait_for_dag(DAG_ID)
            run_dag(airflow, revenue=42)
            page.goto(f"{sandbox}/_sandbox/")
            page.locator("article").first.wait_for()
            page.screenshot(path=IMAGES / "chats.png")
            page.goto(run_dag(airflow, revenue=-42))
            page.get_by_role("link", name=TITLE).click()
            page.frame_locator(f"iframe[title='{TITLE}']").locator("tbody tr").first.wait_for()
            page.screenshot(path=IMAGES / "messages.png")
    print_step(f"pictures are in {IMAGES}")
    return 0


if __name__ == "__main__":
    run_until_interrupted(main)
