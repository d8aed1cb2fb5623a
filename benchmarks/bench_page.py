"""The page measured: its bytes, what opening and sorting it costs the browser, and what building it costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Figure
from harness.report import tables
from harness.report.columns import Column
from harness.report.page import build_page, write_page
from harness.run.series_file import compact
from harness.run.store import RUN_FILE, STEPS_FILE, TRIALS_FILE
from harness.run.stored import StoredRun
from tests import synthetic_run as made
from tests.browser import chromium_for_tests
from tests.suite_kinds import thirty_charts
from tests.test_page_size import points_drawn

OPENINGS = 7
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
LARGE = made.Shape(truth=made.STRATEGIES | {f"ddp(bucket_cap_mb={at})": 1.5 + at / 100 for at in range(1, 46)},
                   rounds=51, warmup=5, steps=195)  # fmt: skip
"""Of it the first 10,000 trials."""


def bench_size_and_building(benchmark: Any, figure: Figure) -> None:
    """Bytes of a page with more than 30 charts, and seconds of CPU to build it."""
    run, pages, cpu = thirty_charts(), [""], []

    def one() -> None:
        began = time.process_time()
        pages[0] = build_page(run)
        cpu.append(time.process_time() - began)

    benchmark.pedantic(one, rounds=3, iterations=1)
    html = pages[0]
    charts, drawn = html.count("<svg"), points_drawn(html)
    assert charts >= 30
    assert drawn >= 10_000
    steps = sum(len(each.columns["loss"]) for each in run.series.values())
    note = f"{charts} charts, {drawn:,} points drawn of {steps:,} steps"
    figure("kB of a page of 30 charts and 10,000 points", len(html.encode()) / 1e3, "<= 400", 0, 400, note)
    figure("CPU s to build it, first time", cpu[0], "<= 10", 0, 10)
    figure("CPU s to build it again", statistics.median(cpu[1:]), "<= 10", 0, 10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all figures."""
    with chromium_for_tests() as started:
        yield started


def main_thread_s(session: Any) -> dict[str, float]:
    """CPU seconds of the main thread until now, by what Chromium counts."""
    found = session.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in found if each["name"].endswith("Duration")}


def opened(chromium: Any, file: Path) -> tuple[Any, dict[str, float]]:
    """The page open and drawn once, and what that cost."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = main_thread_s(session)
    page.goto(file.as_uri(), wait_until="load")
    page.evaluate(f"() => {DRAWN}")
    after = main_thread_s(session)
    return page, {name: after[name] - before[name] for name in after}


def bench_opening(benchmark: Any, figure: Figure, chromium: Any, tmp_path: Path) -> None:
    """CPU of the browser's main thread from the address to a page that is drawn and answers."""
    file = tmp_path / "page.html"
    write_page(thirty_charts(), file)
    costs: list[dict[str, float]] = []

    def one() -> None:
        page, cost = opened(chromium, file)
        costs.append(cost)
        page.close()

    benchmark.pedantic(one, rounds=OPENINGS, iterations=1, warmup_rounds=1)
    costs = costs[1:]
    parts = {name: statistics.median(cost[name] for cost in costs) * 1e3 for name in costs[0]}
    note = ", ".join(f"{name.removesuffix('Duration')} {value:.0f}" for name, value in parts.items() if value >= 0.5)
    figure("ms of the main thread to open it", parts["TaskDuration"], "<= 150", 0, 150, note)


def sortable(monkeypatch: pytest.MonkeyPatch) -> StoredRun:
    """500 trials of several seeds, with a figure in every column there is and one column more: 20."""
    monkeypatch.setattr(tables, "TRIAL_COLUMNS", (*tables.TRIAL_COLUMNS, (Column("utilisation"), "mfu", 1)))
    run = made.synthetic_run(made.Shape(rounds=25, steps=5, warmup=2, series=False))
    more = {"joules_per_sample": 0.21, "power_w": 61.0, "mfu": 0.3}
    for number, record in enumerate(run.records):
        trial = record.trial.model_copy(update={"seed": record.trial.repeat % 3})
        figures = {name: value * (1 + number % 97 / 100) for name, value in more.items()}
        run.records[number] = record.model_copy(update={"trial": trial, "metrics": record.metrics | figures})
    return replace(run, records=run.records[:500])


