"""Screen and confirm: what looks like anything is confirmed, what fails is not, and each stage is judged by itself."""

from __future__ import annotations

from harness.analyse.screen import judge_stages, to_confirm
from tests.test_compare import flagged, side


def arms(b: float, rounds: int = 6, **changes: object) -> dict[str, list]:  # type: ignore[type-arg]
    shared = {"rounds": rounds, "cells": 3, **changes}
    return {"a": side(own=1, **shared), "b": side(own=2, slower=b, **shared), "null": side(own=3, **shared)}


def test_what_is_slower_is_confirmed() -> None:
    assert to_confirm(arms(1.10)) == {"c0", "c1", "c2"}


def test_most_of_what_is_the_same_is_not() -> None:
    chosen = [len(to_confirm(arms(1.0, seed=seed))) for seed in range(10)]
    assert sum(chosen) < 0.75 * 30


def test_what_failed_needs_no_more_rounds() -> None:
    found = arms(1.10)
    found["b"] = [item.model_copy(update={"status": "CRASHED"}) for item in found["b"]]
    assert to_confirm(found) == set()


def test_each_stage_is_corrected_for_its_own_comparisons() -> None:
    confirmed = {arm: [i for i in items if i.cell == "c0"] for arm, items in arms(1.04, rounds=20).items()}
    many = {arm: side(own=own, rounds=6, cells=60, seed=9) for own, arm in enumerate(("a", "b", "null"), start=1)}
    many = {
        arm: [i.model_copy(update={"cell": f"other {i.cell}"}) for i in items if i.cell != "c0"]
        for arm, items in many.items()
    }
    together = judge_stages(many, confirmed)
    assert [(each.cell, each.metric) for each in flagged(together)] == [("c0", "step_cpu_s")]
    alone = next(each for each in judge_stages({arm: [] for arm in confirmed}, confirmed) if each.p is not None)
    assert alone.p == next(each.p for each in together if each.cell == "c0" and each.p is not None)


def test_a_counted_figure_of_the_first_round_is_enough() -> None:
    found = arms(1.0)
    for arm, items in found.items():
        bytes_ = 1000.0 if arm != "b" else 1100.0
        found[arm] = [
            i.model_copy(
                update={
                    "metrics": {"step_cpu_s": i.metrics["step_cpu_s"]}
                    | ({"communicated_bytes": bytes_} if not n % 6 else {})
                }
            )
            for n, i in enumerate(items)
        ]
    words = {
        each.verdict for each in judge_stages(found, {arm: [] for arm in found}) if each.metric == "communicated_bytes"
    }
    assert words == {"regressed"}
