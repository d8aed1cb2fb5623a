"""`harness doctor --noise`: what can be told apart, from rounds whose noise is known, and what is in the way."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.analyse import noise as module
from harness.analyse.disturbances import advice, what_was_seen
from harness.analyse.noise import EFFECTS, clock_of, noise, words, worse_clock
from harness.analyse.stats import Paired, detectable
from harness.cli import app
from harness.machine import control_group
from harness.machine.contention import Moment, Surroundings, moment, surroundings
from harness.machine.environment import cores
from harness.machine.inventory import Inventory
from harness.report.noise_console import as_json, shown
from harness.run.ab import identical
from tests.conftest import make_trial

RECORDED = Path(__file__).parent / "data" / "ab_aa.jsonl"
QUIET_BEFORE = Moment(at=100.0, load=0.1, busy_s=500.0, own_s=1.0, steal_s=3.0, throttled=7, throttled_s=0.5,
                      swapped_pages=40)  # fmt: skip
QUIET_AFTER = replace(QUIET_BEFORE, at=160.0, busy_s=555.0, own_s=54.0, steal_s=3.05)
WELL = Surroundings(cores_of_machine=4, cores=4, governors=("performance",), turbo=False, threads="1")


def recorded(metric: str) -> list[list[float]]:
    """One block of recorded rounds on a busy machine: seconds of three arms of identical code."""
    by_block: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for line in RECORDED.read_text().splitlines():
        row = json.loads(line)
        by_block[row["cell"], row["session"]].append(row[metric])
    return next(iter(by_block.values()))


def drawn(sd: float, rounds: int = 16, seed: int = 1) -> list[list[float]]:
    """Rounds of three arms whose log seconds have this SD within a round, and drift from round to round."""
    draw = np.random.default_rng(seed)
    drift = draw.normal(0, 0.2, (rounds, 1))
    return list(0.02 * np.exp(drift + draw.normal(0, sd, (rounds, 3))))


def detected(rounds: Sequence[Sequence[float]]) -> float:
    return clock_of("step_s", rounds).detectable


@pytest.mark.parametrize("metric", ["step_s", "step_cpu_s"])
def test_a_noisy_machine_is_said_to_detect_less_than_a_quiet_one(metric: str) -> None:
    noisy, quiet = (
        noise("cell", [{metric: rows} for rows in each], 4.0, (QUIET_BEFORE, QUIET_AFTER), WELL)
        for each in (recorded(metric), drawn(0.0005))
    )
    assert noisy.clocks[0].detectable > 3 * quiet.clocks[0].detectable
    assert words(noisy)[1] != words(quiet)[1]
    assert f"{noisy.clocks[0].rounds}" in words(noisy)[0]


def test_the_interval_of_the_spread_holds_it_19_times_in_20() -> None:
    held = [found.low <= 0.01 * 2**0.5 <= found.high for found in (clock_of("step_s", drawn(0.01, 6, seed))
                                                                  for seed in range(400))]  # fmt: skip
    assert sum(held) / len(held) == pytest.approx(0.95, abs=0.03)


def test_drift_that_all_arms_share_is_no_noise() -> None:
    assert clock_of("step_s", drawn(0.01, 400)).sd == pytest.approx(0.01 * 2**0.5, rel=0.1)


def test_what_is_called_detectable_is_found_nine_times_in_ten() -> None:
    """The formula against the verdicts' own test: an effect of that size, planted in 20 rounds, many times."""
    sd, draw = 0.02, np.random.default_rng(2)
    effect = float(detectable(sd / 20**0.5, 19, module.ALPHA))
    planted = Paired.of(draw.normal(effect, sd, (4000, 20)))
    assert float(np.mean(planted.p_t < module.ALPHA)) == pytest.approx(0.9, abs=0.02)


