"""Energy of the timed window: arithmetic by replay, evaluations left out, ranks put together, nothing ever 0."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine.deadline import Unread
from harness.machine.device_readings import Nvml
from harness.machine.meter import (
    CounterMeter,
    Meter,
    PackageMeter,
    PowerMeter,
    Ticker,
    driver_meter,
    integral,
    open_meters,
)
from harness.machine.nvml import open_nvml
from harness.machine.rapl import Rapl
from harness.measure.training import Training
from harness.monitors.energy import Energy
from harness.run.merge import merge
from harness.schema.record import Phase, RankResult, Record, Status
from tests.conftest import Made, Ran
from tests.replayed_readings import Replay
from tests.trials import a_rank, a_trial


class Fixed:
    """A meter that says what it is given: J and s of each stretch, or an error."""

    of = "device"
    source = "given"
    shortest_s = 1.0

    def __init__(self, *said: tuple[float, float] | Exception):
        self.said = list(said)
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> tuple[float, float]:
        self.running = False
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


def fake_training(kind: str = "cuda", count: int = 1, rank: int = 0) -> Any:
    """As much of a training as a monitor of energy looks at."""
    devices = [SimpleNamespace(kind=kind, index=index, uuid=None) for index in range(count)]
    return SimpleNamespace(devices=devices, device=devices[0], place=SimpleNamespace(rank=rank))


def window(
    opened: Callable[[Any], Sequence[Meter]], stretches: int = 1, between: Callable[[], None] = lambda: None, **of: Any
) -> RankResult:
    """What the monitor writes for a window of so many stretches."""
    monitor, training, result = Energy(opened), fake_training(**of), RankResult(rank=0, phase=Phase.TIMED)
    monitor.window_begins(training)
    for _ in range(stretches):
        monitor.stretch_begins(training)
        between()
        monitor.stretch_ends(training)
    monitor.window_ends(training, result)
    return result


def replay(*readings: dict[str, Any]) -> Replay:
    """One device with these readings."""
    return Replay([{"device": {"index": 0, "uuid": "GPU-aa", "name": "H200"}, "readings": readings}])


def counted(*at: tuple[float, float]) -> Replay:
    """A device whose counter stood at so many J at these seconds; the first reading is for finding the counter."""
    return replay({"energy_j": 1.0}, *({"at_s": second, "energy_j": joules} for second, joules in at))


def metered(nvml: Nvml) -> Callable[[Any], Sequence[Meter]]:
    """Meters by this NVML."""
    return lambda devices: open_meters(devices, nvml)


def absent(result: RankResult) -> str:
    """The reason why there is no energy, and no figure beside it."""
    assert not result.metrics
    assert "energy" not in result.facts
    return str(result.facts["absent"]["energy"])


def until(met: Callable[[], bool]) -> None:
    """Wait for another thread to come so far."""
    last = time.monotonic() + 10
    while not met():
        assert time.monotonic() < last
        time.sleep(0.005)


# The window


def test_stretches_add_up_and_what_is_between_them_is_left_out() -> None:
    nvml = counted((10.0, 1000.0), (12.0, 1600.0), (20.0, 5000.0), (21.0, 5300.0))
    found = window(metered(nvml), stretches=2)
    assert found.metrics == {"energy_j": pytest.approx(900.0), "power_w": pytest.approx(300.0)}
    assert found.facts == {
        "energy": {"source": "the driver's energy counter", "of": "device", "seconds": 3.0, "stretches": 2}
    }
    whole = window(metered(counted((10.0, 1000.0), (21.0, 5300.0))))
    assert whole.metrics["energy_j"] == pytest.approx(4300.0), "control: with the evaluation it would be more"


def test_devices_of_one_rank_are_summed() -> None:
    found = window(lambda _devices: [Fixed((100.0, 2.0)), Fixed((50.0, 2.5))], count=2)
    assert found.metrics == {"energy_j": 150.0, "power_w": 70.0}
    assert found.facts["energy"]["seconds"] == 2.5


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        ([(10.0, 1000.0), (12.0, 1000.0)], "did not move in 2 s"),
        ([(10.0, 1000.0), (12.0, 400.0)], "fell from 1000 to 400 J"),
        ([(10.0, 1000.0), (10.4, 1200.0)], "metered for 0.4 s, less than the 1 s"),
        ([(10.0, 1000.0)], "the recording has ended"),
        ([], "the recording has ended"),
    ],
)
def test_a_counter_that_says_nothing_is_absent_and_never_0(readings: list[tuple[float, float]], why: str) -> None:
    assert why in absent(window(metered(counted(*readings))))
    control = window(metered(counted((10.0, 1000.0), (12.0, 1001.0))))
    assert control.metrics["energy_j"] == pytest.approx(1.0), "control: it moved"


def test_each_stretch_must_be_long_enough() -> None:
    def opened(_devices: Any) -> Sequence[Meter]:
        return [Fixed((60.0, 0.9), (60.0, 0.9))]

    assert "metered for 1.8 s, less than the 2 s" in absent(window(opened, stretches=2))


@pytest.mark.parametrize("error", [Unread("GPU is lost"), RuntimeError("anything")])
def test_what_goes_wrong_ends_the_metering_and_reaches_no_trial(error: Exception) -> None:
    failing, beside = Fixed((60.0, 2.0), error), Fixed((60.0, 2.0), (60.0, 2.0))
    found = window(lambda _devices: [beside, failing], stretches=3, count=2)
    assert absent(found) == ("GPU is lost" if isinstance(error, Unread) else "RuntimeError: anything")
    assert not beside.running

    def closed(_devices: Any) -> Sequence[Meter]:
        raise error

    assert absent(window(closed)) == absent(found)


def test_a_device_nobody_reads_says_so() -> None:
    assert absent(window(metered(Nvml("nvmlInit: Driver Not Loaded")))) == "nvmlInit: Driver Not Loaded"
    assert absent(window(metered(Nvml()), kind="xpu")) == "NVML reads NVIDIA's devices, not xpu"


# Meters


def test_the_counter_is_taken_before_power_and_power_before_nothing() -> None:
    [device] = replay().devices()
    assert isinstance(driver_meter(replay({"energy_j": 1.0}), device), CounterMeter)
    no_counter = {"absent": {"energy_j": "Not Supported"}}
    assert isinstance(driver_meter(replay(no_counter, {"power_w": 90.0}), device), PowerMeter)
    with pytest.raises(Unread, match=r"H200: Not Supported; H200: No Permission"):
        driver_meter(replay(no_counter, {"absent": {"power_w": "No Permission"}}), device)


def test_power_is_integrated_by_trapezoids() -> None:
    assert integral([(0.0, 100.0), (1.0, 300.0), (3.0, 300.0)]) == pytest.approx(800.0)
    with pytest.raises(Unread, match="0 W"):
        integral([(0.0, 0.0), (1.0, 0.0)])


def test_power_is_sampled_beside_the_steps() -> None:
    samples = [{"at_s": float(second), "power_w": 100.0 + second} for second in range(1000)]
    meter = PowerMeter(nvml := replay(*samples), nvml.devices()[0], every_s=0.01)
    meter.start()
    until(lambda: len(meter._samples) >= 4)
    joules, seconds = meter.stop()
    assert seconds >= 4
    assert joules == pytest.approx(100 * seconds + seconds**2 / 2)


def test_a_device_lost_between_samples_is_said_at_the_end() -> None:
    samples = [{"at_s": 0.0, "power_w": 100.0}, {"at_s": 1.0, "absent": {"power_w": "GPU is lost"}}]
    meter = PowerMeter(nvml := replay(*samples), nvml.devices()[0], every_s=0.01)
    meter.start()
    until(lambda: meter._ticker._wrong is not None)
    with pytest.raises(Unread, match="H200: GPU is lost"):
        meter.stop()


def test_a_ticker_ticks_at_both_ends_and_between() -> None:
    ticks: list[float] = []
    ticker = Ticker(0.02, lambda: ticks.append(time.monotonic()))
    ticker.start()
    until(lambda: len(ticks) >= 3)
    ticker.stop()
    after = len(ticks)
    time.sleep(0.1)
    assert len(ticks) == after
    rare = Ticker(60.0, lambda: ticks.append(0.0))
    rare.start()
    rare.stop()
    assert ticks[after:] == [0.0, 0.0]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Root of a powercap with one package."""
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "1000000000"), ("energy_uj", "999000000")):
        (folder / name).write_text(text)
    return tmp_path


