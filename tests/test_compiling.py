"""When compiling pays off: worked figures, never where it does not, and what is missing is said."""

from __future__ import annotations

import math

import pytest

from harness.analyse.caveats import caveats
from harness.analyse.compiling import break_even_steps, break_evens, in_steps, in_words
from harness.analyse.frame import trials_frame
from harness.analyse.study import study
from harness.report.look import look_of
from harness.report.sections import break_even_table
from harness.schema.metrics import METRICS
from harness.schema.record import Record
from tests import synthetic_run as made


def test_break_even_against_worked_figures() -> None:
    assert break_even_steps(12.0, 0.050, 0.040) == pytest.approx(1200)
    assert break_even_steps(12.0, 0.040, 0.040) == math.inf
    assert break_even_steps(12.0, 0.040, 0.050) == math.inf, "a slower step never pays off, nor after −1200 steps"


def test_each_compiled_cell_is_compared_with_itself_without() -> None:
    run = made.compiled_run(speed=1.25)
    found = break_evens(trials_frame(run))
    assert [(each.label, each.compile_s) for each in found] == [("single compile", 12.0), ("ddp compile", 12.0)]
    for each in found:
        assert each.without_s is not None
        assert each.with_s == pytest.approx(each.without_s / 1.25)
        assert each.ratio is not None
        assert each.ratio.value == pytest.approx(0.8)
        assert each.steps == pytest.approx(12.0 / (0.2 * each.without_s))
        assert each.low == pytest.approx(each.steps), "without noise the interval is the figure"
        assert each.high == pytest.approx(each.steps)


def test_a_slower_compiled_cell_never_pays_off() -> None:
    found = break_evens(trials_frame(made.compiled_run(speed=0.9)))
    assert {each.steps for each in found} == {math.inf}
    assert in_words(found[0]).endswith("never pay off, a step is no shorter.")
    assert {in_steps(each.steps) for each in found} == {"never"}


def test_an_interval_that_holds_one_reaches_never() -> None:
    run = made.compiled_run(speed=1.02)
    for record in run.records:
        if record.trial.techniques:
            record.metrics["step_s"] *= (0.95, 1.0, 1.05)[record.trial.repeat]
    first = break_evens(trials_frame(run))[0]
    assert first.steps is not None
    assert math.isfinite(first.steps)
    assert first.high == math.inf
    assert in_words(first).endswith(", never].")


def test_one_round_has_no_interval() -> None:
    first = break_evens(trials_frame(made.compiled_run(rounds=1)))[0]
    assert first.steps is not None
    assert (first.low, first.high) == (None, None)
    assert "[" not in in_words(first)


def test_without_the_other_cell_only_the_seconds_are_known() -> None:
    found = break_evens(trials_frame(made.compiled_run(alone=True)))
    assert [(each.compile_s, each.steps, each.ratio) for each in found] == [(12.0, None, None)] * 2
    assert in_words(found[0]).endswith("and no cell without it to compare with.")
    rows = break_even_table(found, look_of(["single", "ddp"]), "t").rows
    assert rows[0].cells[5:] == ("no cell without", "–", "–", "–")


def test_nothing_compiled_nothing_said() -> None:
    found = break_evens(study(made.synthetic_run(made.Shape(rounds=1, series=False))).trials)
    assert found == []


def test_other_techniques_of_the_cell_stay() -> None:
    """compile + checkpointing is compared with checkpointing, not with the plain cell."""
    run = made.compiled_run(rounds=2)
    records = []
    for record in run.records:
        techniques = (*record.trial.techniques, made.choice("checkpointing"))
        slower = {"step_s": record.metrics["step_s"] * 1.5}
        trial = record.trial.model_copy(update={"techniques": techniques})
        records += [record, record.model_copy(update={"trial": trial, "metrics": record.metrics | slower})]
    run.records[:] = records
    both = next(each for each in break_evens(trials_frame(run)) if "checkpointing" in each.label)
    assert both.without_s is not None
    assert both.with_s == pytest.approx(both.without_s / 1.25)


def test_steps_in_words() -> None:
    assert [in_steps(steps) for steps in (None, 0.2, 1234.5, math.inf)] == ["", "1", "1,240", "never"]


def test_the_metric_is_in_the_dictionary() -> None:
    assert (METRICS["compile_s"].unit, METRICS["compile_s"].better) == ("s", "lower")


def test_compiling_inside_the_window_is_a_caveat_that_names_the_cell() -> None:
    def again(record: Record) -> Record:
        seconds = 2.5 if record.trial.strategy.name == "ddp" else 0.0
        ranks = [rank.model_copy(update={"facts": {"compile": {"in_window_s": seconds}}}) for rank in record.per_rank]
        return record.model_copy(update={"per_rank": ranks})

    said = [text for text in caveats(study(made.synthetic_run(made.Shape(break_=again)))) if "torch.compile" in text]
    assert len(said) == 1
    assert "2.5" in said[0]
    assert "ddp" in said[0]
    assert "single" not in said[0]
    assert not [text for text in caveats(study(made.synthetic_run())) if "torch.compile" in text]