def test_rounds_that_are_needed_are_the_fewest() -> None:
    found = clock_of("step_s", drawn(0.02))
    for effect in EFFECTS:
        needed = found.needed[effect]
        assert needed is not None
        assert float(detectable(found.sd / needed**0.5, needed - 1, module.ALPHA)) <= np.log1p(effect)
        if needed > module.ROUNDS_AT_LEAST:
            fewer = needed - 1
            assert float(detectable(found.sd / fewer**0.5, fewer - 1, module.ALPHA)) > np.log1p(effect)
    assert clock_of("step_s", drawn(3.0)).needed[0.01] is None


def test_one_round_is_no_spread() -> None:
    with pytest.raises(ValueError, match="needs two"):
        clock_of("step_s", drawn(0.1, 1))
    found = noise("gpt/nano", [{"step_s": [1.0, 1.0, 1.0]}], 4.0, (QUIET_BEFORE, QUIET_AFTER), WELL)
    assert found.clocks == []
    assert "Nothing can be said" in words(found)[0]


PLANTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other work": ({"busy_s": 640.0}, {}, "Other processes used 1.4 of 4"),
    "load where nothing else is told": ({"busy_s": None}, {}, "load average was 3.5"),
    "steal": ({"steal_s": 12.0}, {}, "hypervisor gave 3.8"),
    "throttling": (
        {"throttled": 44, "throttled_s": 2.5},
        {"quota": 1.5},
        "quota of 1.50 cores stopped processes in 37",
    ),
    "threads": ({}, {"threads": "16"}, "OMP_NUM_THREADS is 16 on 4"),
    "governor": ({}, {"governors": ("performance", "powersave")}, "governor is powersave"),
    "turbo": ({}, {"turbo": True}, "Turbo is on"),
    "swapping": ({"swapped_pages": 1240}, {}, "1,200 pages of memory went to or came from swap"),
}


@pytest.mark.parametrize("planted", list(PLANTED))
def test_what_is_in_the_way_gets_its_advice_and_nothing_else(planted: str) -> None:
    later, around, said = PLANTED[planted]
    before = replace(QUIET_BEFORE, load=3.5, busy_s=None) if later.get("busy_s", 0) is None else QUIET_BEFORE
    found = advice(before, replace(QUIET_AFTER, **later), replace(WELL, **around))
    assert len(found) == 1
    assert said in found[0].replace("\u00a0", " ")


def test_where_all_is_well_nothing_is_advised() -> None:
    assert advice(QUIET_BEFORE, QUIET_AFTER, WELL) == []
    assert worse_clock([clock_of("step_s", drawn(0.01))]) == ""


def test_the_worse_clock_is_named() -> None:
    clocks = [clock_of("step_cpu_s", drawn(0.002)), clock_of("step_s", drawn(0.02))]
    assert "times as noisy as CPU time" in worse_clock(clocks)
    rounds = [{"step_cpu_s": cpu, "step_s": wall} for cpu, wall in zip(drawn(0.002), drawn(0.02), strict=True)]
    found = noise("cell", rounds, 4.0, (QUIET_BEFORE, QUIET_AFTER), WELL)
    assert found.advice == [worse_clock(clocks)]


def test_what_the_system_does_not_tell_is_absent_and_named() -> None:
    nothing, bare = Moment(at=1.0), Surroundings(cores_of_machine=2, cores=2)
    seen, untold = what_was_seen(nothing, replace(nothing, at=2.0), bare)
    assert list(seen) == ["cores"]
    assert {"time stolen by a hypervisor", "turbo", "pages swapped"} <= set(untold)
    assert advice(nothing, replace(nothing, at=2.0), bare) == []


