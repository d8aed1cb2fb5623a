"""Commands that README, CONTRIBUTING and docs tell people to type are there, with the options they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.cli import app
from tests.readme_tree import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""docs/LOG.md tells what was once: it is left out where names are checked."""
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
TYPED = r"((?:harness|make|python -m) [^`\n]*)"
WORD = re.compile(r"[a-z][a-z-]*")


def typed(text: str) -> Iterator[str]:
    """Each command in code, in a line of its own or between backticks, without what is said of it."""
    lines = [found for block in BLOCK.findall(text) for found in re.findall(f"^{TYPED}", block, re.MULTILINE)]
    inline = re.findall(f"`{TYPED}`", BLOCK.sub("", text))
    yield from (found.split("  #")[0].strip() for found in (*lines, *inline))


def wrong(command: str) -> str | None:
    """What of a typed command is not there."""
    name, *words = command.split()
    if name == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        asked = [word for word in words if WORD.fullmatch(word)][:1]
        return None if set(asked) <= targets else f"no target {asked[0]}"
    if name == "python":
        module = words[1].rstrip(",.;:")
        path = ROOT / module.replace(".", "/")
        there = path.with_suffix(".py").exists() or (path / "__main__.py").exists() or module == "pip"
        return None if there else f"no module {module}"
    return _wrong_words(words)


def _wrong_words(words: list[str]) -> str | None:
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands") and words and WORD.fullmatch(words[0]):
        if words[0] not in found.commands:
            return f"no command {words[0]}"
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.split("=")[0].rstrip(",.;:)") for word in words if re.match(r"--?[a-z]", word)}
    return f"no option {', '.join(sorted(asked - options))}" if asked - options - {"--help"} else None


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "LOG.md"], ids=lambda page: page.name)
def test_what_is_typed_is_there(page: Path) -> None:
    assert [f"{command}: {why}" for command in typed(page.read_text()) if (why := wrong(command))] == []


def test_all_kinds_are_looked_at_and_what_is_wrong_is_seen() -> None:
    """Negative control."""
    text = (ROOT / "README.md").read_text()
    assert {command.split()[0] for command in typed(text)} == {"harness", "make", "python"}
    assert len(list(typed(text))) > 20
    planted = """```
harness rnu my.toml
harness run my.toml --reprot x.html  # a page
```
`make benhc`, `python -m tests.no_tree`, `harness baseline updaet x`
harness have no command that a line of prose begins with
`harness run … --resume`, `make test TEST_ARGS=tests/gpu`
"""
    said = {command: wrong(command) for command in typed(planted)}
    assert list(said.values()) == [
        "no command rnu", "no option --reprot", "no target benhc", "no module tests.no_tree", "no command updaet",
        None, None,
    ]  # fmt: skip


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_anchors(page: Path, text: str) -> list[str]:
    """Links to a heading that is not there."""
    found = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text)
    return [
        f"{target}#{name}" for target, name in found if name not in anchors(page.parent / target if target else page)
    ]


def test_links_lead_to_headings_that_are_there() -> None:
    for page in PAGES:
        assert broken_anchors(page, page.read_text()) == []
    assert broken_anchors(ROOT / "README.md", "[x](docs/measuring.md#no-such) [y](docs/measuring.md#words)") == [
        "docs/measuring.md#no-such"
    ]
