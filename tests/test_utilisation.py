"""MFU: the formula, what a device is, peaks of datasheet and machine, and figures that cannot be."""

from __future__ import annotations

import itertools
import math
import os
import re
from typing import Any

import pytest

from harness.analyse.caveats import caveats
from harness.analyse.study import study
from harness.machine.device import Device
from harness.machine.peaks import DATASHEETS, TERA, datasheet_peak, measured_peak, quickest_call_s
from harness.run.executors import local
from harness.run.utilisation import IMPOSSIBLE, Wanted, wanted_peaks, with_utilisation
from harness.schema.record import Peak, Record
from harness.schema.suite import Choice
from harness.strategies.precision import precisions
from tests.synthetic_run import Shape, synthetic_run
from tests.trials import a_rank, a_record, a_run_info, a_trial

FLOPS = 1e9
PEAK = Peak(device="cpu", name="cpu", cores=1, precision="fp32", flops_per_s=1e11, number_format="fp32")
WORKLOADS = {"gpt/nano": {"flops_per_sample": FLOPS}}


def two_ranks(**changes: Any) -> Record:
    """16 samples of 1 GFLOP in 0.2 s on two cores."""
    ranks = [a_rank(rank, device="cpu", cores=[rank]) for rank in (0, 1)]
    return a_record(a_trial(), metrics={"step_s": 0.2}, **{"per_rank": ranks, **changes})


def with_peaks(record: Record, *peaks: Peak, **info: Any) -> Record:
    return with_utilisation(record, a_run_info(peaks=list(peaks), **{"workloads": WORKLOADS, **info}))


def test_model_flops_and_utilisation_by_hand() -> None:
    record = with_peaks(two_ranks(), PEAK)
    assert record.metrics["model_flops"] == 16 * FLOPS
    assert record.metrics["mfu_measured"] == pytest.approx(16e9 / (0.2 * 2 * 1e11))
    assert "mfu" not in record.metrics
    assert record.absent == {"mfu": "no datasheet figure of cpu in fp32"}


def test_a_process_with_all_cores_is_held_against_the_peak_of_all_its_cores() -> None:
    trial = a_trial(strategy={"name": "single", "cores": "all"}, processes=1, devices=1, shares=2)
    record = a_record(trial, metrics={"step_s": 0.2}, per_rank=[a_rank(device="cpu", cores=[0, 1])])
    both = PEAK.model_copy(update={"cores": 2, "flops_per_s": 1.8e11})
    assert with_peaks(record, PEAK, both).metrics["mfu_measured"] == pytest.approx(16e9 / (0.2 * 1.8e11))


def test_a_process_that_drives_several_accelerators_uses_them_all() -> None:
    trial = a_trial(strategy="dp", device="cuda", devices=4, processes=1, precision="bf16")
    record = a_record(trial, metrics={"step_s": 0.001}, per_rank=[a_rank(device="NVIDIA H200")])
    sheet, source = datasheet_peak("NVIDIA H200", "bf16") or (0.0, "")
    peak = Peak(
        device="cuda", name="NVIDIA H200", precision="bf16", flops_per_s=7e14, datasheet_flops_per_s=sheet,
        datasheet=source,
    )  # fmt: skip
    metrics = with_peaks(record, peak).metrics
    assert metrics["mfu"] == pytest.approx(16e9 / (0.001 * 4 * 989.5e12))
    assert metrics["mfu_measured"] == pytest.approx(16e9 / (0.001 * 4 * 7e14))


def test_above_the_peak_is_no_number_and_said() -> None:
    record = with_peaks(two_ranks(), PEAK.model_copy(update={"flops_per_s": 1e10}))
    assert "mfu_measured" not in record.metrics
    assert record.absent["mfu_measured"].startswith(f"{IMPOSSIBLE} (4)")
    assert record.metrics["model_flops"] == 16 * FLOPS


