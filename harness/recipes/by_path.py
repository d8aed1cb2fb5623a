"""An optimizer by its dotted path: found and read as text, so that planning knows its options without importing it.

`my_package.MyOptimizer` is looked for in the files of `my_package`, names that a file imports from its own package
are followed, and the class's `__init__` tells the options and their defaults. Where it takes `**kwargs`, or where the
text does not tell (a compiled module, a name made at run time), every option is passed on, and what does not fit fails
in the trial. Nothing of the package is executed before training.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import OptimizerFacts
from harness.schema.errors import Problem, UnknownName, nearest
from harness.schema.registry import REQUIRED, Entry, Option

if TYPE_CHECKING:
    from torch.optim import Optimizer

FOLLOWED = 4
"""Imports from file to file within the package before the search for a class is given up."""
OURS = ("self", "params", "lr", "weight_decay", "betas")
"""Parameters that the recipe gives itself; `betas` is given as `beta1` and `beta2`."""


class UnknownPath(UnknownName):
    """A dotted path that leads to no class."""

    def __init__(self, name: str, expected: str, close: str | None = None):
        super().__init__("optimizer", name, ())
        self.problems = tuple(replace(problem, expected=expected, nearest=close) for problem in self.problems)
        self.args = ("\n".join(str(problem) for problem in self.problems),)


@dataclass(frozen=True)
class OpenEntry(Entry[OptimizerFacts]):
    """An entry that takes options which its text does not name."""

    takes_any: bool = False

    def check(self, options: Mapping[str, object], where: str, key: str) -> list[Problem]:
        """All that is wrong with these options, as far as is known of them."""
        if self.takes_any:
            options = {name: value for name, value in options.items() if name in self.options}
        return super().check(options, where, key)


@dataclass(frozen=True)
class Signature:
    """What the text of a class says of its `__init__`: names with defaults; whether it takes others besides."""

    defaults: Mapping[str, Any]
    takes_any: bool


def entry_of(path: str) -> Entry[OptimizerFacts]:
    """The entry of a dotted path. Raises UnknownPath where it leads to no module or, surely, to no optimizer."""
    module, _, name = path.rpartition(".")
    file = _file_of(module, path)
    found = _class_in(file, module, name) if file is not None else None
    names = _names_in(file) if file is not None else None
    if names is not None and name not in names:
        close = nearest(name, names)
        raise UnknownPath(path, f"a name that {module} has", f"{module}.{close}" if close else None)
    signature = _signature(found) if found is not None else Signature({}, takes_any=True)
    if "lr" not in signature.defaults and not signature.takes_any:
        raise UnknownPath(path, f"an optimizer: {name} takes no lr")
    decays = "weight_decay" in signature.defaults or signature.takes_any
    facts = OptimizerFacts(class_name=name, weight_decay="coupled" if decays else "none")
    summary = (ast.get_docstring(found) or "" if found is not None else "").split("\n", 1)[0]
    return OpenEntry(
        path, made_by(path), facts, _options(signature), summary or f"{name} of {module}", module, signature.takes_any
    )


def made_by(path: str) -> Callable[..., Optimizer]:
    """(groups, lr, **options) → the optimizer, its module imported when it is called."""

    def make(groups: list[dict[str, Any]], lr: float, **options: Any) -> Optimizer:
        module, _, name = path.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        if {"beta1", "beta2"} & options.keys():
            first, second = inspect.signature(kind).parameters["betas"].default
            options["betas"] = (options.pop("beta1", first), options.pop("beta2", second))
        optimizer: Optimizer = kind(groups, lr=lr, **options)
        return optimizer

    return make


def _file_of(module: str, path: str) -> Path | None:
    """The Python file of a module, without importing its package; None: it has none. Raises UnknownPath."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise UnknownPath(path, f"a class that can be imported: there is no package {top}")
    if not rest:
        return _python(spec.origin)
    for folder in map(Path, spec.submodule_search_locations or ()):
        inner = folder.joinpath(*rest)
        for file in (inner.with_suffix(".py"), inner / "__init__.py"):
            if file.is_file():
                return file
        if any(inner.parent.glob(f"{inner.name}.*")):
            return None
    raise UnknownPath(path, f"a class that can be imported: there is no module {module}")


def _python(origin: str | None) -> Path | None:
    return Path(origin) if origin and origin.endswith(".py") else None


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _names_in(file: Path) -> set[str] | None:
    """Every name that the file's text makes known; None: it does not tell (star imports, `__getattr__`, no text)."""
    names = set()
    for node in ast.walk(_parsed(file)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)  # assigned, or asked for: `globals`
    return names if names and not names & {"*", "__getattr__", "globals", "vars", "setattr"} else None


def _class_in(file: Path, module: str, name: str, depth: int = 0) -> ast.ClassDef | None:
    """The class of that name in a file, or where the file imports it from."""
    tree = _parsed(file)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    if depth == FOLLOWED:
        return None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for source, original in _imported_as(tree, name, package):
        try:
            found = _file_of(source, source)
        except UnknownPath:
            continue
        if found is not None and (there := _class_in(found, source, original, depth + 1)) is not None:
            return there
    return None


def _imported_as(tree: ast.Module, name: str, package: str) -> Iterator[tuple[str, str]]:
    """Module and original name of what `from … import …` makes known under `name`."""
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*above, *filter(None, [node.module])])
        yield from ((source, alias.name) for alias in node.names if name in (alias.asname, alias.name))


def _signature(found: ast.ClassDef) -> Signature:
    init = next((node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    if init is None:
        return Signature({}, takes_any=True)  # it is inherited
    given = init.args
    positional = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    pairs = [*zip(positional, [*missing, *given.defaults], strict=True)]
    pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return Signature({arg.arg: _value(default) for arg, default in pairs}, given.kwarg is not None)


def _options(signature: Signature) -> dict[str, Option]:
    """What can be given as an option: all that a recipe does not give itself, and the two betas one by one."""
    options = {name: Option(name, Any, value) for name, value in signature.defaults.items() if name not in OURS}
    match signature.defaults.get("betas"):
        case (first, second):
            options |= {"beta1": Option("beta1", float, first), "beta2": Option("beta2", float, second)}
    return options


def _value(default: ast.expr | None) -> Any:
    """A default as far as the text tells; REQUIRED without one, and an object that equals nothing where it does not."""
    if default is None:
        return REQUIRED
    try:
        return ast.literal_eval(default)
    except ValueError:
        return object()
