"""The words: hashes that tell what is the same, records that read back, schema files that are up to date."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.schema.export import SCHEMAS, schema_text
from harness.schema.metrics import METRICS, metric
from harness.schema.record import Record, Status
from harness.schema.registry import Registry
from harness.schema.suite import AXES, Choice, Grid, Recipe, Settings, Suite
from harness.schema.trial import Plugin, Trial
from tests.trials import a_record, a_run_info, a_series, a_trial

REPOSITORY = Path(__file__).parent.parent
SUITES = sorted((REPOSITORY / "benchmarks" / "suites").glob("*.toml"))


# JSON schema files


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_schema_files_are_up_to_date(name: str) -> None:
    committed = (REPOSITORY / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")
    assert committed == schema_text(name), "run: python -m harness.schema docs/schema"


def test_the_command_writes_the_files_and_says_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.schema", str(tmp_path / "new")], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"{name}.json" for name in SCHEMAS}


def fits(name: str, content: Any) -> bool:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(content))


def test_suites_fit_their_schema_file() -> None:
    assert SUITES
    for path in SUITES:
        content = tomllib.loads(path.read_text())
        assert fits("suite", content), path
        assert not fits("suite", {**content, "bugdet": {}}), "control: a wrong key"
        assert not fits("suite", {**content, "fixed": {"steps": "30"}}), "control: a wrong type"
        assert not fits("suite", {**content, "fixed": {"strategy": {"depth": 3}}}), "control: options without a name"
        assert fits("suite", {**content, "fixed": {"recipe": {"clip": "off"}}})


def test_what_the_harness_writes_fits_its_schema_files() -> None:
    trial = a_trial(strategy={"name": "fsdp", "reshard_after_forward": False})
    written = {
        "trial": trial.model_dump_json(),
        "record": a_record(trial).to_line(),
        "run": a_run_info().model_dump_json(by_alias=True),
        "steps": a_series(trial).model_dump_json(by_alias=True),
    }
    for name, text in written.items():
        content = json.loads(text)
        assert fits(name, content), name
        first = next(iter(content))
        assert not fits(name, {**content, first: {"not": "this"}}), f"control: {name}.{first}"


# Content hashes


def test_hashes_are_the_same_in_every_process_and_after_a_round_trip() -> None:
    trial = a_trial()
    assert Trial.model_validate_json(trial.model_dump_json()) == trial
    assert Trial.model_validate_json(trial.model_dump_json()).id == trial.id
    script = "from tests.trials import a_trial; print(a_trial().id, a_trial().cell)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split() == [trial.id, trial.cell]


def test_seed_and_repeat_set_trials_apart_but_not_cells() -> None:
    trial = a_trial()
    for change in ({"seed": 1}, {"repeat": 1}):
        assert a_trial(**change).cell == trial.cell
        assert a_trial(**change).id != trial.id


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": {"name": "ddp", "static_graph": True}},
        {"techniques": ["checkpointing"]},
        {"recipe": Recipe(lr=1e-3)},
        {"steps": 5},
        {"warmup_steps": 3},
        {"eval_every": 0},
        {"device_slots": 4},
        {"kind": "reference"},
        {"plugins": (Plugin(path="a.py", sha256="1"),)},
    ],
)
def test_all_that_changes_what_is_measured_changes_the_cell(change: dict[str, Any]) -> None:
    assert a_trial(**change).cell != a_trial().cell


def test_what_does_not_change_what_is_measured_does_not() -> None:
    assert a_trial(timeout_s=1.0).id == a_trial().id
    here, there = (a_trial(plugins=(Plugin(path=path, sha256="1"),)) for path in ("a.py", "b/a.py"))
    assert here.id == there.id, "the plug-in's content counts, not its place"


# Suites and records


def test_a_choice_is_written_as_it_was_given() -> None:
    for value in ("fsdp", {"name": "fsdp", "reshard_after_forward": False}):
        assert Choice.model_validate(value).model_dump() == value
    assert Choice.model_validate({"name": "x", "b": True, "a": 1.5}).label == "x(a=1.5, b=true)"


def test_grid_and_settings_have_the_same_keys() -> None:
    assert tuple(Grid.model_fields) == AXES == tuple(Settings.model_fields)


def test_clipping_that_is_off_survives_json() -> None:
    recipe = Recipe.model_validate({"clip": "off"})
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert (again, again.clips) == (recipe, False)
    assert Recipe(clip=1.0).clips


@pytest.mark.parametrize("metrics", [{"spledour": 1.0}, {"step_s": float("nan")}, {"step_s": float("inf")}])
def test_a_record_takes_no_metric_that_is_unknown_or_not_finite(metrics: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        a_record(metrics=metrics)


def test_a_record_is_one_line_and_reads_back() -> None:
    record = a_record(status=Status.CRASHED, reason="two\nlines “and” more\u2028")
    line = record.to_line()
    assert "\n" not in line
    assert Record.model_validate_json(line) == record
    assert json.loads(line)["schema"] == 1


def test_metrics_by_name_and_by_pattern() -> None:
    assert metric("step_s").unit == "s"
    assert metric("tokens_per_s") is METRICS["<unit>s_per_s"]
    assert metric("eval_accuracy") is METRICS["eval_<metric>"]
    assert metric("samples_per_s").name == "samples_per_s"
    for unknown in ("eval_", "step", "speed", "s_per_s"):
        with pytest.raises(KeyError):
            metric(unknown)


def test_every_metric_is_explained() -> None:
    for name, known in METRICS.items():
        assert known.name == name
        assert known.definition.endswith(".")
        assert known.unit or known.pattern


@given(st.text(max_size=30), st.dictionaries(st.text(min_size=1, max_size=5), st.one_of(st.booleans(), st.integers())))
def test_hashes_hold_for_any_name_and_option(size: str, options: dict[str, Any]) -> None:
    trial = a_trial(size=size, strategy={"name": "x", "options": options})
    assert Trial.model_validate_json(trial.model_dump_json(exclude={"strategy"})[:-1] + "," + json.dumps(
        {"strategy": {"name": "x", "options": options}})[1:]).id == trial.id  # fmt: skip


# Registries


def an_option(model: object, *, count: int, rate: float = 0.5, kind: str | None = None) -> None:
    """Take options."""


def test_options_are_checked_by_name_type_and_presence() -> None:
    registry: Registry[Any] = Registry("thing", "harness.schema", type("Facts", (), {}), "none")
    registry._loaded = True
    registry.register("x")(an_option)
    check = registry["x"].check
    assert check({"count": 1, "rate": 2, "kind": None}, "f:1", "k") == []
    assert [str(each) for each in check({"count": 1, "rat": 2}, "f:1", "k")] == [
        "f:1: k.rat: found 2, expected an option of x: count, rate, kind (did you mean 'rate'?)"
    ]
    assert [str(each) for each in check({}, "f:1", "k")] == ["f:1: k.count: expected a value: x has no default for it"]
    for wrong in ({"count": "1"}, {"count": True}, {"count": 1.0}, {"count": 1, "rate": "2"}, {"count": 1, "kind": 3}):
        assert len(check(wrong, "f:1", "k")) == 1, wrong


def test_a_suite_reads_back_as_it_was_given() -> None:
    for path in SUITES:
        suite = Suite.model_validate(tomllib.loads(path.read_text()))
        assert Suite.model_validate(suite.model_dump(mode="json", exclude_unset=True)) == suite
