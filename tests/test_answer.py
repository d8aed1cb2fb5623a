"""Sentences, tiles, Pareto front, caveats: each says what the records show, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analyse.answer import answers, ties
from harness.analyse.caveats import caveats
from harness.analyse.cells import Cell, held_out, pareto
from harness.analyse.frame import trials_frame
from harness.analyse.quantity import between, digits, duration, listed, percent, rate, size, times
from harness.analyse.study import Study, study
from harness.analyse.tiles import Tile, tiles
from harness.run.stored import StoredRun
from harness.schema.record import Evaluation, Parity, Record, Status
from tests import synthetic_run as made


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def said(run: StoredRun) -> tuple[str, str]:
    """Headline and details of the first group."""
    first = answers(study(run))[0]
    return plain(first.text), plain(" ".join(first.details))


def with_speeds(**truth: float) -> StoredRun:
    return made.synthetic_run(
        made.Shape(workloads=("gpt",), truth=truth, precisions={"fp32": 1.0}, rounds=5, noise=0.004)
    )


def test_the_fastest_with_interval_rounds_memory_and_loss() -> None:
    headline, details = said(made.synthetic_run())
    assert headline == (
        "For gpt/nano on 2 × CPU share (1 core each): ddp fp32 is 1.63× single fp32 [1.60, 1.67] over 3 rounds "
        "at 1.08× memory, same loss."
    )
    assert "Least memory: fsdp bf16 with 25.8 MiB of tensors per device, 0.56× the baseline" in details
    assert f"Not run: dp fp32 and dp bf16: {made.DP_REASON}." in details
    assert "10 cells passed parity" in details


def test_no_difference_is_not_called_a_win() -> None:
    headline, _details = said(with_speeds(single=1.0, ddp=1.004))
    assert "no difference shown: the fastest, ddp fp32" in headline
    assert " is 1.6" not in headline


def test_a_headline_that_stands_alone_has_a_capital_and_names_keep_theirs() -> None:
    def opening(run: StoredRun) -> str:
        return "".join(part.text for part in answers(study(run))[0].opening)

    assert opening(made.synthetic_run()).startswith("ddp fp32 is ")
    assert opening(made.only_failures()).startswith("No trial ended well")
    assert opening(with_speeds(single=1.0, ddp=0.8)).startswith("Nothing is faster")


def test_nothing_faster_than_the_baseline() -> None:
    headline, _details = said(with_speeds(single=1.0, ddp=0.8, fsdp=0.6))
    assert "nothing is faster than the baseline single fp32; the nearest, ddp fp32, is 0.80×" in headline
    assert "(slower)" in headline


def test_one_round_shows_nothing() -> None:
    found = answers(study(made.one_round()))[0]
    assert "in the one round there is" in plain(found.text)
    assert "[" not in found.text
    assert not found.settled


def test_too_few_rounds_are_undecided() -> None:
    second = answers(study(made.broken_run()))[1]
    assert plain(second.text).endswith("2 rounds: a verdict needs 3.")
    assert not second.settled


def test_failures_are_said_with_how_often() -> None:
    _headline, details = said(made.broken_run())
    assert "ddp bf16 (out of memory in 3 of 3 rounds)" in details
    assert "fsdp bf16 (crashed in 1 of 3 rounds)" in details


def test_nothing_ended_well() -> None:
    headline, details = said(made.only_failures())
    assert "no trial ended well" in headline
    assert "×" not in details.split("Not run")[0].replace("30×", "")


def test_only_the_baseline() -> None:
    headline, _details = said(made.one_cell())
    assert "only single fp32 was measured" in headline
    assert "tokens/s" in headline


def test_a_baseline_without_figures_gives_no_ratio() -> None:
    def break_(record: Record) -> Record:
        single = record.trial.strategy.label == "single"
        return made.failed(record, Status.OOM, record.phase, "out of memory") if single else record

    run = made.synthetic_run(made.Shape(workloads=("gpt",), break_=break_))
    headline, _details = said(run)
    assert "has the highest throughput" in headline
    assert "so there is no ratio" in headline
    assert any("No ratio can be given" in text for text in caveats(study(run)))


def test_unchecked_parity_is_not_called_the_same_loss() -> None:
    unchecked = Parity(status="unchecked", equivalence="exact", reason="there is no reference")
    run = made.synthetic_run(made.Shape(break_=lambda record: record.model_copy(update={"parity": unchecked})))
    headline, details = said(run)
    assert "same loss" not in headline
    assert "loss unchecked" in headline
    assert "10 cells could not be checked" in details


def test_cells_that_may_be_as_fast_are_named() -> None:
    close = made.synthetic_run(
        made.Shape(
            workloads=("gpt",), truth={"single": 1.0, "ddp": 1.6, "fsdp": 1.58}, precisions={"fp32": 1.0}, noise=0.03
        )
    )
    assert [label for label, _ratio in ties(study(close).groups[0])] in (["fsdp fp32"], ["ddp fp32"])
    assert ties(study(with_speeds(single=1.0, ddp=1.6, fsdp=1.2)).groups[0]) == []


def test_what_learned_best_where_recipes_differ() -> None:
    def learn(record: Record) -> Record:
        good = record.trial.strategy.name == "ddp"
        found = [Evaluation(step=10, train_s=1.0, metrics={"eval_loss": 2.0 if good else 3.0})]
        return record.model_copy(update={"evaluations": found})

    run = made.synthetic_run(made.Shape(workloads=("gpt",), break_=learn))
    assert "Learned best: ddp fp32, held-out loss 2.00 after 10 steps" in said(run)[1]


def test_held_out_is_compared_after_a_step_that_all_reached() -> None:
    def shorter(record: Record) -> Record:
        if record.trial.strategy.name != "ddp":
            return record
        return record.model_copy(update={"evaluations": record.evaluations[:-1]})

    run = made.synthetic_run(made.Shape(workloads=("gpt",), break_=shorter))
    found = held_out(run.info, trials_frame(run))
    assert found is not None
    assert found.step == 20, "ddp was not evaluated after step 30"
    assert {len(rounds) for rounds in found.rounds.values()} == {3}


def tile(found: Study, title: str) -> Tile:
    return next(tile for tile in tiles(found) if tile.title == title)


def test_tiles() -> None:
    found = study(made.broken_run())
    assert [tile.title for tile in tiles(found)] == [
        "Fastest",
        "Least memory",
        "Learned",
        "Run-to-run noise",
        "Failures",
    ]
    fastest = tile(found, "Fastest")
    assert (fastest.lines[0].figure, fastest.lines[0].what) == ("1.63×", "ddp fp32")
    assert fastest.lines[1].what.endswith(", undecided"), "a tile must not claim what the verdict does not"
    failures = tile(found, "Failures")
    assert failures.alarming
    assert failures.lines[0].figure == "11 of 60"
    assert not tile(study(made.synthetic_run()), "Failures").alarming


def test_first_to_the_target_needs_every_round() -> None:
    def reach(record: Record) -> Record:
        seconds = {"ddp": 1.0, "fsdp": 2.0}.get(record.trial.strategy.name)
        missed = record.trial.strategy.name == "ddp" and record.trial.repeat == 1
        more = {"time_to_target_s": seconds} if seconds and not missed else {}
        return record.model_copy(update={"metrics": record.metrics | more})

    line = tile(study(made.synthetic_run(made.Shape(workloads=("gpt",), break_=reach))), "Learned").lines[0]
    assert plain(line.figure) == "2.00 s"
    assert line.what.startswith("fsdp")


def cell(name: str, speed: float | None, memory: float | None) -> Cell:
    metrics = {"samples_per_s": speed, "peak_allocated_bytes": memory}
    known = {key: value for key, value in metrics.items() if value is not None}
    return Cell(name, 0, name, name, "", "s", "fp32", False, 1, 1, {}, "passed", known, None, "", "", None)


@pytest.mark.parametrize(
    ("cells", "front"),
    [
        ([("a", 1.0, 1.0), ("b", 2.0, 2.0), ("c", 1.5, 3.0)], {"a", "b"}),
        ([("a", 1.0, 1.0), ("b", 1.0, 2.0)], {"a"}),
        ([("a", 1.0, 1.0), ("b", 1.0, 1.0)], {"a", "b"}),
        ([("a", 1.0, 1.0), ("b", 2.0, 1.0)], {"b"}),
        ([("a", None, 1.0), ("b", 2.0, None)], set()),
        ([], set()),
    ],
)
def test_pareto(cells: list[tuple[str, float | None, float | None]], front: set[str]) -> None:
    assert pareto([cell(*values) for values in cells]) == front


def test_caveats() -> None:
    whole = made.synthetic_run()
    assert caveats(study(whole)) == []
    torn = replace(whole, warnings=["trials.jsonl:9: last line is torn"], records=whole.records[:40])
    found = " ".join(caveats(study(torn)))
    assert "40 of 64 planned trials are stored" in found
    assert "last line is torn" in found
    assert any("nothing is called faster" in text for text in caveats(study(made.one_round())))


def test_a_busy_machine_and_an_unsteady_start_are_said() -> None:
    def trouble(record: Record) -> Record:
        warmup = record.warmup.model_copy(update={"steady": False}) if record.warmup else None
        return record.model_copy(update={"load": (9.5, 9.9), "warmup": warmup})

    found = " ".join(caveats(study(made.synthetic_run(made.Shape(break_=trouble)))))
    assert "load average up to 9.50 on 2 cores" in plain(found)
    assert "not steady when the timed window opened in 60 trials" in plain(found)


def test_records_of_another_machine_or_run_are_said() -> None:
    run = made.synthetic_run(
        made.Shape(break_=lambda record: record.model_copy(update={"environment": "other", "resumed_from": "earlier"}))
    )
    found = plain(" ".join(caveats(study(run))))
    assert "60 trials were measured on a machine or environment with another key" in found
    assert "60 trials were taken over from earlier runs" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (times(1.618), "1.62×"),
        (times(0.8449), "0.84×"),
        (times(12.34), "12.3×"),
        (times(0.0123), "0.01×"),
        (times(0.9996), "1.00×"),
        (times(0.994), "0.99×"),
        (between(1.551, 1.699), "[1.55, 1.70]"),
        (between(1.5, None), ""),
        (duration(0.01843), "18.4 ms"),
        (duration(252), "4 min 12 s"),
        (duration(7500), "2 h 05 min"),
        (duration(0.00000085), "850 ns"),
        (duration(float("nan")), "–"),
        (size(226.2 * 2**20), "226 MiB"),
        (size(141.0 * 2**30), "141 GiB"),
        (rate(12345, "token"), "12.3 k tokens/s"),
        (rate(380.04, "image"), "380 images/s"),
        (rate(2_500_000, "token"), "2.50 M tokens/s"),
        (percent(0.0504), "5.0 %"),
        (digits(9.996), "10.0"),
        (digits(0), "0"),
        (digits(12345), "12,300"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([*"abcdefgh"], most=3), "a, b and 6 more"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_fast_cell_that_learned_less_is_not_called_the_same_loss() -> None:
    """Parity sees the first steps: a compression that starts to matter later shows in the held-out result."""

    def worse(record: Record) -> Record:
        if record.trial.strategy.label == "single":
            return record
        changed = [
            evaluation.model_copy(update={"metrics": {name: value * 0.9 for name, value in evaluation.metrics.items()}})
            for evaluation in record.evaluations
        ]
        return record.model_copy(update={"evaluations": changed})

    headline, _details = said(made.synthetic_run(made.Shape(workloads=("gpt",), break_=worse)))
    assert "same loss" not in headline
    assert ", held-out " in headline
    assert " against " in headline
    untouched, _details = said(made.synthetic_run(made.Shape(workloads=("gpt",))))
    assert "same loss" in untouched
