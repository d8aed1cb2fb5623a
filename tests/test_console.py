"""The run in the terminal: the answer, a table per group, failures; nothing that a terminal would obey."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.report.console import run_summary
from harness.report.listing import table
from harness.run.stored import StoredRun
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made


def shown(run: StoredRun, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    console.print(run_summary(run))
    return console.file.getvalue().replace("\u00a0", " ")  # type: ignore[attr-defined]


def plain(run: StoredRun, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(run_summary(run))
    return console.file.getvalue().replace("\u00a0", " ")  # type: ignore[attr-defined]


def test_the_answer_then_the_ranking_then_the_failures() -> None:
    text = plain(made.broken_run())
    order = [
        text.index(part)
        for part in ("ddp fp32 is 1.63× single fp32 [1.60, 1.67]", "× baseline", "OOM gpt/nano ddp bf16")
    ]
    assert order == sorted(order)
    assert "79.4 k tokens/s" in text
    assert "harness rerun" in text
    assert "not supported here" in text


@pytest.mark.parametrize("make", [made.only_failures, made.one_cell, made.one_round, made.with_holes])
def test_every_run_can_be_shown(make: object) -> None:
    text = plain(make())  # type: ignore[operator]
    assert "For gpt/nano on" in text
    assert "nan" not in re.findall(r"[a-z]+", text)


def test_it_fits_a_narrow_terminal() -> None:
    assert max(len(line) for line in plain(made.broken_run(), width=80).splitlines()) <= 80


@pytest.mark.parametrize("width", [60, 100, 160])
@pytest.mark.parametrize("make", [made.broken_run, recipes.recipes_run])
def test_names_and_verdicts_stand_in_the_table_at_any_width(make: Callable[[], StoredRun], width: int) -> None:
    run = make()
    lines = plain(run, width).splitlines()
    heads = [line for line in lines if "verdict" in line]
    assert heads
    assert "…" not in heads[0]
    assert any(line.strip().startswith(("ddp fp32", "adamw")) for line in lines)
    assert max(cell_len(line) for line in lines) <= width
    if width != 100:
        assert ("ok" in heads[0] or "seeds" in heads[0]) == (width == 160), "what is needed least is left out"


def test_markup_and_control_characters_of_records_are_shown_not_obeyed() -> None:
    text = shown(made.with_text(made.one_round(), ["[red]x[/red]\x1b]0;title\x07", "[link=file:///etc]y[/link]"]))
    assert r"[red]x[/red]\x1b]0;title\x07" in text
    assert "\x07" not in text
    assert "\x1b]8" not in text, "no link is made of it"


def test_rows_show_brackets_as_they_are() -> None:
    """A command that installs an extra must reach the person whole: to rich, `[optimizers]` is markup."""
    command = "pip install 'dynamometer[optimizers]' [/nothing]"
    console = Console(file=io.StringIO(), width=200)
    console.print(table([{"what": command}]))
    assert command in console.file.getvalue()  # type: ignore[attr-defined]


def test_very_many_cells_are_cut() -> None:
    text = plain(made.many_cells(100))
    assert "70 more" in text
    assert len(text.splitlines()) < 60


def test_an_empty_run() -> None:
    run = made.one_cell()
    run.records.clear()
    assert "0 of 3 planned trials" in plain(run)
