"""The rules of the house, checked on its source: one-way imports, no torch in the parent, sizes, docstrings, names.

Each rule is a function from source text to complaints, and is also run on a snippet that breaks it.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
ORDER = (
    "schema",
    "machine",
    "strategies",
    "workloads",
    "recipes",
    "monitors",
    "measure",
    "predict",
    "run",
    "analyse",
    "report",
    "pytest_plugin",
    "cli",
)
"""Folders of the package; each imports only from itself and from those before it."""
WITHOUT_TORCH = ("schema", "run", "analyse", "report", "pytest_plugin", "cli")
FILE_LINES, FUNCTION_LINES = 300, 50
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "handler", "handlers", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_of(path: Path) -> str:
    """`harness.run.plan` for its file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def folder_of(module: str) -> str:
    """`run` for harness.run.plan, `cli` for harness.cli."""
    return module.split(".")[1] if "." in module else ""


def for_types_only(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST, deep: bool) -> Iterator[tuple[int, str]]:
    """Line and name of what is imported at run time; deep: also inside functions. `from a import b` gives a and a.b."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif for_types_only(node):
            yield from (each for branch in node.orelse for each in imports(ast.Module([branch], []), deep))  # type: ignore[attr-defined]
        elif deep or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(node, deep)


# The rules


def upward_imports(module: str, source: str) -> list[str]:
    """Imports from a folder further down the list."""
    allowed = ORDER[: ORDER.index(folder_of(module)) + 1] if folder_of(module) else ()
    found = []
    for line, name in imports(ast.parse(source), deep=True):
        if name.startswith("harness.") and folder_of(name) in ORDER and folder_of(name) not in allowed:
            found.append(f"{module}:{line}: imports {name}")
    return found


def eager_torch(module: str, source: str) -> list[str]:
    """Imports of torch at module level where the parent or the page must be able to do without it."""
    if folder_of(module) not in WITHOUT_TORCH:
        return []
    heavy = (f"{module}:{line}: imports {name}" for line, name in imports(ast.parse(source), deep=False)
             if name.split(".")[0] == "torch")  # fmt: skip
    return list(dict.fromkeys(heavy))


def too_long(module: str, source: str) -> list[str]:
    """Files and functions beyond the limit."""
    lines = len(source.splitlines())
    found = [f"{module}: {lines} lines"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
            found.append(f"{module}:{node.lineno}: {node.name} has {length} lines")
    return found


def prints_or_exits(module: str, source: str) -> list[str]:
    """Output and exits outside the command line. Ranks leave by os._exit: that is in measure alone."""
    if folder_of(module) == "cli":
        return []
    forbidden = {
        "print",
        "exit",
        "quit",
        "SystemExit",
        "sys.exit",
        "typer.Exit",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    if folder_of(module) != "measure":
        forbidden.add("os._exit")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in forbidden or name.endswith(".print"):
                found.append(f"{module}:{node.lineno}: calls {name}")
        elif isinstance(node, ast.Raise) and node.exc is not None and ast.unparse(node.exc) in forbidden:
            found.append(f"{module}:{node.lineno}: raises {ast.unparse(node.exc)}")
    return found


def undocumented(module: str, source: str) -> list[str]:
    """Public modules, classes, functions and methods without a docstring."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else [f"{module}: no docstring"]

    def look(node: ast.Module | ast.ClassDef, prefix: str) -> None:
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and child.name[0] != "_":
                if not ast.get_docstring(child):
                    found.append(f"{module}:{child.lineno}: {prefix}{child.name} has no docstring")
                if isinstance(child, ast.ClassDef):
                    look(child, f"{prefix}{child.name}.")

    look(tree, "")
    return found


def vague_names(module: str, source: str) -> list[str]:
    """Names that say nothing: of modules, of classes by their last word, and functions called `process`."""
    found = [f"{module}: a module named {part}" for part in module.split(".") if part in VAGUE]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(node.name.lower().endswith(word) for word in VAGUE):
            found.append(f"{module}:{node.lineno}: a class named {node.name}")
        if isinstance(node, Function) and node.name == "process":
            found.append(f"{module}:{node.lineno}: a function named process")
    return found


RULES: dict[Callable[[str, str], list[str]], tuple[str, str, int]] = {
    upward_imports: (
        "harness.schema.x",
        "from harness.run import plan\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from harness.run import store\n"
        "def f():\n    import harness.cli\n",
        3,
    ),
    eager_torch: (
        "harness.report.x",
        "import torch.nn\ntry:\n    from torch import nn\nexcept ImportError: pass\ndef f():\n    import torch\n",
        3,
    ),
    too_long: ("harness.run.x", "def f():\n" + "    pass\n" * 60 + "x = 1\n" * 250, 2),
    prints_or_exits: (
        "harness.run.x",
        "print(1)\nsys.exit(1)\nraise SystemExit\nconsole.print(2)\nos._exit(3)\nsys.stderr.write('')\n",
        6,
    ),
    undocumented: (
        "harness.run.x",
        "class A:\n    def f(self): pass\n    def _g(self): pass\ndef h():\n    def inner(): pass\n",
        4,
    ),
    vague_names: ("harness.run.helpers", "class RunManager: pass\ndef process(): pass\ndef processed(): pass\n", 3),
}
"""Rule → a module and a source that break it, and in how many places."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Callable[[str, str], list[str]]) -> None:
    assert len(SOURCES) > 40
    complaints = [found for module, path in SOURCES.items() for found in rule(module, path.read_text(encoding="utf-8"))]
    assert complaints == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_sees_what_breaks_it(rule: Callable[[str, str], list[str]]) -> None:
    module, source, places = RULES[rule]
    assert len(rule(module, source)) == places


def test_every_folder_has_its_place_in_the_order() -> None:
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert there <= set(ORDER)
    assert "harness.cli" in SOURCES


# No cycles


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle; empty without one."""
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in SOURCES.items():
        named = {name for _line, name in imports(ast.parse(path.read_text(encoding="utf-8")), deep=False)}
        graph[module] = (named & SOURCES.keys()) - {module}
    assert cycle(graph) == []
    assert cycle(graph | {"harness.schema.errors": {"harness.run.plan"}}) != [], "control: a planted circle"


# No torch in the parent


def loads_torch(*modules: str) -> bool:
    """Whether importing these modules and loading all registries, in a fresh process, imports torch."""
    script = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
from harness.run.cells import REGISTRIES
import harness.monitors
for registry in (*REGISTRIES.values(), harness.monitors.registry):
    assert registry.names()
sys.stdout.write(str("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout == "True"


def test_parent_and_page_import_no_torch() -> None:
    named = [module for module in SOURCES if folder_of(module) in WITHOUT_TORCH and not module.endswith("__main__")]
    assert {"harness.cli", "harness.run.plan", "harness.run.store", "harness.report.page"} <= set(named)
    assert not loads_torch(*named)
    assert loads_torch("harness.measure.worker"), "control: the child does import it"