CLICK = """async (table, column) => {
    table.querySelectorAll("th button")[column].click();
    const rows = table.tBodies[0].rows;
    rows[rows.length - 1].getBoundingClientRect();
    await %s;
    return rows.length;
}"""


def bench_sorting(
    benchmark: Any, figure: Figure, chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPU of the browser's main thread from a click on a column's head to all rows laid out in their new places."""
    file = tmp_path / "page.html"
    write_page(sortable(monkeypatch), file)
    first: list[dict[str, float]] = []
    later: list[list[dict[str, float]]] = []

    def one() -> None:
        page, _cost = opened(chromium, file)
        table = page.locator("#r0-trials")
        table.scroll_into_view_if_needed()
        page.wait_for_timeout(500)  # what is laid out in idle time is none of the sort
        first.append(sorting_s(page, 0))
        later.append([sorting_s(page, column) for column in range(table.locator("th").count())])
        page.close()

    benchmark.pedantic(one, rounds=OPENINGS, iterations=1)
    quickest = [min(each, key=lambda cost: cost["sort"]) for each in zip(*later, strict=True)]
    for name, costs in (("the first time", first), (f"again, by each of {len(quickest)} columns", quickest)):
        parts = {part: statistics.median(cost[part] for cost in costs) * 1e3 for part in first[0]}
        note = ", ".join(f"{part} {parts[part]:.0f}" for part in PARTS) + f"; with painting {parts['Task']:.0f}"
        figure(f"ms to sort 500 trials {name}", parts["sort"], "<= 50", 0, 50, note)


PARTS = ("Script", "RecalcStyle", "Layout")


def sorting_s(page: Any, column: int) -> dict[str, float]:
    """CPU seconds of the main thread for one sort: `sort` is script, style and layout, Task all until it is drawn."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = main_thread_s(session)
    assert page.locator("#r0-trials").evaluate(CLICK % DRAWN, column) == 500
    after = main_thread_s(session)
    session.detach()
    cost = {name: after[f"{name}Duration"] - before[f"{name}Duration"] for name in (*PARTS, "Task")}
    return cost | {"sort": sum(cost[part] for part in PARTS)}


def stored(folder: Path) -> int:
    """A run of 10,000 trials × 200 steps as `harness run` leaves it: how many trials."""
    run = made.synthetic_run(LARGE)
    records = run.records[:10_000]
    folder.mkdir()
    info = run.info.model_copy(update={"planned": len(records)})
    (folder / RUN_FILE).write_text(info.model_dump_json(by_alias=True))
    (folder / TRIALS_FILE).write_text("".join(f"{record.to_line()}\n" for record in records))
    with open(folder / STEPS_FILE, "w") as file:
        for record in records:
            if (series := run.series.get(record.trial.id)) is not None:
                file.write(f"{series.model_dump_json(by_alias=True)}\n")
    compact(folder / STEPS_FILE)
    return len(records)


def bench_ten_thousand_trials(benchmark: Any, figure: Figure, tmp_path: Path) -> None:
    """CPU seconds and memory of `harness report` over a large run."""
    folder, page = tmp_path / "run", tmp_path / "page.html"
    # in a process of its own: a child's peak is counted from that of the process that starts it
    make = f"from pathlib import Path; from benchmarks.bench_page import stored; print(stored(Path({str(folder)!r})))"
    trials = int(subprocess.run([sys.executable, "-c", make], check=True, capture_output=True, text=True).stdout)
    usage: list[Any] = []

    def one() -> None:
        child = subprocess.Popen([sys.executable, "-m", "harness.cli", "report", str(folder), "-o", str(page)])
        _pid, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        usage.append(used)

    benchmark.pedantic(one, rounds=1, iterations=1)
    used = usage[0]
    note = f"{trials:,} trials × 200 steps, page of {page.stat().st_size / 1e6:.1f} MB"
    figure("CPU s to report 10,000 trials", used.ru_utime + used.ru_stime, "<= 30", 0, 30, note)
    figure("MB of memory for that", used.ru_maxrss * 1024 / 1e6, "<= 1000", 0, 1000)
