"""Registries: a function in a file of its own becomes a strategy, a workload, a recipe part or a monitor.

A registry knows a thing's name, its facts (what planning must know without running it) and its options
(the keyword-only parameters of the function), so that a suite is checked whole before anything starts.
Registered modules import torch inside their functions: planning and reporting stay without it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.schema.errors import HarnessError, Problem, UnknownName, nearest

Facts = TypeVar("Facts")
Made = TypeVar("Made", bound=Callable[..., Any])
REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of a registered function: its type and default (REQUIRED where it has none)."""

    name: str
    annotation: Any
    default: Any

    def problem(self, value: object, where: str, key: str) -> Problem | None:
        """What is wrong with `value` for this option, or None. An integer fits a float; a text never fits a number."""
        try:
            TypeAdapter(self.annotation, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            found = list(value) if isinstance(value, tuple) else value  # as it is written in a suite
            first = error.errors()[0]
            place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
            message = first["msg"].removeprefix("Input should be ").removesuffix(" after validation, not 0")
            return Problem(where, key + place, found, message.replace("Tuple should have", "a list with"))
        return None


@dataclass(frozen=True)
class Entry(Generic[Facts]):
    """One registered function with what planning knows of it."""

    name: str
    function: Callable[..., Any]
    facts: Facts
    options: Mapping[str, Option]
    summary: str
    module: str

    def check(self, options: Mapping[str, object], where: str, key: str) -> list[Problem]:
        """All that is wrong with these options; empty where they fit."""
        problems = []
        for name, value in options.items():
            option = self.options.get(name)
            if option is None:
                expected = f"an option of {self.name}: {', '.join(self.options) or 'it has none'}"
                problems.append(Problem(where, f"{key}.{name}", value, expected, nearest(name, self.options)))
            elif wrong := option.problem(value, where, f"{key}.{name}"):
                problems.append(wrong)
        for name, option in self.options.items():
            if option.default is REQUIRED and name not in options:
                problems.append(Problem(where, f"{key}.{name}", None, f"a value: {self.name} has no default for it"))
        return problems


@dataclass
class Registry(Generic[Facts]):
    """All known things of one kind, by name; built-in ones are imported when first asked for.

    kind: the word used in messages; package: where the built-in modules are; facts: the dataclass whose
    fields `register` takes as keywords; group: the entry-point group of other distributions.
    """

    kind: str
    package: str
    facts: type[Facts]
    group: str
    _entries: dict[str, Entry[Facts]] = field(default_factory=dict)
    _loaded: bool = False

    def register(self, name: str, **facts: Any) -> Callable[[Made], Made]:
        """Decorator: make the function known under `name`. Raises TypeError for a fact that does not exist."""
        known = self.facts(**facts)

        def add(function: Made) -> Made:
            present = self._entries.get(name)
            if present is not None and present.module != function.__module__:
                raise HarnessError(f"{self.kind} {name!r} is registered by {present.module} and {function.__module__}")
            summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
            self._entries[name] = Entry(name, function, known, options_of(function), summary, function.__module__)
            return function

        return add

    def __getitem__(self, name: str) -> Entry[Facts]:
        """The entry of that name. Raises UnknownName with the nearest valid one."""
        self.load()
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self.load()
        return name in self._entries

    def names(self) -> list[str]:
        """All names, in the order of the alphabet."""
        self.load()
        return sorted(self._entries)

    def entries(self) -> list[Entry[Facts]]:
        """All entries, by name."""
        return [self[name] for name in self.names()]

    def load(self) -> None:
        """Import the built-in modules and the entry points of other distributions, once."""
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in importlib.metadata.entry_points(group=self.group):
            point.load()


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only parameters of a function as options; their annotations must be evaluable at run time."""
    scope = {**vars(sys.modules[function.__module__])}
    options = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, scope)
        options[parameter.name] = Option(parameter.name, annotation, parameter.default)
    return options


def load_plugin(path: Path) -> str:
    """Import a plug-in file so that what it registers is known; returns the sha256 of its bytes.

    Raises HarnessError where the file is missing or does not import.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise HarnessError(f"--plugin {path}: cannot be read ({error.strerror})") from error
    name = f"harness_plugin_{digest[:12]}"
    if name in sys.modules:
        return digest
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"--plugin {path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise HarnessError(f"--plugin {path}: does not import ({type(error).__name__}: {error})") from error
    return digest
