"""Parts of the benchmark: figures, tables, and rows that take no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import poll_schedule
from benchmarks.__main__ import ROWS, main
from benchmarks.meters import LoopLag
from benchmarks.results import Figure, Result, Row, at_least, at_most, beside, exactly
from benchmarks.table import BEGIN, END, Figures, printed

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROW = Row("some", "Something", lambda quick: Result([]))


@pytest.mark.parametrize(
    ("figure", "goal", "holds"),
    [
        (at_most("a", 1.04, 1.04, "×"), "≤ 1.04×", True),
        (at_most("a", 1.05, 1.04, "×"), "≤ 1.04×", False),
        (at_least("a", 98, 98, "%"), "≥ 98 %", True),
        (at_least("a", 97.9, 98, "%"), "≥ 98 %", False),
        (exactly("a", 500, 500), "500", True),
        (exactly("a", 501, 500), "500", False),
        (beside("a", 1, "s"), "", None),
    ],
)
def test_whether_a_goal_holds_is_computed(figure: Figure, goal: str, holds: bool | None) -> None:
    assert (figure.goal, figure.holds) == (goal, holds)


def test_a_table_shows_what_falls_short_and_keeps_what_stands_around_it(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    table = Figures.load(figures, ["some", "not measured"])
    result = Result([at_most("wall", 1234.5, 1, "s"), beside("other", 0.0123, "ms")], [{"wall": 1234.5}], ["A note."])
    table.note(ROW, result, seconds=7.2, quick=False)
    table.save(figures)
    Figures.load(figures, ["some", "not measured"]).write_table(page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale" not in text
    assert "| wall | ≤ 1 s | 1,234 s | **no** |" in text
    assert "| other |  | 0.0123 ms |  |" in text and "- A note." in text
    assert "**no**" in printed(result)
    assert json.loads(figures.read_text())["rows"]["some"]["runs"] == [{"wall": 1234.5}]


def test_a_row_measured_anew_takes_the_place_of_the_older_one_only() -> None:
    table = Figures({"other": {"title": "as it was"}, "gone": {}}, ["some", "other"])
    for value in (1.0, 2.0):
        table.note(ROW, Result([beside("a", value)]), seconds=1, quick=True)
    assert table._rows["other"] == {"title": "as it was"} and "gone" not in table._rows
    assert [figure["value"] for figure in table._rows["some"]["figures"]] == [2.0]


def test_a_row_that_fails_is_told_and_does_not_end_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(quick: bool) -> Result:
        raise TimeoutError("not ready")

    figures = tmp_path / "figures.json"
    rows = {"failing": Row("failing", "Something", fail), "some": ROW}
    assert main(["--json", str(figures)], rows) == 1
    assert "TimeoutError: not ready" in capsys.readouterr().err
    assert {*json.loads(figures.read_text())["rows"]} == {"some"}


def test_the_page_names_every_row() -> None:
    text = (DOCS / "benchmarks.md").read_text()
    assert all(f"`{name}`" in text for name in ROWS)
    assert text.count(BEGIN) == text.count(END) == 1


def test_the_calls_of_a_days_wait_hold() -> None:
    result = poll_schedule.measure(quick=True)
    assert {figure.holds for figure in result.figures} == {True, None}


def test_a_loop_that_never_comes_to_look_is_late_and_not_on_time() -> None:
    lag = LoopLag()
    lag._due -= 5
    assert lag.milliseconds(99) >= 5000


def test_the_lateness_that_so_many_of_a_hundred_looks_did_not_exceed() -> None:
    lag = LoopLag()
    lag._due += 1000
    assert lag.milliseconds(99) == 0
    lag._late = [0.001 * number for number in range(100, 0, -1)]
    assert [round(lag.milliseconds(share)) for share in (0, 50, 99, 100)] == [1, 51, 100, 100]
