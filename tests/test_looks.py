"""What made pages ugly or untrue once: each rule with the page that it mended."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace

import pytest
from rich.console import Console

from harness.analyse.answer import all_alike, answers
from harness.analyse.frame import natural, trials_frame
from harness.analyse.quantity import digits, rate
from harness.analyse.study import study
from harness.report.chips import axes_and_look
from harness.report.data_line import data_line
from harness.report.learning_plane import band_opacity
from harness.report.look import HUES, look_of
from harness.report.page import build_page
from harness.report.progress import Matrix
from harness.report.proofs_table import proofs_table, shared_facts
from harness.report.tables import cells_table, environment
from harness.run.stored import StoredRun
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made
from tests.trials import a_trial

WARMED = {"constant(warmup_steps=20)": 1.6, "cosine(warmup_steps=20)": 1.5, "wsd(decay=0.3, warmup_steps=20)": 1.4}


def schedules(*more: str) -> StoredRun:
    ends = {name: {3e-3: recipes.seeds(end), 1e-2: recipes.seeds(end + 0.1)} for name, end in WARMED.items()}
    ends |= {name: {3e-3: recipes.seeds(1.7), 1e-2: recipes.seeds(1.8)} for name in more}
    baseline = {"schedule": {"name": "constant", "warmup_steps": 20}, "lr": 3e-3}
    return recipes.recipes_run(recipes.Recipes(ends=ends, key="schedule", baseline=baseline))


def test_options_that_most_recipes_share_are_said_once() -> None:
    run = schedules("onecycle")
    labels = set(trials_frame(run)["label"])
    assert {"wsd (lr 0.003, decay=0.3)", "constant (lr 0.01)", "onecycle (lr 0.01)"} <= labels
    whole = study(run)
    assert "warmup_steps=20.0 in 3 of 4 schedules" in data_line(whole, whole.groups[0]).replace("\u00a0", " ")
    assert build_page(run).count("warmup_steps=20") < 12, "in the line, the proofs and the suite"


def test_options_that_tell_recipes_apart_stay() -> None:
    labels = set(trials_frame(schedules("constant(warmup_steps=40)"))["label"])
    assert {"constant (lr 0.01, warmup_steps=20.0)", "constant (lr 0.01, warmup_steps=40.0)"} <= labels


def test_groups_stand_in_the_order_of_the_suite() -> None:
    run = made.synthetic_run(made.Shape(precisions={"fp32": 1.0}))
    shuffled = replace(run, records=run.records[::-1])
    labels = [group.label for group in study(run).groups]
    assert [group.label for group in study(shuffled).groups] == labels
    case = [{"workload": "resnet", "size": "nano"}, {"workload": "gpt", "size": "nano"}]
    suite = run.info.model_copy(update={"suite": {"case": case}})
    assert [group.label for group in study(replace(run, info=suite)).groups] == labels[::-1]
    assert sorted(["16 devices", "2 devices", "²"], key=natural) == ["2 devices", "16 devices", "²"]


def test_what_did_not_run_takes_no_hue() -> None:
    many = ["single", "dp", *(f"s{number}" for number in range(8))]
    look = look_of(many, idle=["dp"])
    assert look.slots["dp"] == HUES
    assert list(look.slots)[-1] == "dp"
    used = [slot for name, slot in look.slots.items() if name != "dp"]
    assert sorted(used)[:8] == list(range(8)), "all eight hues are used"
    assert look_of(many).slots["dp"] == 3, "where it runs it has its own"


def test_a_switch_or_a_shape_alone_is_left_out() -> None:
    alone = made.synthetic_run(made.Shape(workloads=("gpt",), truth={"single": 1.0}, precisions={"fp32": 1.0}))
    assert axes_and_look([study(alone)])[0] == []
    assert 'class="shapes"' not in build_page(alone)
    two = made.synthetic_run(made.Shape(workloads=("gpt",)))
    assert re.search('class="shapes"><li>● fp32</li><li>◆ bf16</li>', build_page(two)), "in the order of the shapes"


def test_held_out_values_that_are_alike_are_a_sentence() -> None:
    alike, apart = made.synthetic_run(made.Shape(workloads=("gpt",))), recipes.recipes_run()
    assert all_alike(study(alike).groups[0])
    figure = build_page(alike).split('id="r0g0-held-out"')[1].split("</figure>")[0]
    assert "<svg" not in figure
    assert re.search(r"Held-out loss after 30\s?steps is (nearly )?the same for all: ", figure.replace("\u00a0", " "))
    assert not all_alike(study(apart).groups[0])


def test_a_target_that_no_recipe_reached_is_a_sentence() -> None:
    ends = {name: {3e-3: recipes.seeds(end)} for name, end in {"adamw": 1.9, "lion": 2.0}.items()}
    html = build_page(recipes.recipes_run(recipes.Recipes(ends=ends, target=0.1)))
    figure = html.split('id="r0-learning-target"')[1].split("</figure>")[0]
    assert "No recipe reached it in any seed: they were watched for" in figure
    assert "<svg" not in figure
    reached = build_page(recipes.recipes_run()).split('id="r0-learning-target"')[1].split("</figure>")[0]
    assert "<svg" in reached


def test_what_is_no_less_than_the_baseline_is_not_called_less() -> None:
    run = made.compiled_run()
    texts = [text.replace("\u00a0", " ") for text in answers(study(run))[0].details]
    assert "No cell needs less memory than the baseline by 1 % or more: 46.0 MiB of tensors per device." in texts
    assert not any("1.00× the baseline" in text for text in texts)


def test_a_cell_alone_is_compared_with_nothing() -> None:
    whole = study(made.one_cell())
    titles = [column.title for column in cells_table(whole.groups[0], look_of(["single"]), "t").columns]
    assert not {"verdict", "speed", "interval"} & set(titles)
    several = study(made.synthetic_run(made.Shape(workloads=("gpt",))))
    table = cells_table(several.groups[0], look_of(["single"]), "t")
    assert {"verdict", "speed", "interval"} <= {column.title for column in table.columns}
    for at in range(len(table.columns)):
        assert {row.cells[at] for row in table.rows} != {"–"}, "no column is empty"


def test_what_cannot_run_here_has_no_row_in_pictures() -> None:
    run = made.broken_run()
    off = {str(label) for label in study(run).unsupported["main"]}
    assert off
    html = build_page(run)
    forest = html.split('id="r0g0-ratios"')[1].split("</figure>")[0]
    assert not [label for label in off if f">{label}</text>" in forest]
    assert "out of memory" in forest, "what failed has one"
    assert all(f"<td>{label}" in html for label in off), "the table names it"


def test_legends_hold_the_colours_that_are_drawn() -> None:
    html = build_page(made.synthetic_run(made.Shape(workloads=("gpt",))))
    parts = html.split('id="r0g0-parts"')[1].split("</figure>")[0]
    assert "backward" in parts
    assert "forward and backward in turn" not in parts, "only a pipeline has that"


def test_bytes_of_the_environment_are_read_by_people() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",)))
    told = run.info.model_copy(
        update={"environment": {"memory_bytes": 25276510208, "accelerator_memory_bytes": [2**34]}}
    )
    found = dict(environment(study(replace(run, info=told))))
    assert {key: value.replace("\u00a0", " ") for key, value in found.items()} == {
        "memory_bytes": "23.5 GiB",
        "accelerator_memory_bytes": "16.0 GiB",
    }


@pytest.mark.parametrize(("value", "text"), [(-0.19, "−0.190"), (-9.996, "−10.0"), (-1234.5, "−1,230"), (0.0, "0")])
def test_below_zero_stands_a_minus_sign(value: float, text: str) -> None:
    assert digits(value) == text


def test_units_have_no_underscores() -> None:
    assert rate(11.2, "audio_second").replace("\u00a0", " ") == "11.2 audio seconds/s"


def test_the_more_bands_the_less_opaque() -> None:
    assert band_opacity(1) > band_opacity(4) > band_opacity(8) > 0


@pytest.mark.parametrize("width", [60, 100, 160])
def test_heads_of_the_live_matrix_are_whole(width: int) -> None:
    """Negative control: the names of its cells are longer than a narrow terminal."""
    trials = [a_trial(strategy={"name": "fsdp", "reshard_after_forward": False, "cpu_offload": True}, repeat=number)
              for number in range(3)]  # fmt: skip
    assert len(trials[0].label) > 60 - len("rounds  samples/s")
    console = Console(file=io.StringIO(), width=width, height=20)
    console.print(Matrix(trials))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "rounds" in shown
    assert "samples/s" in shown
    assert "fp32" in shown, "a name that is cut keeps its end"


def test_facts_that_all_cells_share_are_said_once_and_never_one_that_failed() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), precisions={"fp32": 1.0}))
    whole = study(run)
    shared = shared_facts(whole)
    assert shared == ["compute_dtype fp32"]
    rows = proofs_table(whole, look_of(["single"]), "t").rows
    assert not any("compute_dtype" in row.cells[-1] for row in rows)
    assert all("world_size" in row.cells[-1] for row in rows), "that differs between cells"
    wrong = [
        record.model_copy(update={"applied": [fact.model_copy(update={"ok": False}) for fact in record.applied]})
        for record in run.records
    ]
    broken = study(replace(run, records=wrong))
    assert shared_facts(broken) == []
    assert all("(asked" in row.cells[-1] for row in proofs_table(broken, look_of(["single"]), "t").rows)


def test_one_target_is_drawn_only_where_all_cells_have_it() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), precisions={"fp32": 1.0}))
    facts = next(iter(run.info.workloads.values()))
    known = {"gpt/nano": facts | {"target": 1.5}, "gpt/micro": facts | {"target": 1.25}}
    sized = [
        record.model_copy(update={"trial": record.trial.model_copy(update={"size": size})})
        for record, size in zip(run.records, itertools.cycle(("nano", "micro")), strict=False)
    ]
    info = run.info.model_copy(update={"group_keys": [], "compared_keys": ["size"], "workloads": known})
    alike = study(replace(run, info=info, records=[r for r in sized if r.trial.size == "nano"]))
    apart = study(replace(run, info=info, records=sized))
    found = [each.groups[0].held_out for each in (alike, apart)]
    assert [held.target for held in found if held is not None] == [1.5, None]
    assert "target: loss 1.50 ·" in data_line(alike, alike.groups[0])
    assert "target: loss 1.25 to 1.50, by size" in data_line(apart, apart.groups[0])
