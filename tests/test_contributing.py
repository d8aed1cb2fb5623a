"""The examples of CONTRIBUTING.md are run as they stand there: a strategy and a workload from files of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.run.stored import find_runs, read_run
from harness.schema.record import Record, Status

pytestmark = pytest.mark.processes

GUIDE = Path(__file__).parent.parent / "CONTRIBUTING.md"
MOST_LINES = 25
SUITE = """
question = "Does the guide's own strategy train the guide's own workload?"
baseline = { strategy = "single" }
[fixed]
workload = "mine"
size = "small"
steps = 5
warmup_steps = 5
devices = 2
[grid]
strategy = ["single", { name = "mine", bucket_cap_mb = 1.0 }]
"""


def example(section: str) -> str:
    """The Python block under a heading of the guide that begins so."""
    text = GUIDE.read_text(encoding="utf-8")
    (part,) = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(section)]
    (block,) = re.findall(r"^```python\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL)
    return str(block)


def records(folder: Path, strategy: str, workload: str) -> dict[str, Record]:
    """By strategy: what `harness run --plugin` makes of these two files."""
    files = {"strategy.py": strategy, "workload.py": workload, "suite.toml": SUITE}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "harness.cli", "run", str(folder / "suite.toml")]
    command += [f"--plugin={folder / name}" for name in ("strategy.py", "workload.py")]
    command.append(f"--results={folder / 'results'}")
    done = subprocess.run(command, env={**os.environ, "CI": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = find_runs(folder / "results")
    return {record.trial.strategy.name: record for record in read_run(run).records}


def test_the_guides_examples_are_ok_and_pass_parity(tmp_path: Path) -> None:
    strategy = example("Add a strategy")
    assert len(strategy.splitlines()) <= MOST_LINES
    found = records(tmp_path, strategy, example("Add a workload"))
    assert set(found) == {"single", "mine"}
    for record in found.values():
        assert record.status is Status.OK, record.reason
        assert record.parity is not None
        assert record.parity.status == "passed"
        assert "eval_accuracy" in record.metrics
    assert found["mine"].trial.processes == 2
    wrapper = next(fact for fact in found["mine"].applied if fact.fact == "wrapper")
    assert (wrapper.asked, wrapper.found) == ("DistributedDataParallel", "DistributedDataParallel")
    parameters = (16 * 64 + 64 + 64 * 2 + 2) * 4
    assert found["mine"].metrics["predicted_parameters_bytes"] == parameters
    assert found["mine"].metrics["predicted_other_bytes"] == parameters, "the buckets that its rule states"
    assert found["single"].metrics["predicted_other_bytes"] == 0


def test_an_example_that_does_nothing_would_be_seen(tmp_path: Path) -> None:
    """Negative control: the same file, with the wrapping left out."""
    wrapping = "DistributedDataParallel(model, bucket_cap_mb=bucket_cap_mb)"
    broken = example("Add a strategy").replace(wrapping, "model")
    assert broken != example("Add a strategy")
    found = records(tmp_path, broken, example("Add a workload"))
    assert found["mine"].status is Status.NOT_APPLIED
    assert found["single"].status is Status.OK
