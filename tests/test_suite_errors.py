"""Suites: what is wrong is said with file, line, key, value, what was expected and the nearest name, all at once."""

# ruff: noqa: E501  (messages stand as one line, as a person sees them)
from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.run import locate
from harness.run.cells import cells_of
from harness.run.spec import load_suite, with_overrides
from harness.schema.errors import InputError
from harness.schema.suite import Budget
from tests.toys import toys

BUDGET_KEYS = ", ".join(Budget.model_fields)

pytestmark = pytest.mark.usefixtures("toys")
__all__ = ["toys"]

GOOD = """\
question = "Which is fastest?"
baseline = { strategy = "single", precision = "fp32" }

[fixed]
workload = "toy"
size = "nano"
global_batch = 16
micro_batch = 8
devices = 2
recipe = { optimizer = "adam", lr = 3e-3, schedule = "cosine", clip = "off" }

[grid]
strategy = ["single", "ddp", { name = "ddp", depth = 3 }]
precision = ["fp32", "bf16"]
techniques = [[], ["checkpointing"], "compiled"]

[budget]
repeats = 2
seeds = [0, 1]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def complaints(folder: Path, text: str) -> list[str]:
    """What is said of a suite, one line per problem, without the folder; empty: it is valid."""
    path = write(folder, text)
    try:
        load_suite(path)
    except InputError as error:
        return [str(problem).replace(str(path), "suite.toml") for problem in error.problems]
    return []


def test_a_good_suite_is_read(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    assert suite.question == "Which is fastest?"
    assert suite.grid.strategy is not None
    assert [choice.label for choice in suite.grid.strategy] == ["single", "ddp", "ddp(depth=3)"]
    assert suite.grid.techniques is not None
    assert [[choice.name for choice in each] for each in suite.grid.techniques] == [[], ["checkpointing"], ["compiled"]]
    assert suite.fixed.recipe is not None
    assert not suite.fixed.recipe.clips
    assert (suite.budget.repeats, suite.budget.trial_timeout_s) == (2, 300)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # wrong keys
        ("[budget]", "[bugdet]", "suite.toml:17: bugdet: found {'repeats': 2, 'seeds': [0, 1]}, expected one of question, baseline, fixed, grid, case, exclude, include, budget (did you mean 'budget'?)"),
        ("micro_batch = 8", "microbatch = 8", "suite.toml:8: fixed.microbatch: found 8, expected one of workload, size, strategy, precision, techniques, recipe, global_batch, batch_per_device, micro_batch, steps, warmup_steps, eval_every, devices, device (did you mean 'micro_batch'?)"),
        ("lr = 3e-3", "learning_rate = 3e-3", "suite.toml:10: fixed.recipe.learning_rate: found 0.003, expected one of optimizer, lr, schedule, weight_decay, clip, regularizers"),
        ("repeats = 2", "rounds = 2", f"suite.toml:18: budget.rounds: found 2, expected one of {BUDGET_KEYS}"),
        ('question = "Which is fastest?"', "", "suite.toml:1: question: expected a value: it must be given"),
        # wrong names
        ('"ddp", {', '"dpd", {', "suite.toml:13: grid.strategy[1]: found 'dpd', expected one of ddp, dp, grid4, single (did you mean 'dp'?)"),
        ('name = "ddp"', 'name = "ddpp"', "suite.toml:13: grid.strategy[2].name: found 'ddpp', expected one of ddp, dp, grid4, single (did you mean 'ddp'?)"),
        ("depth = 3", "dept = 3", "suite.toml:13: grid.strategy[2].dept: found 3, expected an option of ddp: depth, fast (did you mean 'depth'?)"),
        ('"compiled"', '"complied"', "suite.toml:15: grid.techniques[2]: found 'complied', expected one of checkpointing, compiled (did you mean 'compiled'?)"),
        ('["checkpointing"]', '["checkpoint"]', "suite.toml:15: grid.techniques[1][0]: found 'checkpoint', expected one of checkpointing, compiled (did you mean 'checkpointing'?)"),
        ('optimizer = "adam"', 'optimizer = "adamm"', "suite.toml:10: fixed.recipe.optimizer: found 'adamm', expected one of adam, down (did you mean 'adam'?)"),
        ('size = "nano"', 'size = "nanno"', "suite.toml:6: fixed.size: found 'nanno', expected one of nano, mini (did you mean 'nano'?)"),
        ('precision = "fp32" }', 'precision = "fp23" }', "suite.toml:2: baseline.precision: found 'fp23', expected one of bf16, fp32 (did you mean 'fp32'?)"),
        # wrong types and values
        ("devices = 2", 'devices = "2"', "suite.toml:9: fixed.devices: found '2', expected a valid integer or 'auto'"),
        ("micro_batch = 8", "micro_batch = true", "suite.toml:8: fixed.micro_batch: found True, expected a valid integer or 'max'"),
        ("micro_batch = 8", "micro_batch = 8.0", "suite.toml:8: fixed.micro_batch: found 8.0, expected a valid integer or 'max'"),
        ("micro_batch = 8", "micro_batch = 0", "suite.toml:8: fixed.micro_batch: found 0, expected greater than 0 or 'max'"),
        ("micro_batch = 8", 'micro_batch = "maximum"', "suite.toml:8: fixed.micro_batch: found 'maximum', expected a valid integer or 'max' (did you mean 'max'?)"),
        ("repeats = 2", 'memory_limit = "12 apples"', "suite.toml:18: budget.memory_limit: found '12 apples', expected a size above 0 with its unit (KiB, MiB, GiB, KB, MB, GB), for example '512MiB'"),
        ("repeats = 2", "memory_limit = 512", "suite.toml:18: budget.memory_limit: found 512, expected a size above 0 with its unit (KiB, MiB, GiB, KB, MB, GB), for example '512MiB'"),
        ("repeats = 2", 'memory_limit = "0 GB"', "suite.toml:18: budget.memory_limit: found '0 GB', expected a size above 0 with its unit (KiB, MiB, GiB, KB, MB, GB), for example '512MiB'"),
        ("lr = 3e-3", "lr = inf", "suite.toml:10: fixed.recipe.lr: found inf, expected a finite number"),
        ("lr = 3e-3", 'lr = "big"', "suite.toml:10: fixed.recipe.lr: found 'big', expected a valid number"),
        ("depth = 3", 'depth = "3"', "suite.toml:13: grid.strategy[2].depth: found '3', expected a valid integer"),
        ("depth = 3", "depth = [3]", "suite.toml:13: grid.strategy[2].depth: found [3], expected a valid integer"),
        ('"single", "ddp", {', '7, "ddp", {', "suite.toml:13: grid.strategy[0]: found 7, expected a name, or a table "
         '{ name = "…", option = … }'),
        ('precision = ["fp32", "bf16"]', 'precision = "fp32"', "suite.toml:14: grid.precision: found 'fp32', expected a list"),
        ("seeds = [0, 1]", "seeds = []", "suite.toml:19: budget.seeds: found [], expected at least 1 item"),
        ("devices = 2", 'devices = 2\ndevice = "cud"', "suite.toml:10: fixed.device: found 'cud', expected 'auto', 'cpu', 'cuda', 'xpu' or 'mps' (did you mean 'cuda'?)"),
        ("devices = 2", "devices = 2024-01-01", "suite.toml:9: fixed.devices: found '2024-01-01', expected a valid integer or 'auto'"),
        ("[grid]", '[grid]\ndevices = "power"', "suite.toml:13: grid.devices: found 'power', expected a list or 'powers' (did you mean 'powers'?)"),
        ("devices = 2", 'devices = "powers"', "suite.toml:9: fixed.devices: found 'powers', expected a valid integer or 'auto'; 'powers' stands in [grid]"),
        # what does not fit together
        ("micro_batch = 8", "micro_batch = 8\nbatch_per_device = 8", "suite.toml:9: fixed.batch_per_device: found 8, expected either this or fixed.global_batch at suite.toml:7, not both"),
        ("[budget]", "[[include]]\nbatch_per_device = 8\n[budget]", "suite.toml:18: include[0].batch_per_device: found 8, expected either this or fixed.global_batch at suite.toml:7, not both"),
        ("[grid]", "[grid]\nbatch_per_device = [8]", "suite.toml:13: grid.batch_per_device[0]: found 8, expected either this or fixed.global_batch at suite.toml:7, not both"),
        ("global_batch = 16", "batch_per_device = 12", "suite.toml:8: fixed.micro_batch: found 8, expected a combination that can run: micro_batch 8 × 2 devices does not divide global_batch 24"),
        ("global_batch = 16", "global_batch = 24", "suite.toml:8: fixed.micro_batch: found 8, expected a combination that can run: micro_batch 8 × 2 devices does not divide global_batch 24"),
        ("devices = 2", "devices = 1", "suite.toml:9: fixed.devices: found 1, expected a combination that can run: ddp needs at least 2 devices, there is 1"),
        ("devices = 2\n", "", ""),
        ('workload = "toy"\n', "", "suite.toml:4: fixed.workload: expected one of needy, other, toy: every cell needs a workload"),
        ('precision = ["fp32", "bf16"]', "precision = []", "suite.toml:14: grid.precision: found [], expected at least one value"),
        ('size = "nano"', 'size = "nano"\nprecision = "fp32"', "suite.toml:15: grid.precision: expected either this or fixed.precision at suite.toml:7, not both"),
        ("[budget]", '[[case]]\nprecision = "fp32"\n[budget]', "suite.toml:18: case[0].precision: expected either this or grid.precision at suite.toml:14, not both"),
        ('strategy = "single", precision', 'strategy = "dp", precision', "suite.toml:2: baseline: found {'strategy': 'dp', 'precision': 'fp32'}, expected values that at least one cell has"),
        ("[budget]", '[[exclude]]\nstrategy = "dp"\n[budget]', "suite.toml:17: exclude[0]: found {'strategy': 'dp'}, expected values that at least one cell has"),
        ('[budget]', '[[include]]\nworkload = "other"\nsize = "nano"\n[budget]', "suite.toml:19: include[0].size: found 'nano', expected a size of other: tiny"),
        ('workload = "toy"\nsize = "nano"', 'workload = "needy"', "suite.toml:5: fixed.workload: found 'needy', expected the package a_package_nobody_has that it needs: pip install a_package_nobody_has"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert complaints(tmp_path, GOOD.replace(old, new)) == ([message] if message else [])


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("micro_batch = 8", 'micro_batch = "8"').replace('"ddp", {', '"dpd", {')
    text = text.replace("repeats = 2", "repeets = 2").replace('"adam"', '"adm"').replace('"nano"', '"nan"')
    found = complaints(tmp_path, text)
    assert [line.split(": ")[1] for line in found] == [
        "fixed.size",
        "fixed.micro_batch",
        "fixed.recipe.optimizer",
        "grid.strategy[1]",
        "budget.repeets",
    ]


def test_a_cell_that_does_not_fit_is_no_mistake_while_others_of_its_strategy_do(tmp_path: Path) -> None:
    both = GOOD.replace("global_batch = 16\n", "").replace("[grid]", "[grid]\nglobal_batch = [8, 16]")
    assert complaints(tmp_path, both) == []
    neither = both.replace("[8, 16]", "[8, 24]")
    assert len(complaints(tmp_path, neither)) == 2, "one for each batch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question = ", "suite.toml:1: expected valid TOML (Invalid value at the end)"),
        (
            'question = "q"\n[fixed\n',
            "suite.toml:2: expected valid TOML (Expected ']' at the end of a table declaration)",
        ),
        ('question = "q"\n\nquestion = "r"\n', "suite.toml:3: expected valid TOML (Cannot overwrite a value)"),
        ("x = " + "[" * 5000, "suite.toml: expected valid TOML (nested too deep)"),
        ("", "suite.toml:1: question: expected a value: it must be given"),
    ],
)
def test_text_that_is_no_toml(tmp_path: Path, text: str, message: str) -> None:
    assert complaints(tmp_path, text) == [message]


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, f"question = {'9' * 5000}")
    assert found.startswith("suite.toml: expected valid TOML (Exceeds the limit")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "missing.toml", "a suite file that can be read (No such file or directory)"),
        (tmp_path, "a suite file that can be read (Is a directory)"),
        (tmp_path / "missing" / "x.toml", "a suite file that can be read (No such file or directory)"),
    ):
        with pytest.raises(InputError) as caught:
            load_suite(path)
        assert str(caught.value) == f"{path}: expected {message}"
    (tmp_path / "latin.toml").write_bytes(b'question = "q"\n# caf\xe9\n')
    with pytest.raises(InputError, match=r"latin.toml:2: found b'\\xe9\\n', expected text in UTF-8"):
        load_suite(tmp_path / "latin.toml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_suite(path).budget.repeats == 2
    path.write_bytes(GOOD.replace("micro_batch", "microbatch").replace("\n", "\r\n").encode())
    with pytest.raises(InputError, match=r"suite\.toml:8: fixed\.microbatch"):
        load_suite(path)


def test_powers_are_checked_without_the_machine(tmp_path: Path) -> None:
    text = GOOD.replace("devices = 2\n", "").replace("[grid]", '[grid]\ndevices = "powers"')
    assert complaints(tmp_path, text) == []
    assert complaints(tmp_path, text.replace("[budget]", "[[exclude]]\ndevices = 6\n[budget]")) == []
    (never,) = complaints(
        tmp_path, text.replace("global_batch = 16", "global_batch = 8").replace(', { name = "ddp", depth = 3 }', "")
    )[:1]
    assert never.startswith(
        "suite.toml:8: fixed.micro_batch: found 8, expected a combination that can run: micro_batch 8"
    )
    by_cell = text.replace("[budget]", '[[case]]\ndevice = "cpu"\n[budget]')
    assert complaints(tmp_path, by_cell) == [
        "suite.toml:18: case[0].device: found 'cpu', expected to stand in [fixed]: grid.devices = \"powers\" counts the devices of one kind"
    ]


# Overrides of the command line


def test_overrides_win_wherever_the_suite_says_devices(tmp_path: Path) -> None:
    text = GOOD.replace("devices = 2\n", "").replace("[grid]", "[grid]\ndevices = [2, 4]").replace("= 16", "= 32")
    suite = with_overrides(load_suite(write(tmp_path, text)), repeats=7, devices=4)
    assert (suite.budget.repeats, suite.fixed.devices, suite.grid.devices) == (7, 4, None)
    assert with_overrides(suite) == suite


def test_devices_on_which_a_strategy_can_never_run_are_refused(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    with pytest.raises(InputError, match=r"^--devices: found 1, .*: ddp needs at least 2 devices, there is 1$"):
        with_overrides(suite, devices=1)
    with pytest.raises(
        InputError, match=r"^--devices: found 3, .*: micro_batch 8 × 3 devices does not divide global_batch 16$"
    ):
        with_overrides(suite, devices=3)


# Lines


TRICKY = '''\
# a comment with [brackets] and "quotes"
a = 1  # = 2
"b.c" = { x = [1, 2,
], "y z" = 'it = "1"' }
d.e.f = """
[not.a.table]
g = 1
"""
h = [ # comment ]
  "one]",  # two
  [ 3, { i = 4 } ],

  """five
  six""", 7,
]
[j.k]
l = 1979-05-27 07:32:00
[[m]]
[m.n]
o = 1
[[m]]
[[m.p]]
q = '\\'
[[m.p]]
r = "\\"]"
[ "s t" . u ]
v = ""
'''


def test_lines_of_everything_toml_allows() -> None:
    lines = locate.lines_of(TRICKY)
    expected: dict[locate.Path, int] = {
        ("a",): 2,
        ("b.c", "x", 1): 3,
        ("b.c", "y z"): 4,
        ("d", "e", "f"): 5,
        ("h",): 9,
        ("h", 0): 10,
        ("h", 1, 1, "i"): 11,
        ("h", 2): 13,
        ("h", 3): 14,
        ("j", "k"): 16,
        ("j", "k", "l"): 17,
        ("m", 0): 18,
        ("m", 0, "n", "o"): 20,
        ("m", 1): 21,
        ("m", 1, "p", 0, "q"): 23,
        ("m", 1, "p", 1, "r"): 25,
        ("s t", "u", "v"): 27,
    }
    assert {path: lines.get(path) for path in expected} == expected


def leaves(value: Any, path: locate.Path = ()) -> list[locate.Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [found for key, item in items for found in [(*path, key), *leaves(item, (*path, key))]]


def test_every_key_that_python_reads_has_a_line() -> None:
    for text in (TRICKY, GOOD):
        lines = locate.lines_of(text)
        assert set(leaves(tomllib.loads(text))) <= set(lines)


def test_an_unknown_path_falls_back_to_what_encloses_it() -> None:
    lines = locate.lines_of(TRICKY)
    assert locate.line_at(lines, ("m", 1, "p", 1, "r", "deeper", 3)) == 25
    assert locate.line_at(lines, ("m", 1, "nothing")) == 21
    assert locate.line_at(lines, ("nothing",)) == 1


def test_paths_for_people() -> None:
    assert locate.dotted(("grid", "strategy", 2, "name")) == "grid.strategy[2].name"


# Whatever stands in the file

words = st.sampled_from(["question", "fixed", "grid", "case", "recipe", "workload", "strategy", "techniques", "size",
                         "name", "toy", "ddp", "optimizer", "devices", "options", "exclude", "include", "baseline"])  # fmt: skip
values = st.recursive(
    st.one_of(words, st.integers(-2, 9), st.booleans(), st.floats(allow_nan=False), st.just("")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.dictionaries(words, values, max_size=5))
@example({"fixed": {"workload": ["toy"], "size": "nano"}})
@example({"question": "q", "fixed": {"workload": {"name": "toy", "options": {"depth": 1}}}})
def test_any_content_is_read_or_refused_with_a_line(tmp_path: Path, content: dict[str, Any]) -> None:
    text = "".join(f"{key} = {as_toml(value)}\n" for key, value in content.items())
    assert tomllib.loads(text) or not content
    for line in complaints(tmp_path, text):
        assert line.startswith("suite.toml:")
        assert "\n" not in line


# recipes: a table of lists, laid over what is fixed

TABLE = GOOD.replace(
    "[grid]\n", "[grid]\nrecipe = { optimizer = ['adam', { name = 'down', depth = 3 }], lr = [1e-3, 1e-2] }\n"
).replace('optimizer = "adam", lr = 3e-3, ', "")


def test_table_of_recipes_is_every_combination_over_what_is_fixed(tmp_path: Path) -> None:
    cells = cells_of(load_suite(write(tmp_path, TABLE)))
    recipes = list(dict.fromkeys(cell.recipe for cell in cells))
    assert [recipe.label for recipe in recipes] == [
        "adam lr 0.001 cosine", "adam lr 0.01 cosine", "down(depth=3) lr 0.001 cosine", "down(depth=3) lr 0.01 cosine",
    ]  # fmt: skip
    assert all(not recipe.clips for recipe in recipes), "fixed.recipe holds for all"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("'down', depth", "'down', dept", "suite.toml:13: grid.recipe.optimizer[1].dept: found 3, expected an option of down: depth, fast (did you mean 'depth'?)"),
        ("['adam'", "['adma'", "suite.toml:13: grid.recipe.optimizer[0]: found 'adma', expected one of adam, down (did you mean 'adam'?)"),
        ("1e-2]", "0.0]", "suite.toml:13: grid.recipe.lr[1]: found 0.0, expected greater than 0"),
        ("lr = [", "rate = [", "suite.toml:13: grid.recipe.rate: found [0.001, 0.01], expected one of optimizer, lr, schedule, weight_decay, clip, regularizers"),
        ("lr = [1e-3, 1e-2]", "lr = 1e-3", "suite.toml:13: grid.recipe.lr: found 0.001, expected a list"),
        ("lr = [1e-3, 1e-2]", "clip = [1.0]", "suite.toml:13: grid.recipe: expected either this or fixed.recipe at suite.toml:10, not both"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table_of_recipes_are_said_at_their_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    assert before in TABLE
    assert said in complaints(tmp_path, TABLE.replace(before, after))
