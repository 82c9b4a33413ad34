"""On-call engineer in Airflow's pages: waits until something is visible, then clicks."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

#: How often a button is clicked at most.
ATTEMPTS = 3
RUN = re.compile(r"/dags/[^/]+/runs/([^/?]+)")


class OnCall:
    """A person at a browser.

    :param airflow: URL of Airflow. Each user is admin there, so that opening a page logs in.
    """

    def __init__(self, page: Page, airflow: str) -> None:
        self.page = page
        self._airflow = airflow

    def open_form(self, dag_id: str) -> Locator:
        """Open a DAG and its trigger form."""
        self.page.goto(f"{self._airflow}/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger").click()
        form = self.page.locator("[role=dialog][data-state=open]")
        form.get_by_text(f"Trigger Dag - {dag_id}").wait_for()
        return form

    def unfold(self, form: Locator, section: str) -> None:
        """Open a section of the form."""
        form.get_by_role("button", name=section).click()

    def fill(self, form: Locator, name: str, value: str) -> None:
        """Fill in a field by the name of its Param."""
        form.locator(f"#element_{name}").fill(value)

    def pick_moment(self, form: Locator, label: str, moment: datetime) -> None:
        """Fill in a date and a time, in UTC, by the label that stands before the field."""
        field = "xpath=ancestor::*[.//*[@data-testid='datetime-input']][1]//*[@data-testid='datetime-input']"
        form.get_by_text(label, exact=True).locator(field).click()
        self.page.get_by_placeholder("YYYY/MM/DD").fill(moment.strftime("%Y/%m/%d"))
        self.page.get_by_placeholder("HH:mm").fill(moment.strftime("%H:%M"))
        # The calendar closes when the focus goes elsewhere.
        form.get_by_role("heading").first.click()

    def choose(self, form: Locator, name: str, option: str) -> None:
        """Choose from a drop-down list."""
        form.locator(f"#element_{name}").get_by_role("combobox").click()
        form.get_by_role("option", name=option, exact=True).click()

    def send_off(self, form: Locator) -> str:
        """Press the button of the form; the id of the run that begins."""
        self._click(form.get_by_role("button", name="Trigger", exact=True), "POST", "/dagRuns")
        self.page.wait_for_url(RUN)
        found = RUN.search(self.page.url)
        assert found
        return unquote(found.group(1))

    def open_required_action(self, subject: str, button: str = "Approve") -> None:
        """Find a question among all that Airflow asks people, and open it."""
        link = self.page.get_by_role("link", name=subject)
        self.page.goto(f"{self._airflow}/required_actions?response_received=false")
        link.click()
        self.page.get_by_role("button", name=button).wait_for()

    def press(self, button: str) -> None:
        """Press a button by its name or a part of it, and wait until Airflow has heard it."""
        self._click(self.page.get_by_role("button", name=button), "PATCH", "/hitlDetails")
        self.page.get_by_text("Response received at").wait_for()

    def look_at_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Open a run's page, and wait until the run is in a state."""
        self.page.goto(f"{self._airflow}/dags/{dag_id}/runs/{quote(run_id)}")
        heading = self.page.get_by_role("heading", name=run_id).locator("xpath=..")
        heading.get_by_text(state, exact=True).wait_for()

    def task_row(self, task_id: str) -> Locator:
        """A task's row in the table on a run's page."""
        link = self.page.get_by_role("link", name=task_id, exact=True)
        return self.page.get_by_role("row").filter(has=link)

    def _click(self, button: Locator, method: str, path: str) -> None:
        """Click, and click again if Airflow answers with a 500: on SQLite it now and then does."""
        for _ in range(ATTEMPTS):
            with self.page.expect_response(
                lambda answer: answer.request.method == method and answer.url.endswith(path)
            ) as answer:
                button.click()
            if answer.value.status < 500:
                return
        raise AssertionError(f"{method} {path}: {answer.value.status} {answer.value.text()}")