def test_cpu_packages_are_read_by_rank_0_for_all(package: Path) -> None:
    def opened(_devices: Any) -> Sequence[Meter]:
        return [PackageMeter(Rapl(package))]

    def work() -> None:
        time.sleep(0.02)
        (package / "intel-rapl:0" / "energy_uj").write_text("3000000")

    found = window(opened, between=work, kind="cpu")
    assert found.metrics["energy_j"] == pytest.approx(4.0)
    assert found.facts["energy"]["of"] == "machine"
    other = window(opened, between=work, kind="cpu", rank=1)
    assert (other.metrics, other.facts) == ({}, {}), "rank 1 neither reads it nor misses it"
    still = window(opened, between=lambda: time.sleep(0.02), kind="cpu")
    assert "did not move" in absent(still)


# The record


def recorded(*ranks: RankResult) -> Record:
    """The record of a two-rank trial, 64 samples in its window."""
    record = merge(a_trial(), ranks, None, started_at=100.0, ended_at=102.5)[0]
    assert record.status is Status.OK
    assert record.metrics["window_samples"] == 64
    return record


def rank_with(rank: int, energy: dict[str, float], of: str = "device", **changes: Any) -> RankResult:
    """A rank with these figures of energy."""
    base = a_rank(rank)
    facts = base.facts | ({"energy": {"of": of}} if energy else {})
    return base.model_copy(update={"metrics": base.metrics | energy, "facts": facts, **changes})


