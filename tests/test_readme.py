"""What README and CONTRIBUTING promise is true."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.readme_tree import MARKS, ROOT, tree


def test_file_tree_is_true() -> None:
    found = MARKS.search((ROOT / "README.md").read_text())
    assert found is not None
    assert found[0] == found[1] + tree() + found[2], "run: python -m tests.readme_tree"


def test_every_file_says_what_it_is() -> None:
    assert not [line for line in tree().splitlines()[1:-1] if len(line.split(maxsplit=1)) < 2]


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_are_few_and_explained() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(targets) <= 12
    assert all(f"make {target} " in shown for target in targets)


@pytest.mark.processes
def test_workload_of_the_guide_trains(tmp_path: Path) -> None:
    """The worked example of CONTRIBUTING is a plug-in that runs as it stands there."""
    from harness.schema.record import Status
    from harness.schema.registry import load_plugin
    from harness.schema.trial import Plugin
    from tests.conftest import execute, make_trial

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "@workloads.register" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    path = tmp_path / "mine.py"
    path.write_text(code)
    plugin = Plugin(path=str(path), sha256=load_plugin(path))
    record, _series = execute(make_trial("ddp", 2, workload="mine", size="small", plugins=(plugin,)))
    assert record.status is Status.OK, record.reason