@pytest.mark.parametrize(
    ("record", "peaks", "info", "name", "why"),
    [
        (two_ranks(), [], {}, "mfu_measured", "no peak was measured in fp32 on 1 core"),
        (two_ranks(), [PEAK.model_copy(update={"cores": 2})], {}, "mfu_measured", "no peak was measured"),
        (two_ranks(), [PEAK.model_copy(update={"flops_per_s": None, "absent": "sick"})], {}, "mfu_measured", "sick"),
        (two_ranks(), [PEAK.model_copy(update={"name": "other"})], {}, "mfu_measured", "on other, .* ran on cpu"),
        (two_ranks(per_rank=[a_rank(rank, cores=[0]) for rank in (0, 1)]), [PEAK], {}, "mfu_measured", "share cores"),
        (two_ranks(), [PEAK], {"workloads": {"gpt/nano": {"flops_absent": "reads"}}}, "model_flops", "reads"),
        (two_ranks(), [PEAK], {"workloads": {}}, "model_flops", "holds no FLOPs"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_absent_with_the_reason(
    record: Record, peaks: list[Peak], info: dict[str, Any], name: str, why: str
) -> None:
    found = with_peaks(record, *peaks, **info)
    assert name not in found.metrics
    assert re.search(why, found.absent[name])


def test_without_a_step_time_there_is_nothing_to_say() -> None:
    failed = a_record(metrics={})
    assert with_peaks(failed, PEAK) == failed


def test_peaks_are_wanted_once_for_each_precision_and_number_of_cores() -> None:
    every = a_trial(strategy={"name": "single", "cores": "all"}, processes=1, shares=2)
    trials = [a_trial(), a_trial(seed=1), a_trial(strategy="fsdp"), every, a_trial(precision="bf16")]
    assert wanted_peaks(trials, range(8)) == [
        Wanted("cpu", 4, Choice(name="fp32")),
        Wanted("cpu", 8, Choice(name="fp32")),
        Wanted("cpu", 4, Choice(name="bf16")),
    ]
    assert wanted_peaks([a_trial(device="cuda")], range(8)) == [Wanted("cuda", None, Choice(name="fp32"))]


def test_a_strategy_that_computes_in_fewer_bits_by_itself_is_held_against_their_peak() -> None:
    short = {"name": "fsdp", "mixed_precision": "bf16"}
    assert [wanted.precision.label for wanted in wanted_peaks([a_trial(strategy=short)], range(2))] == ["bf16"]
    assert [wanted.precision.label for wanted in wanted_peaks([a_trial(strategy="fsdp")], range(2))] == ["fp32"]
    record = two_ranks().model_copy(update={"trial": a_trial(strategy=short)})
    in_bf16 = PEAK.model_copy(update={"precision": "bf16", "flops_per_s": 4e11})
    assert with_peaks(record, PEAK, in_bf16).metrics["mfu_measured"] == pytest.approx(16e9 / (0.2 * 2 * 4e11))


def test_a_share_above_one_is_a_caveat_of_the_page() -> None:
    def impossible(record: Record) -> Record:
        broken = record.trial.strategy.name == "ddp"
        return record.model_copy(update={"absent": {"mfu_measured": f"{IMPOSSIBLE} (1.3)"}}) if broken else record

    said = [text for text in caveats(study(synthetic_run(Shape(break_=impossible)))) if "above" in text]
    assert len(said) == 1
    assert "ddp" in said[0]
    assert "single" not in said[0]
    assert not [text for text in caveats(study(synthetic_run())) if "above" in text]


# Datasheets


def test_datasheets_are_whole() -> None:
    for sheet in DATASHEETS:
        assert sheet.source.startswith("https://")
        assert {"fp32", "fp16"} <= sheet.tera.keys()
        assert list(sheet.tera) == [name for name in ("fp32", "tf32", "bf16", "fp16", "fp8") if name in sheet.tera]
        assert list(sheet.tera.values()) == sorted(sheet.tera.values()), "narrower formats are never slower"


@pytest.mark.parametrize(
    ("device", "number_format", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5),
        ("NVIDIA H100 PCIe", "bf16", 756.5),
        ("NVIDIA H100 NVL", "bf16", 835.5),
        ("NVIDIA H200", "fp32", 67),
        ("NVIDIA A100-SXM4-80GB", "tf32", 156),
        ("NVIDIA A100-PCIE-40GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "fp16", 312),
        ("Tesla V100-SXM2-32GB", "fp16", 125),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
    ],
)
def test_devices_are_known_by_the_names_that_pytorch_gives_them(device: str, number_format: str, tera: float) -> None:
    found = datasheet_peak(device, number_format)
    assert found is not None
    assert found[0] == pytest.approx(tera * TERA)


@pytest.mark.parametrize(
    ("device", "number_format"),
    [
        ("cpu", "fp32"),
        ("NVIDIA A100-SXM-64GB", "bf16"),  # one supercomputer's own, faster
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16"),
        ("NVIDIA GeForce RTX 3090 Ti", "fp32"),
        ("NVIDIA A10G", "bf16"),
        ("NVIDIA A4000", "bf16"),
        ("Tesla V100-SXM2-16GB", "bf16"),
    ],
)
def test_a_relative_of_another_speed_is_unknown(device: str, number_format: str) -> None:
    assert datasheet_peak(device, number_format) is None


# Measured peaks


class Clockwork(Device):
    """A device whose calls take the seconds they are told to: no clock, no arithmetic."""

    def __init__(self) -> None:
        self.now = 0.0

    def stamp(self) -> float:
        return self.now

    def seconds_between(self, stamps: Any) -> list[float]:
        return [after - before for before, after in itertools.pairwise(stamps)]


def test_the_quickest_call_counts_and_the_first_does_not() -> None:
    device = Clockwork()
    takes = iter([0.001, 0.5, 0.25, 0.4])

    def call() -> None:
        device.now += next(takes, 0.4)

    assert quickest_call_s(device, call) == pytest.approx(0.25)


def test_the_peak_is_two_operations_per_product_over_the_quickest_side() -> None:
    device = Clockwork()
    per_s = {100: 1e9, 200: 4e9, 300: 3e9}

    def product_of(side: int) -> Any:
        def call() -> None:
            device.now += 2 * side**3 / per_s[side]

        return call

    assert measured_peak(device, product_of, sides=tuple(per_s)) == (pytest.approx(4e9), 200)


def test_sides_that_would_take_too_long_are_left_out() -> None:
    device, asked = Clockwork(), []

    def product_of(side: int) -> Any:
        asked.append(side)

        def call() -> None:
            device.now += 2 * side**3 / 1e8

        return call

    assert measured_peak(device, product_of, sides=(100, 200, 400, 800))[1] == 100
    assert asked == [100, 200], "400 would take 1.28 s"


@pytest.mark.processes
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_child_measures_the_peak_in_the_precision(precision: str) -> None:
    peak = local.measure_peak("cpu", [min(os.sched_getaffinity(0))], Choice(name=precision), [])
    assert peak.absent is None
    assert peak.number_format == precision
    assert peak.cores == 1
    assert peak.flops_per_s is not None
    assert math.isfinite(peak.flops_per_s)
    assert peak.flops_per_s > 1e8
    assert peak.datasheet_flops_per_s is None


@pytest.mark.processes
def test_a_precision_that_cannot_be_measured_is_absent_with_the_reason() -> None:
    assert "no_such" not in precisions
    peak = local.measure_peak("cpu", [], Choice(name="no_such"), [])
    assert peak.flops_per_s is None
    assert peak.absent
