"""A session of pytest in which benchmarks are measured as the harness measures, and compared as it compares."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from harness.measure import anchor
from harness.measure.anchor import Round
from harness.pytest_plugin.clock import Clock
from harness.pytest_plugin.verdicts import Comparison, Saved
from harness.report.export_pytest_benchmark import machine_facts
from harness.schema.benchmark_rounds import KEY, BenchmarkRounds
from harness.schema.errors import HarnessError

if TYPE_CHECKING:
    from harness.machine.inventory import Inventory

UNTOUCHED = "file://./.benchmarks"
"""pytest-benchmark's own `--benchmark-storage`: who names another one gets it."""
UNTOUCHED_TIMER = "time.perf_counter"
"""Of `--benchmark-timer`."""
KEEPING = ("benchmark_save", "benchmark_autosave", "benchmark_json", "benchmark_compare", "harness_compare")
"""Options that need to know the machine: it is looked at for these only, which takes a few seconds."""


class Benchmarks:
    """The part of the plug-in that is there where it was asked for. Raises UsageError where that cannot be done."""

    def __init__(self, config: pytest.Config):
        self.clock = Clock()
        self.rounds: int = config.option.harness_rounds
        self.benchmarks: list[dict[str, Any]] = []
        self.machine: dict[str, Any] = {}
        self.comparison: Comparison | None = None
        option = config.option
        if any(getattr(option, name, None) for name in KEEPING):
            self.machine = _machine()
            saved = Saved(str(self.machine["machine_key"]))
            if option.benchmark_storage == UNTOUCHED:
                option.benchmark_storage = f"file://{saved.folder}"
            option.benchmark_save_data = True  # without each round's seconds nothing can be compared
            if option.harness_compare:
                self.comparison = _usable(lambda: Comparison.against(option.harness_compare, saved))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: Iterable[pytest.Item]) -> None:
        """Have benchmarks timed by our clock, except where another one is named; what others do has no other clock."""
        another = config.option.benchmark_timer != UNTOUCHED_TIMER
        for item in items:
            names = getattr(item, "fixturenames", ())
            known = item.get_closest_marker("benchmark")
            own = dict(known.kwargs) if known is not None else {}
            if "fresh_rounds" in names or ("benchmark" in names and not another and "timer" not in own):
                item.add_marker(pytest.mark.benchmark(**{**own, "timer": self.clock}), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Time the anchor before and after a benchmark, and keep what it left."""
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if benchmark is None:
            return (yield)
        self.clock.begin()
        before = [] if "fresh_rounds" in item.funcargs else anchor.anchor()  # type: ignore[attr-defined]
        done = yield
        if benchmark.stats:
            if KEY not in benchmark.extra_info:
                self._tell(benchmark, before + anchor.anchor())
            self.benchmarks.append(benchmark.stats.as_dict(include_data=True))
        return done

    def _tell(self, benchmark: Any, laps: list[anchor.Seconds]) -> None:
        """Of a benchmark whose rounds this process ran: they count as one, so its median is enough."""
        beside, stats = anchor.median(laps), benchmark.stats
        cpu_s = self.clock.cpu_s(len(stats.stats.data), stats.iterations)
        told = BenchmarkRounds(
            cpu_s=() if cpu_s is None else (cpu_s,), anchor_s=(beside.wall,), anchor_cpu_s=(beside.cpu,)
        )
        benchmark.extra_info[KEY] = told.model_dump(mode="json")

    def fresh_rounds(self, benchmark: Any) -> Callable[..., list[Round]]:
        """What the fixture of that name gives."""

        def run(one_round: Callable[[], Round], device: str = "cpu") -> list[Round]:
            kept: list[Round] = []

            def work() -> None:
                found = one_round()
                self.clock.tell(found.work)
                kept.append(found)

            self.clock.stop()
            benchmark.pedantic(work, rounds=self.rounds, iterations=1)
            kept = kept[: self.rounds]
            told = BenchmarkRounds(
                fresh=True,
                cpu_s=tuple(each.work.cpu for each in kept),
                anchor_s=tuple(each.anchor.wall for each in kept),
                anchor_cpu_s=tuple(each.anchor.cpu for each in kept),
                device=device,
            )
            benchmark.extra_info[KEY] = told.model_dump(mode="json")
            return kept

        return run

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Add the machine's key, and what it is made of."""
        machine_info[KEY] = self.machine

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Compare; where all else went well the exit code is that of `harness gate`."""
        if self.comparison is None or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        outcome = self.comparison.judge(self.benchmarks, {KEY: self.machine})
        if exitstatus == pytest.ExitCode.OK and outcome:
            session.exitstatus = int(outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell the verdicts."""
        if self.comparison is None:
            return
        width = terminalreporter._tw.fullwidth if terminalreporter.isatty else 0
        terminalreporter.section(f"harness: this session (B) against {self.comparison.name} (A)")
        for line in self.comparison.told(width):
            terminalreporter.write_line(line)


def _machine() -> dict[str, Any]:
    from harness.run.executors.local import probe

    inventory: Inventory = _usable(probe)
    return machine_facts(inventory.machine_key, dict(inventory.environment), inventory.kind("auto"))


def _usable(made: Callable[[], Any]) -> Any:
    """What is made, an error told as pytest tells of wrong options."""
    try:
        return made()
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
