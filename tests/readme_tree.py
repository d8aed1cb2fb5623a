"""The README's file tree, made from the first line of each file's docstring or comment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- tree:[^\n]*-->\n).*(<!-- /tree -->)", re.DOTALL)
FOLDERS = ("harness", "benchmarks")
TOP = {
    "Makefile": "every target, `make help` lists them",
    "constraints.txt": "the one set of versions that is tested",
    "tests/": "one file per module, planted faults in tests/plugins, a browser for the page",
    "docs/": "how a number comes about, suites, JSON schemas, the log of what was tried",
    "results/": "runs (not committed) and baselines",
    "reports/": "generated pages (not committed) and one example",
}


def first_sentence(path: Path) -> str:
    """What the file says of itself in its first line."""
    text = path.read_text()
    if path.suffix == ".py":
        said = (ast.get_docstring(ast.parse(text)) or "").split("\n", 1)[0]
    else:
        said = text.split("\n", 1)[0].strip("#{}<>!-/* ")
    return said.rstrip(".")


def tree() -> str:
    """All files of the package and the benchmarks, a line each."""
    lines = ["```"]
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            shown = path.relative_to(ROOT)
            empty = path.name == "__init__.py" and not path.read_text().strip()
            if path.is_dir() or "__pycache__" in path.parts or path.name == "py.typed" or empty:
                continue
            name = str(shown.parent) + "/" if path.name == "__init__.py" else str(shown)
            lines.append(f"{name:<45} {first_sentence(path)}")
    lines += [f"{name:<45} {said}" for name, said in TOP.items()]
    return "\n".join([*lines, "```", ""])


def main() -> None:
    """Write the tree into the README."""
    readme = ROOT / "README.md"
    readme.write_text(MARKS.sub(lambda found: found[1] + tree() + found[2], readme.read_text()))


if __name__ == "__main__":
    main()