def test_energy_of_all_ranks_is_summed_and_divided_by_all_samples() -> None:
    record = recorded(
        rank_with(0, {"energy_j": 100.0, "power_w": 250.0}), rank_with(1, {"energy_j": 60.0, "power_w": 150.0})
    )
    assert record.metrics["energy_j"] == 160.0
    assert record.metrics["power_w"] == 400.0
    assert record.metrics["joules_per_sample"] == pytest.approx(2.5)


def test_energy_of_some_ranks_is_none() -> None:
    record = recorded(rank_with(0, {"energy_j": 100.0, "power_w": 250.0}), rank_with(1, {}))
    assert not {"energy_j", "power_w", "joules_per_sample"} & record.metrics.keys()


def test_energy_of_the_machine_counts_once() -> None:
    read = {"energy_j": 128.0, "power_w": 90.0}
    record = recorded(rank_with(0, read, of="machine"), rank_with(1, {}))
    assert (record.metrics["energy_j"], record.metrics["joules_per_sample"]) == (128.0, 2.0)
    elsewhere = recorded(rank_with(0, read, of="machine"), rank_with(1, {}, host="another"))
    assert "energy_j" not in elsewhere.metrics, "the other machine's packages were not read"


def test_a_rank_drives_its_own_device_or_all_of_a_single_process() -> None:
    def driven(world_size: int, devices: int) -> list[int]:
        device = SimpleNamespace(kind="cuda", index=3)
        training: Any = SimpleNamespace(
            place=SimpleNamespace(world_size=world_size), trial=SimpleNamespace(devices=devices), device=device
        )
        return [each.index for each in Training.devices.fget(training)]  # type: ignore[attr-defined]

    assert driven(world_size=4, devices=4) == [3]
    assert driven(world_size=1, devices=1) == [3]
    assert driven(world_size=1, devices=2) == [0, 1]


@pytest.mark.gpu
def test_a_real_board_draws_more_than_nothing_and_less_than_its_limit() -> None:
    nvml = open_nvml()
    if nvml.reason is not None or not nvml.devices():
        pytest.skip(f"no NVIDIA device: {nvml.reason}")
    board = nvml.devices()[0]
    meter = driver_meter(nvml, board)
    meter.start()
    time.sleep(meter.shortest_s)
    joules, seconds = meter.stop()
    assert 0 < joules / seconds < 1.2 * nvml.value(board, "power_limit_w")[1]


@pytest.mark.processes
def test_a_real_trial_has_energy_or_the_reason(trial: Made, ran: Ran) -> None:
    record, _series = ran(trial("ddp", ranks=2), parity=False)
    assert record.status is Status.OK
    first, second = record.per_rank
    reason = first.facts.get("absent", {}).get("energy")
    assert ("energy_j" in record.metrics) == (reason is None)
    assert record.metrics.get("energy_j") != 0
    assert reason is None or reason.startswith("RAPL: ") or "metered for" in reason or "did not move" in reason
    assert "energy" not in second.facts.get("absent", {})
