"""What a group says first where its suite asks something else than what is fastest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analyse.answer import answers
from harness.analyse.headline import Answer, sentence
from harness.analyse.leads import overall
from harness.analyse.study import study
from harness.run.stored import StoredRun
from harness.schema.record import Phase, Record, Status
from tests import suite_kinds as kinds
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made
from tests.test_max_batch_plan import searched_run


def said(run: StoredRun) -> tuple[str, Answer]:
    found = answers(study(run))[0]
    return sentence(found.headline).replace("\u00a0", " "), found


def test_scaling_begins_with_what_is_kept_of_each_device() -> None:
    headline, found = said(made.scaling_run())
    assert headline == (
        "Strong scaling: on 4 devices ddp keeps 75 % [75, 75] of each device's speed, 3.00× single 1 device over "
        "3 rounds, same loss; fsdp 50 % [50, 50]."
    )
    assert found.settled
    assert not any("3.00×" in text for text in found.details), "the same ratio is not told twice"


def test_a_wide_interval_of_scaling_is_undecided() -> None:
    headline, found = said(made.scaling_run(noise=0.5))
    assert headline.startswith("Strong scaling, undecided: on 4 devices ddp keeps ")
    assert headline.endswith("; more rounds would narrow the interval.")
    assert not found.settled
    once, _found = said(made.scaling_run(rounds=1))
    assert once.endswith("; one round has no interval.")


def test_compiling_begins_with_when_it_pays_off() -> None:
    headline, found = said(made.compiled_run())
    assert headline.startswith(
        "Compiling pays off after 1,400 steps [1,400, 1,400] at the soonest, in single compile: "
    )
    assert found.settled
    assert "ddp compile is 2.00× single" in found.details[0], "what is fastest comes next"


@pytest.mark.parametrize("rounds", [1, 3])
def test_compiling_that_makes_steps_longer_does_not_pay_off(rounds: int) -> None:
    headline, found = said(made.compiled_run(rounds, speed=0.8))
    assert headline.startswith("Compiling does not pay off: after 12.0 s of compiling a step of single compile takes ")
    assert found.settled is (rounds > 1), "one round shows nothing"


def limited(run: StoredRun, large: str) -> StoredRun:
    """The run under a limit of 64 MiB per device; cells of one strategy run out of memory."""

    def limit(record: Record) -> Record:
        if record.trial.strategy.name == large:
            record = made.failed(record, Status.OOM, Phase.WARMUP, "planted")
        trial = record.trial.model_copy(update={"memory_limit_bytes": 64 * 2**20})
        return record.model_copy(update={"trial": trial})

    return replace(run, records=[limit(record) for record in run.records])


def test_a_limit_of_memory_is_answered_with_what_fits() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), precisions={"fp32": 1.0}))
    headline, found = said(limited(run, "ddp"))
    assert headline == "4 of 5 cells fit into 64 MiB per device at 8 samples a forward pass, not ddp fp32."
    assert found.settled
    whole, _found = said(limited(run, "none of them"))
    assert whole == "5 of 5 cells fit into 64 MiB per device at 8 samples a forward pass."
    free, _found = said(run)
    assert "fit" not in free, "nothing was limited"


def test_the_largest_micro_batch_is_said_of_every_cell() -> None:
    headline, found = said(searched_run({"ddp": 2}))
    assert headline == (
        "The largest micro-batch that fits into 64 MiB per device is 8, of single fp32, single fp32 (cores=all), "
        "fsdp fp32 and fsdp fp32 (reshard_after_forward=false); 2 of ddp fp32."
    )
    assert "is 1.61× single fp32" in found.details[0]


def test_number_formats_are_held_against_fp32_of_the_same_strategy() -> None:
    truth = {name: made.STRATEGIES[name] for name in ("single", "ddp")}
    formats = {"fp32": 1.0, "tf32": 1.25, "bf16": 0.5}
    shape = made.Shape(workloads=("gpt",), truth=truth, precisions=formats, rounds=5, noise=0.0)
    headline, found = said(made.synthetic_run(shape))
    assert headline == (
        "Against fp32 with the same strategy: bf16 0.50× the speed (slower) at 0.79× the memory; "
        "tf32 1.25× the speed (faster) at 0.79× the memory."
    )
    assert found.settled
    few, unsettled = said(made.synthetic_run(replace(shape, rounds=2)))
    assert "0.50× the speed (undecided)" in few, "two rounds show nothing"
    assert not unsettled.settled
    alike = made.synthetic_run(replace(shape, precisions={"fp32": 1.0, "tf32": 1.0, "bf16": 1.0}))
    assert "(faster)" not in said(alike)[0]
    two = replace(shape, precisions={"fp32": 1.0, "bf16": 0.5})
    assert "Against fp32" not in said(made.synthetic_run(two))[0], "the suite asks about strategies as well"


def test_all_workloads_together() -> None:
    run = recipes.workloads_run({"gpt": (1.5, 1.4, 1.45), "resnet": (0.5, 0.4, 0.05)})
    assert [text.replace("\u00a0", " ") for text in overall(study(run))] == [
        "1 of 2 workloads reached the target in every seed; not resnet/nano."
    ]
    assert overall(study(kinds.precisions())) == []
