"""Every strategy in every precision trains on 1 to all accelerators as one process does, or says why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.machine.inventory import Inventory
from harness.run.executors import local
from harness.run.plan import make_plan
from harness.run.spec import load_suite
from harness.schema.record import Status
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from tests.conftest import execute, plugins
from tests.gpu.accelerators import KIND, MARKS, NUMBERS

pytestmark = [*MARKS, pytest.mark.processes]

OPTIONS: dict[str, dict[str, str]] = {
    "ddp": {
        "views": "gradient_as_bucket_view = true, static_graph = true",
        "fp16_gradients": 'compress = "fp16"',
        "bf16_gradients": 'compress = "bf16"',
    },
    "fsdp": {"zero2": "reshard_after_forward = false", "offload": "cpu_offload = true"},
}
"""Beside each strategy with its defaults."""
STRATEGIES = {
    f"{entry.name}_{option}".rstrip("_"): f'{{ name = "{entry.name}"{", " if asked else ""}{asked} }}'
    for entry in strategies.entries()
    if entry.module.startswith("harness.")
    for option, asked in {"": "", **OPTIONS.get(entry.name, {})}.items()
}
PRECISIONS = [entry.name for entry in precisions.entries() if entry.module.startswith("harness.")]
GLOBAL_BATCH = 32
MICRO_BATCH = GLOBAL_BATCH // (2 * max(NUMBERS))
"""On all devices together gradients are summed over two micro-batches, on fewer over more."""
SUITE = """
question = "Does it train?"
baseline = {{ precision = "{precision}" }}
[fixed]
workload = {workload}
size = "{size}"
device = "{device}"
strategy = {strategy}
precision = "{precision}"
global_batch = {global_batch}
micro_batch = {micro_batch}
steps = 4
warmup_steps = 6
[grid]
devices = {devices}
[budget]
repeats = 1
"""


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return local.probe()


def statuses(folder: Path, inventory: Inventory, **asked: Any) -> dict[int, tuple[Status, str | None]]:
    """By number of devices: how the cell ended, with the reason."""
    known = {"workload": '"tiny"', "size": "only", "device": "auto", "devices": NUMBERS}
    known |= {"global_batch": GLOBAL_BATCH, "micro_batch": MICRO_BATCH}
    file = folder / "suite.toml"
    file.write_text(SUITE.format(**{**known, **asked}))
    own = plugins("tiny")
    plan = make_plan(load_suite(file), inventory, plugins=own)
    found = {trial.devices: (Status.UNSUPPORTED, reason) for trial, reason in plan.unsupported}
    for trial in plan.trials:
        assert trial.device == KIND
        record, _series = execute(trial)
        found[trial.devices] = record.status, record.reason
        if record.status is Status.OK:
            assert record.parity is not None
            assert record.parity.status == "passed", record.parity.reason
            assert record.metrics["peak_allocated_bytes"] > 0
            assert record.metrics["peak_reserved_bytes"] >= record.metrics["peak_allocated_bytes"]
            assert record.per_rank[0].device != "cpu"
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_cell_passes_parity_or_says_why_it_cannot_run(
    strategy: str, precision: str, tmp_path: Path, inventory: Inventory
) -> None:
    name = strategy.split('"')[1]
    least = strategies[name].facts.min_devices
    numbers = [number for number in NUMBERS if number >= least]
    if not numbers:
        pytest.skip(f"{name} needs at least {least} accelerators")
    found = statuses(tmp_path, inventory, strategy=strategy, precision=precision, devices=numbers)
    assert found
    for status, reason in found.values():
        assert status in (Status.OK, Status.UNSUPPORTED), reason
        assert (status is Status.OK) == (reason is None)


@pytest.mark.parametrize(
    "workload",
    ['{ name = "gpt", dropout = 0.1 }', '"resnet"'],
    ids=["gpt", "resnet"],
)
@pytest.mark.parametrize("strategy", ['"single"', '"ddp"', '"fsdp"'], ids=["single", "ddp", "fsdp"])
def test_workloads_train_on_it(strategy: str, workload: str, tmp_path: Path, inventory: Inventory) -> None:
    found = statuses(
        tmp_path, inventory, strategy=strategy, workload=workload, size="nano", precision="fp32", devices=NUMBERS[-1:]
    )
    for status, reason in found.values():
        assert status is Status.OK or "needs at least 2" in (reason or ""), reason