def test_counters_are_read_as_linux_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stat").write_text("cpu  1000 100 300 9000 50 10 20 250 40 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    (tmp_path / "loadavg").write_text("1.25 0.50 0.25 2/109 14969\n")
    (tmp_path / "vmstat").write_text("nr_free_pages 5\npswpin 30\npswpout 12\n")
    monkeypatch.setattr("os.sysconf", lambda _name: 100)
    monkeypatch.setattr(control_group, "throttled", lambda: (3, 0.25))
    found = moment(tmp_path)
    assert (found.load, found.busy_s, found.steal_s, found.swapped_pages) == (1.25, 14.3, 2.5, 42)
    assert (found.throttled, found.throttled_s) == (3, 0.25)
    (tmp_path / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    assert moment(tmp_path).steal_s is None, "a sandbox that counts nothing tells nothing"


@pytest.mark.parametrize(
    ("line", "group", "text"),
    [("0::/a\n", "a", "nr_periods 9\nnr_throttled 4\nthrottled_usec 1500000\n"),
     ("3:cpu,cpuacct:/a\n", "cpu,cpuacct/a", "nr_periods 9\nnr_throttled 4\nthrottled_time 1500000000\n")],
)  # fmt: skip
def test_throttling_of_both_versions_of_control_groups(tmp_path: Path, line: str, group: str, text: str) -> None:
    membership = tmp_path / "membership"
    membership.write_text(line)
    (tmp_path / group).mkdir(parents=True)
    (tmp_path / group / "cpu.stat").write_text(text)
    assert control_group.throttled(tmp_path, membership) == (4, 1.5)
    assert control_group.throttled(tmp_path / "nothing", membership) == (None, None)


def test_surroundings_are_read_where_they_are_told(tmp_path: Path) -> None:
    mine = surroundings(tmp_path, {})
    assert (mine.governors, mine.turbo, mine.threads) == ((), None, None)
    for core in cores():
        (tmp_path / f"cpu{core}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{core}" / "cpufreq" / "scaling_governor").write_text("powersave\n")
    (tmp_path / "intel_pstate").mkdir()
    (tmp_path / "intel_pstate" / "no_turbo").write_text("0\n")
    found = surroundings(tmp_path, {"OMP_NUM_THREADS": "8"})
    assert (found.governors, found.turbo, found.threads) == (("powersave",), True, "8")


@pytest.mark.processes
def test_the_command_runs_identical_code_and_says_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a quicker cell, for as few rounds as a spread needs."""
    monkeypatch.setattr(identical, "ROUNDS_AT_LEAST", 2)
    monkeypatch.setattr(identical, "ARMS", {"a": "a", "b": "b"})
    monkeypatch.setattr(identical, "small_cell", lambda _inventory: make_trial())
    sample = identical.sample
    monkeypatch.setattr(identical, "sample", lambda inventory, _seconds, observe: sample(inventory, 0.0, observe))
    done = CliRunner().invoke(app, ["doctor", "--noise", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {clock["metric"]: clock["rounds"] for clock in found["clocks"]} == {"step_cpu_s": 2, "step_s": 2}
    assert found["round_s"] > 0
    assert found["cell"].startswith("tiny/only single fp32")
    assert "cores" in found["seen"]


def test_the_cell_that_is_run_is_one_rank_on_one_core() -> None:
    trial = identical.small_cell(Inventory(cores=[0, 1, 2, 3]))
    assert (trial.label, trial.processes, trial.device_slots) == ("gpt/nano single fp32", 1, 4)


def test_what_is_shown_has_the_words_the_effort_and_the_advice() -> None:
    rounds = [
        {"step_s": one, "step_cpu_s": other} for one, other in zip(drawn(0.03), drawn(0.003, seed=5), strict=True)
    ]
    found = noise(
        "gpt/nano", rounds, 4.0, (QUIET_BEFORE, replace(QUIET_AFTER, steal_s=20.0)), replace(WELL, turbo=None)
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(shown(found))
    text = console.file.getvalue().replace("\u00a0", " ")  # type: ignore[attr-defined]
    for part in (*words(found)[0].split(" (")[:1], "a difference of", "A hypervisor gave", "not told by this system"):
        assert part.replace("\u00a0", " ").split("  ")[0][:60] in " ".join(text.split()), part
    assert max(len(line) for line in text.splitlines()) <= 100
    json.dumps(as_json(found), allow_nan=False)
